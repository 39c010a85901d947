"""Some hundreds of damaged inputs a reader: each is read, or refused in one printable line within time and memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzer.cases import Cases
from fuzzer.planted import PLANTED
from fuzzer.targets import TARGETS

COUNT, SEED = 200, 2022
SLOW = {"official": 60, "report": 60, "checkpoint": 150}  # cases of readers that take their time


@pytest.fixture(scope="module")
def fuzz():
    """Asks a process that has imported everything once, and forks a worker for each target."""
    words = [sys.executable, str(Path(__file__).parent), "--serve"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(name, seed, start, count):
            process.stdin.write(json.dumps([name, seed, start, count]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_read_or_refused_in_one_line(fuzz, name):
    count = SLOW.get(name, COUNT)
    report = fuzz(name, SEED, 0, count)
    assert not report["findings"], report["text"]
    assert sum(report["outcomes"].values()) == count
    assert report["outcomes"]["read"] > 0


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, {"exit": "exception"}.get(name, name)) for name in PLANTED],
)
def test_a_planted_fault_is_seen_and_the_next_case_is_read(fuzz, name, kind):
    report = fuzz(name, SEED, 0, 2)
    assert report["outcomes"] == {"read": 1, kind: 1}
    assert fuzz(name, SEED, 1, 1)["outcomes"] == {kind: 1}
    assert fuzz("refused", SEED, 0, 2)["outcomes"] == {"read": 1, "refused": 1}


def test_a_case_follows_from_target_seed_and_number():
    first, again, other = (Cases(TARGETS["csv"], seed) for seed in (3, 3, 4))
    numbers = range(20, 60)
    assert [first[i] for i in numbers] == [again[i] for i in numbers]
    assert [first[i] for i in numbers] != [other[i] for i in numbers]
