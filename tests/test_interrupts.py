"""Commands that are asked to end, or killed: nothing is lost, and nothing is left behind after the next run."""

import importlib.util
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crosspoint.data.io.formats.ply import write_points


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[1] / "tools" / "kills.py"
    specification = importlib.util.spec_from_file_location("kills", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules["kills"] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ground(tool, tmp_path_factory):
    """A place to disturb the packing of three pairs."""
    campaign = tool.Campaign(tmp_path_factory.mktemp("kills"))
    rng = np.random.default_rng(0)
    for number in range(3):
        pictures = campaign.inputs / f"shapes/ShapeNetRendering/chair/{number}/rendering"
        pictures.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 4), np.uint8)).save(pictures / "00.png")
        write_points(campaign.inputs / f"shapes/ShapeNet/chair/{number}.ply", rng.random((16, 3)))
    return campaign


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_disturbed_pack_is_whole_or_absent_and_made_by_the_next_run(tool, ground, number, seed):
    (job,) = [job for job in tool.JOBS if job.name == "pack"]
    assert ground.disturb(job, number, random.Random(f"{number}/{seed}"))[1] == []


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_no_command_loses_or_leaves_anything(tool):
    table = tool.run([], kills=20, terms=20, seed=1, say=print)
    assert not [fault for rows in table.values() for row in rows.values() for fault in row.faults]


WORKERS = """
import os, signal, sys, threading
from pathlib import Path
from crosspoint.core.system.interrupt import Terminated, end_on_signals
from crosspoint.core.workspaces import workspace
from crosspoint.core.system.pool import spread
folder = Path(sys.argv[1])
def work(number):
    with workspace(folder) as space:
        (space.new / "half").touch()
        signal.pause()
def end_when_both_are_at_work():
    while len(list(folder.glob(".crosspoint-*/new/half"))) < 2:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
if __name__ == "__main__":
    end_on_signals()
    threading.Thread(target=end_when_both_are_at_work, daemon=True).start()
    try:
        list(spread(work, list(range(100)), jobs=2))
    except Terminated as ended:
        print(ended)
"""


def test_workers_undo_what_they_are_at_and_end(tmp_path):
    script, folder = tmp_path / "script.py", tmp_path / "out"
    script.write_text(WORKERS)
    folder.mkdir()
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("asked to end by SIGTERM\n", "", 0)
    assert not list(folder.iterdir())


STARTING = """
import multiprocessing.context, os, re, signal, sys
from pathlib import Path
from crosspoint.core.system.interrupt import Terminated, end_on_signals
from crosspoint.core.system.pool import spread
start = multiprocessing.context.SpawnProcess.start
def handles_sigterm(pid):
    caught = re.search(r"SigCgt:\\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())[1]
    return int(caught, 16) >> (signal.SIGTERM - 1) & 1
def start_and_interrupt(self):
    start(self)
    while not handles_sigterm(self.pid):  # until it is ready for work
        pass
    os.kill(os.getpid(), signal.SIGTERM)
if __name__ == "__main__":
    end_on_signals()
    multiprocessing.context.SpawnProcess.start = start_and_interrupt
    try:
        list(spread(abs, list(range(100)), jobs=2))
    except Terminated as ended:
        print(ended)
"""


def test_a_pool_that_is_interrupted_while_it_starts_ends(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(STARTING)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("asked to end by SIGTERM\n", "", 0)


COMMAND = """
import errno, os, signal, sys
import click
from crosspoint import cli
@cli.crosspoint.command("try")
def command():
    {body}
sys.argv = ["crosspoint", "try"]
cli.main()
"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", 143, "crosspoint: terminated\n"),
        ("os.kill(os.getpid(), signal.SIGHUP); signal.pause()", 129, "crosspoint: terminated\n"),
        ("os.kill(os.getpid(), signal.SIGINT); signal.pause()", 130, "\ncrosspoint: interrupted\n"),
        (
            "raise OSError(errno.ENOSPC, 'No space left on device', '/tmp/x')",
            2,
            "crosspoint: /tmp/x: No space left on device; free space, then try again\n",
        ),
    ],
)
def test_every_command_ends_in_one_line(body, code, said):
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(body=body)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize(("number", "shown"), [("ENOSPC", False), ("EPERM", True)])
def test_a_full_disk_in_a_library_s_thread_is_left_to_the_main_one(number, shown):
    body = f"""import threading
    def work():
        raise OSError(errno.{number}, "trouble")
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()"""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(body=body)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert ("trouble" in done.stderr) == shown


def test_a_bug_keeps_its_trace():
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.format(body="raise OSError(errno.EPERM, 'odd')")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
