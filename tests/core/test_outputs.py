"""What may be written where: nothing that is not ours is replaced, and all is decided before the work."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file, write_json
from crosspoint.core.outputs import (
    COMPARISON,
    GENERATOR,
    check_file,
    check_folder,
    check_known,
    check_replaceable,
    is_schema,
)
from crosspoint.core.workspaces import fresh_path
from crosspoint.runtime.jobs.embeddings import Embeddings, save

EMBEDDINGS = Embeddings(np.zeros((2, 32), np.float32), ["a", "b"], "0" * 64, {})


def ours(path):
    """Write a file of the kind that the package writes under this suffix."""
    kind = path.suffix
    if kind in (".npz", ".npy", ".parquet"):
        if kind == ".parquet":
            pytest.importorskip("pyarrow")
        save(path, EMBEDDINGS)
    elif kind == ".json":
        write_json(path, {"schema": "crosspoint.parity/1"})
    elif kind == ".safetensors":
        save_file({"a": np.zeros(3)}, path, {"crosspoint": "{}"})
    elif kind in (".png", ".jpg", ".webp"):
        Image.new("RGB", (2, 2)).save(path)
    else:
        path.write_text({".html": f"<!doctype html><head>{GENERATOR}", ".md": f"# Table\n\n{COMPARISON}"}[kind])


def another_s(path):
    """Write a file of the same suffix that somebody else could have written."""
    kind = path.suffix
    if kind == ".npz":
        np.savez(path, points=np.zeros((9, 3)))
    elif kind == ".npy":
        np.save(path, np.zeros((9, 3), np.float32))
    elif kind == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.table({"a": [1]}), path)
    elif kind == ".json":
        path.write_text('{"name": "my web app", "icons": []}')
    elif kind == ".safetensors":
        save_file({"a": np.zeros(3)}, path)
    else:
        path.write_text("<html>mine</html>\n# notes")


KINDS = [".npz", ".npy", ".parquet", ".json", ".safetensors", ".png", ".jpg", ".webp", ".html", ".md"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_earlier_file_of_ours_may_be_replaced(tmp_path, kind):
    ours(tmp_path / f"a{kind}")
    check_file(tmp_path / f"a{kind}")
    (tmp_path / f"b{kind}").touch()  # empty, as of `mktemp`
    check_file(tmp_path / f"b{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_another_s_file_may_not(tmp_path, kind):
    path = tmp_path / f"a{kind}"
    another_s(path)
    with pytest.raises(InputError, match=rf"--out .*a\{kind} exists and is not a \{kind} file.*; remove it, or give"):
        check_file(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"\0" * 9, b"{", b"PK\x03\x04", b"\xff" * 5000, b"PAR1" + b"\xff" * 4 + b"PAR1"])
def test_a_file_that_is_nothing_is_not_ours(tmp_path, kind, content):
    path = tmp_path / f"a{kind}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="exists and is not"):
        check_file(path)


def test_what_is_written_decides_and_not_the_name(tmp_path):
    ours(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"is not a \.html file"):
        check_file(tmp_path / "a.json", kind=".html")


@pytest.mark.parametrize("name", ["", ".", "..", "/", "sub/.."])
@pytest.mark.parametrize("check", [check_file, check_replaceable])
def test_what_is_no_name_is_refused(tmp_path, monkeypatch, check, name):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"--to .* is not a file or folder name"):
        check(Path(name), option="--to")


@pytest.fixture
def special(tmp_path):
    """A link to a file, one to a folder, one to nothing, and a pipe."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for name, target in (("to_file", "file"), ("to_folder", "folder"), ("to_nothing", "nothing")):
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("check", [check_file, check_folder, check_replaceable])
@pytest.mark.parametrize("name", ["to_file", "to_folder", "to_nothing", "pipe", "/dev/null", "/dev/stdout"])
def test_links_pipes_and_devices_are_refused(special, check, name):
    with pytest.raises(InputError, match=r"is a symbolic link|is a pipe, a socket or a device"):
        check(special / name)


