"""Files and folders appear whole or not at all, one takes the place of another in one step, a full disk is one line."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from crosspoint.core import files
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.files import atomic_file, atomic_folder, write_json, write_once
from crosspoint.core.outputs import check_known


def ours(folder):
    check_known(folder, {"data"}.__contains__)


def put(path, text):
    """Replace a folder of one file."""
    with atomic_folder(path, ours) as folder:
        (folder / "data").write_text(text)


def only(folder, *names):
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_file_appears_when_it_is_complete(tmp_path):
    with atomic_file(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("all")
        assert not (tmp_path / "new" / "a.txt").exists()
        assert temporary.name == "a.txt"
    assert (tmp_path / "new" / "a.txt").read_text() == "all"
    only(tmp_path / "new", "a.txt")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("failed\nwriting"), ValueError])
def test_what_a_writer_raises_is_one_line_and_the_old_file_stays(tmp_path, error):
    (tmp_path / "a").write_text("old")

    def write():
        with atomic_file(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(InputError, match=r"cannot write .*a: .*; free space or choose another place") as raised:
        write()
    assert "\n" not in str(raised.value)
    assert (tmp_path / "a").read_text() == "old"
    only(tmp_path, "a")


def test_the_package_s_own_errors_pass(tmp_path):
    with pytest.raises(CheckFailed, match="as it is"), atomic_file(tmp_path / "a"):
        raise CheckFailed("as it is")
    with pytest.raises(KeyError), atomic_folder(tmp_path / "b"):  # a folder's work is more than writing
        raise KeyError
    only(tmp_path)


def test_links_folders_and_devices_are_never_replaced(tmp_path, monkeypatch):
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    for name in ("link", "folder", "pipe", "folder/..", "/dev/null", ".", "..", "/"):
        with pytest.raises(InputError), atomic_file(Path(name)) as temporary:
            temporary.write_text("new")
    for name in ("link", "target", "pipe", "folder/..", "/dev/null", ".", "..", "/", "/proc"):
        with pytest.raises(InputError), atomic_folder(Path(name), lambda folder: None):
            pass
    assert (tmp_path / "link").readlink() == Path("target")
    assert (tmp_path / "target").read_text() == "kept"
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002, 0o077])
def test_files_and_folders_follow_the_umask(tmp_path, mask):
    old = os.umask(mask)
    try:
        write_json(tmp_path / "a.json", 1)
        write_once(tmp_path / "b.json", 1)
        with atomic_file(tmp_path / "c") as temporary:
            os.close(os.open(temporary, os.O_CREAT, 0o600))  # as safetensors does
        put(tmp_path / "folder", "text")
    finally:
        os.umask(old)
    for name in ("a.json", "b.json", "c", "folder/data"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask


def test_everything_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def record(descriptor):
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        assert (tmp_path / "folder").exists() == (synced[-1] == tmp_path.name), "the place is taken last"
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "data").write_text("text")
    assert set(synced) == {"data", "sub", "folder", tmp_path.name}


def test_a_folder_is_replaced_by_another(tmp_path):
    put(tmp_path / "out", "old")
    put(tmp_path / "out", "new")
    assert (tmp_path / "out" / "data").read_text() == "new"
    only(tmp_path, "out")


WATCH = """
import os, sys
from pathlib import Path
from crosspoint.core import files
out = Path(sys.argv[1])
def put(text):
    with files.atomic_folder(out, lambda folder: None) as folder:
        (folder / "data").write_text(text)
def watch(event, arguments):
    if event.startswith(("os.", "shutil.", "open")) and not busy:
        busy.append(event)
        assert (out / "data").read_text() in ("old", "new"), event
        busy.clear()
put("old")
busy = []
sys.addaudithook(watch)
put("new")
assert (out / "data").read_text() == "new"
"""


def test_at_no_moment_is_there_no_folder_under_the_name(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    only(tmp_path, "out")


@pytest.fixture
def no_exchange(monkeypatch):
    """A system that cannot exchange two names."""
    monkeypatch.setattr(files, "LIBC", SimpleNamespace())


def test_a_folder_is_replaced_where_two_cannot_be_exchanged(tmp_path, no_exchange):
    put(tmp_path / "out", "old")
    put(tmp_path / "out", "new")
    assert (tmp_path / "out" / "data").read_text() == "new"
    only(tmp_path, "out")


def test_the_old_folder_comes_back_if_the_new_one_cannot_be_put_there(tmp_path, no_exchange, monkeypatch):
    put(tmp_path / "out", "old")
    rename = Path.rename

    def fail(self, target):
        if self.parent.name == "new":
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(InputError, match=r"cannot write .*out: Input/output error"):
        put(tmp_path / "out", "new")
    assert (tmp_path / "out" / "data").read_text() == "old"
    only(tmp_path, "out")


DIE = """
import os, signal, sys
from pathlib import Path
from crosspoint.core import files
files.LIBC = None
def die(event, arguments):
    if event == "os.rename" and "/new/" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
with files.atomic_folder(Path(sys.argv[1]), lambda folder: None) as folder:
    (folder / "data").write_text("new")
