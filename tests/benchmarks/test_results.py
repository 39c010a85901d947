"""The one entry to the benchmarks, and the comparison of two results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, str(ROOT / "benchmarks"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def result(tmp_path):
    """Writes a result of one benchmark with a reference, and what was measured in turns with it."""

    def write(name, reference, ours, benchmark="speed", schema="crosspoint.benchmark/1"):
        series = [
            {"name": "reference", "unit": "ms", "values": reference, "beside": None},
            {"name": "ours", "unit": "ms", "values": ours, "beside": "reference"},
        ]
        head = {"schema": schema, "benchmark": benchmark, "settings": {}, "machine": {"cores": 2}}
        path = tmp_path / name
        path.write_text(json.dumps({**head, "versions": {"numpy": name}, "series": series}))
        return path

    return write


def test_without_a_name_all_benchmarks_are_listed():
    done = run()
    assert done.returncode == 0
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"__main__", "results"}
    assert {line.split()[0] for line in done.stdout.splitlines() if line} >= modules


def test_ratios_are_of_medians_and_of_what_was_measured_in_turns(result):
    """The second machine was twice as slow, and ours has become twice as fast beside the reference."""
    old = result("old.json", [10.0, 10.0, 40.0], [20.0, 20.0, 80.0])
    new = result("new.json", [20.0, 20.0, 20.0], [20.0, 20.0, 20.0])
    done = run("compare", old, new)
    lines = done.stdout.splitlines()
    assert "| reference | 10 ms | 20 | 2.000 |  |  |  |  |" in lines
    assert "| ours | 20 ms | 20 | 1.000 | reference | 2.000 | 1.000 | 0.500 |" in lines
    assert lines[-1] == 'versions: numpy "old.json" → numpy "new.json"'


def test_what_cannot_be_compared_is_one_line(result, tmp_path):
    one = result("a.json", [1.0], [1.0])
    other = result("b.json", [1.0], [1.0], benchmark="size")
    foreign = result("c.json", [1.0], [1.0], schema="else/1")
    for words in (
        ("compare", one, other),
        ("compare", one, foreign),
        ("compare", one),
        ("compare", one, tmp_path / "d"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks/baseline").glob("*.json")), ids=lambda path: path.stem)
def test_the_baseline_can_be_compared(file):
    done = run("compare", file, file)
    assert done.returncode == 0, done.stderr
    assert " 1.000 |" in done.stdout