@pytest.mark.parametrize("check", [check_file, check_folder, check_replaceable])
@pytest.mark.parametrize("name", ["file/a", "a" * 300, "a\0b", "/proc/a", "/proc/a/b"])
def test_where_nothing_can_be_written_is_known_before(special, check, name):
    with pytest.raises(InputError, match=r"cannot write .*; choose another place for --out") as raised:
        check(special / name)
    assert "\n" not in str(raised.value)


def test_a_folder_is_no_file_and_a_file_no_folder(special):
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        check_file(special / "folder")
    for check in (check_folder, check_replaceable):
        with pytest.raises(InputError, match="is a file; give a folder"):
            check(special / "file")


def test_a_mount_point_is_never_replaced_and_may_be_written_into(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path)
    with pytest.raises(InputError, match="is a mount point, which cannot be replaced"):
        check_replaceable(tmp_path, lambda folder: None)
    check_folder(tmp_path)
    with pytest.raises(InputError, match="is the root of the file system"):
        check_folder(Path("/"))


def test_an_output_is_not_its_input_and_not_inside_it(tmp_path, monkeypatch):
    scans = tmp_path / "scans"
    (scans / "sub").mkdir(parents=True)
    save(scans / "a.npz", EMBEDDINGS)
    monkeypatch.chdir(scans)
    for check, place, given in (
        (check_file, scans / "a.npz", scans / "a.npz"),
        (check_file, Path("a.npz"), scans / "a.npz"),
        (check_folder, Path("../scans"), scans),
        (check_replaceable, Path("../scans"), scans),
    ):
        with pytest.raises(InputError, match="is also an input"):
            check(place, inputs=[tmp_path / "else", given])
    for check, place in ((check_file, scans / "sub" / "b.npz"), (check_folder, Path("sub/new"))):
        with pytest.raises(InputError, match=r"lies inside the input .*scans, and the next run would read"):
            check(place, inputs=[scans])
        check(place, inputs=[scans], within=True)
    check_file(tmp_path / "scans.npz", inputs=[scans])


def test_a_folder_is_replaced_only_by_whom_it_is_from(tmp_path):
    folder = tmp_path / "out"
    check_replaceable(folder)
    folder.mkdir()
    check_replaceable(folder)
    (folder / "data").touch()
    with pytest.raises(InputError, match="exists and is not empty"):
        check_replaceable(folder)
    known = {"data"}.__contains__
    check_replaceable(folder, lambda folder: check_known(folder, known))
    (folder / "sub").mkdir()
    (folder / "sub" / "data").touch()
    with pytest.raises(InputError, match=r"sub/data was not written with it"):
        check_replaceable(folder, lambda folder: check_known(folder, known))


def test_links_in_a_folder_are_not_known(tmp_path):
    (tmp_path / "data").symlink_to("/etc")
    with pytest.raises(InputError, match="data was not written with it"):
        check_known(tmp_path, {"data"}.__contains__)


def test_what_killed_processes_left_is_removed_and_does_not_count(tmp_path):
    for folder in (tmp_path, tmp_path / "out"):
        folder.mkdir(exist_ok=True)
        fresh_path(folder).mkdir()
    check_replaceable(tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_a_check_leaves_nothing(tmp_path):
    check_file(tmp_path / "new" / "a.npz")
    check_folder(tmp_path / "new")
    check_replaceable(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_a_schema_is_a_name_and_a_version():
    assert is_schema({"schema": "crosspoint.manifest/1"}, "manifest")
    for value in ({"schema": "crosspoint.manifest-of-mine/1"}, {"schema": None}, {}, [], "crosspoint.manifest/1", None):
        assert not is_schema(value, "manifest")


def test_deep_json_is_not_ours(tmp_path):
    with atomic_file(tmp_path / "a.json") as temporary:
        temporary.write_text("[" * 100_000)
    with pytest.raises(InputError, match="exists and is not"):
        check_file(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps({"schema": ["crosspoint."]}))
    with pytest.raises(InputError, match="exists and is not"):
        check_file(tmp_path / "b.json")