"""


def test_a_kill_between_the_two_steps_loses_nothing_after_the_next_run(tmp_path):
    put(tmp_path / "out", "old")
    subprocess.run([sys.executable, "-c", DIE, str(tmp_path / "out")], check=False)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="old is not replaced"), atomic_folder(tmp_path / "out", ours):
        raise InputError((tmp_path / "out" / "data").read_text() + " is not replaced")
    assert (tmp_path / "out" / "data").read_text() == "old"
    only(tmp_path, "out")


@pytest.mark.parametrize("before", [True, False])
def test_two_writers_of_one_folder_both_end_well(tmp_path, before):
    if before:
        put(tmp_path / "out", "old")
    with atomic_folder(tmp_path / "out", ours) as first:
        (first / "data").write_text("first")
        put(tmp_path / "out", "second")
        assert (tmp_path / "out" / "data").read_text() == "second"
    assert (tmp_path / "out" / "data").read_text() == "first"
    only(tmp_path, "out")


def test_of_two_writers_of_a_new_folder_one_gets_a_line(tmp_path):
    with pytest.raises(InputError, match="exists and is not empty"), atomic_folder(tmp_path / "out"):
        put(tmp_path / "out", "second")
    assert (tmp_path / "out" / "data").read_text() == "second"
    only(tmp_path, "out")


def test_what_is_put_into_the_old_folder_during_the_work_is_not_lost(tmp_path):
    put(tmp_path / "out", "old")
    with pytest.raises(InputError, match=r"notes\.txt was not written with it"), atomic_folder(tmp_path / "out", ours):
        (tmp_path / "out" / "notes.txt").write_text("mine")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "out" / "data").read_text() == "old"


def test_a_message_names_the_place_that_the_user_knows(tmp_path):
    def write():
        with atomic_folder(tmp_path / "out") as folder, atomic_file(folder / "data"):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=f"cannot write {tmp_path}/out/data: No space"):
        write()


def test_of_two_that_write_once_the_first_wins(tmp_path):
    write_once(tmp_path / "job.json", {"first": True})
    write_once(tmp_path / "job.json", {"first": False})
    assert json.loads((tmp_path / "job.json").read_text()) == {"first": True}
    only(tmp_path, "job.json")


def test_json_of_names_that_are_no_utf_8_can_be_read_back(tmp_path):
    value = {"file": os.fsdecode(b"caf\xe9.ply"), "ä": 1}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from crosspoint.core.arrays import write_npz
from crosspoint.core.files import atomic_file, atomic_folder, write_json, write_once, writing
from crosspoint.core.errors import InputError
kind, place = sys.argv[1], Path(sys.argv[2])
noise = np.random.default_rng(0).standard_normal(100_000)
def save(path):
    if kind == "torch":
        import torch
        torch.save({"a": torch.from_numpy(noise)}, path)
    elif kind == "safetensors":
        from safetensors.numpy import save_file
        save_file({"a": noise}, path)
    elif kind == "h5":
        import h5py
        with h5py.File(path, "w") as file:
            file["a"] = noise
    elif kind == "parquet":
        import pyarrow, pyarrow.parquet
        pyarrow.parquet.write_table(pyarrow.table({"a": noise}), path)
    elif kind == "npz":
        write_npz(path, {"a": noise})
    elif kind == "npy":
        np.save(path, noise)
    elif kind == "png":
        from PIL import Image
        Image.fromarray(noise.view(np.uint8).reshape(800, 1000)).save(path)
    elif kind == "text":
        path.write_text("a" * 100_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    if kind == "json":
        write_json(place / "a.json", noise.tolist())
    elif kind == "once":
        write_once(place / "a.json", noise.tolist())
    elif kind == "folder":
        with atomic_folder(place / "a") as folder:
            (folder / "b").write_bytes(noise.tobytes())
    else:
        with atomic_file(place / f"a.{kind}") as temporary:
            save(temporary)
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "kind", ["torch", "safetensors", "h5", "parquet", "npz", "npy", "png", "text", "json", "once", "folder"]
)
def test_a_full_disk_is_one_line_in_every_writer(tmp_path, kind):
    if kind in ("torch", "parquet"):
        pytest.importorskip({"parquet": "pyarrow"}.get(kind, kind))
    done = subprocess.run(
        [sys.executable, "-c", FULL, kind, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith(f"cannot write {tmp_path}/a"), done.stderr
    assert done.stdout.endswith("free space or choose another place\n")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    only(tmp_path)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a file system of its own")
def test_a_disk_without_room_keeps_the_old_folder(tmp_path):
    code = """
import sys
from pathlib import Path
from crosspoint.core.files import atomic_folder
from crosspoint.core.errors import InputError
out = Path(sys.argv[1], "out")
for text in ("a" * 10_000, "b" * 1_000_000):
    try:
        with atomic_folder(out, lambda folder: None) as folder:
            (folder / "data").write_text(text)
    except InputError as error:
        print(error)
print((out / "data").read_text() == "a" * 10_000, len(list(out.parent.iterdir())))
"""
    mount = f'mount -t tmpfs -o size=500k none {tmp_path} && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("may not mount a file system")
    assert done.stdout == (
        f"cannot write {tmp_path}/out: No space left on device; free space or choose another place\nTrue 1\n"
    ), done.stderr
