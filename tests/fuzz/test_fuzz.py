"""Some hundreds of damaged inputs a reader: each is read, or refused in one printable line within time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzer.targets import TARGETS

COUNT = 300
SEED = 20220613


@pytest.fixture(scope="module")
def fuzzer():
    """A process that has imported everything once and forks a worker for each target."""
    words = [sys.executable, str(Path(__file__).parent), "--serve"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_read_or_refused_in_one_line(fuzzer, name):
    fuzzer.stdin.write(json.dumps([name, SEED, 0, COUNT]) + "\n")
    fuzzer.stdin.flush()
    report = json.loads(fuzzer.stdout.readline())
    assert sum(report["outcomes"].values()) == COUNT
    assert report["outcomes"].get("read", 0) > 0
    assert not report["findings"], report["text"]
