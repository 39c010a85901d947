"""Workspaces: what killed processes left is removed, what a live one holds is not."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys

import pytest

from crosspoint.core import workspaces
from crosspoint.core.workspaces import fresh_path, in_use, remove_partial_files, workspace

HOLD = """
import sys
from pathlib import Path
from crosspoint.core.workspaces import workspace
with workspace(Path(sys.argv[1])) as space:
    (space.new / "half").write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has a workspace open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_a_live_process_keeps_its_workspace(holder, tmp_path):
    remove_partial_files(tmp_path)
    assert (next(tmp_path.iterdir()) / "new" / "half").read_text() == "half"
    holder.communicate()
    assert holder.returncode == 0
    assert not list(tmp_path.iterdir())


def test_a_killed_process_s_workspace_is_removed(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert len(list(tmp_path.iterdir())) == 1
    remove_partial_files(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("found", ["host", "boot"])
def test_one_of_this_machine_is_known_by_its_name_or_its_kernel(tmp_path, monkeypatch, found):
    with workspace(tmp_path):
        (own,) = tmp_path.iterdir()
    _, host, boot, _ = own.name.split("-")
    names = {"host": f"{host}-00000000", "boot": f"00000000-{boot}"}
    (tmp_path / f".crosspoint-{names[found]}-12345678").mkdir()
    remove_partial_files(tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_machine_s_and_other_hidden_files_stay(tmp_path):
    names = [".crosspoint-00000000-00000000-12345678", ".git", ".crosspoint", ".crosspoint-mine", ".job.json.x1"]
    for name in names:
        (tmp_path / name).mkdir()
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_what_was_to_be_replaced_comes_back_where_nothing_took_its_place(tmp_path):
    for name in ("lost", "replaced"):
        old = fresh_path(tmp_path) / "old"
        (old / name).mkdir(parents=True)
        (old / name / "file").write_text("old")
    (tmp_path / "replaced").mkdir()
    (tmp_path / "replaced" / "file").write_text("new")
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lost", "replaced"]
    assert (tmp_path / "lost" / "file").read_text() == "old"
    assert (tmp_path / "replaced" / "file").read_text() == "new"


def test_one_that_is_taken_for_dead_while_it_begins_is_made_again(tmp_path, monkeypatch):
    flock, lost = fcntl.flock, []

    def first_is_lost(lock, how):
        if not lost:
            lost.append(os.readlink(f"/proc/self/fd/{lock}"))
            shutil.rmtree(os.path.dirname(lost[0]))
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", first_is_lost)
    with workspace(tmp_path) as space:
        assert space.new.is_dir()
        assert str(space.new.parent) != os.path.dirname(lost[0])
    assert not list(tmp_path.iterdir())


def test_a_signal_in_the_midst_of_cleaning_up_does_not_stop_it(tmp_path, monkeypatch):
    rmtree, interrupted = shutil.rmtree, []

    def interrupt(folder, **options):
        if not interrupted:
            interrupted.append(folder)
            raise KeyboardInterrupt
        rmtree(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupt)
    with pytest.raises(KeyboardInterrupt), workspace(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_folders_made_for_nothing_are_removed(tmp_path):
    with pytest.raises(KeyError), workspace(tmp_path / "a" / "b"):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_folder_of_workspaces_alone_is_not_in_use(tmp_path):
    fresh_path(tmp_path).mkdir()
    assert not in_use(tmp_path)
    (tmp_path / ".hidden").touch()
    assert in_use(tmp_path)


def test_a_place_where_nothing_can_be_made_ends_in_an_error():
    with pytest.raises(OSError, match="No such file"), workspace(workspaces.Path("/proc/nowhere")):
        pass
