"""The one entry to the benchmarks."""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"
RUN = """
import runpy, sys
sys.argv = ["benchmarks"]
try:
    runpy.run_path(sys.path[0], run_name="__main__")
finally:
    print(sys.stdout.line_buffering, file=sys.stderr)
"""


def test_lines_go_through_a_pipe_as_they_are_printed():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER), str(FOLDER.parent)])}
    command = [sys.executable, "-c", RUN.replace("sys.path[0]", repr(str(FOLDER)))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "True\n")
    assert "linear_svm" in done.stdout


def test_a_reader_that_has_seen_enough_ends_it_without_a_traceback():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOLDER), str(FOLDER.parent)])}
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, str(FOLDER)], env=environment, stdout=pipe, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "")
