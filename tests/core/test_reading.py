import os
import socket
import stat
from pathlib import Path

import pytest

from crosspoint.core import reading as module
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.reading import (
    ADVICE,
    check_announced,
    check_lines,
    list_folder,
    read_bytes,
    read_json,
    read_lines,
    read_start,
    readable,
    reading,
    reason_without,
    some,
)

READS = [read_bytes, lambda path: read_start(path, 9), lambda path: read_json(path, "JSON"), readable]


@pytest.fixture(params=READS, ids=["bytes", "start", "json", "readable"])
def read(request):
    return request.param


def refused(read, path, reason):
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_only_regular_files_are_opened(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), Path("/dev/tty")):
        refused(read, path, "is a pipe, a socket or a device")
    refused(read, tmp_path, "is a folder")


def test_names_that_lead_nowhere(read, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    refused(read, tmp_path / "loop", "cannot be opened")
    refused(read, tmp_path / "absent", "No such file")
    refused(read, tmp_path / ("x" * 300), "File name too long")
    refused(read, tmp_path / "a\0b", "cannot be opened")
    assert refused(read, tmp_path / "\udcff\n", "cannot be opened").startswith(f"{tmp_path}/\\xff\\n: ")


def test_a_file_that_says_it_is_empty_is_not_read():
    refused(read_bytes, Path("/proc/self/maps"), "is empty")


def test_files_larger_than_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 1000)
    monkeypatch.setattr(module, "available_memory", lambda: 8000)
    (tmp_path / "a").write_bytes(b"x" * 2000)
    assert len(read_bytes(tmp_path / "a")) == 2000
    (tmp_path / "a").write_bytes(b"x" * 2001)
    refused(read_bytes, tmp_path / "a", "has 2 kB, more than a quarter of the free memory .8 kB")


def test_large_sparse_files(read, tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.write(b"x" * 5000)
        file.truncate(1 << 30)
    refused(read, tmp_path / "a", "the limit for such a file" if read is READS[2] else "sparse file, .* stored of 1 GB")


def test_files_that_are_stored_in_less_space_but_have_no_holes(tmp_path, monkeypatch):
    """As file systems do that compress: fewer blocks than bytes, and no hole."""
    monkeypatch.setattr(module, "SMALL", 1000)
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    real = (tmp_path / "a").stat()

    class Compressed:
        st_mode, st_size, st_blocks = real.st_mode, real.st_size, 1

    monkeypatch.setattr(Path, "stat", lambda path: Compressed)
    assert stat.S_ISREG(Compressed.st_mode)
    assert len(read_bytes(tmp_path / "a")) == 100_000


def test_announced_bytes():
    check_announced(64 << 20, 1)
    check_announced(32 * 10**8, 10**8)
    for announced, size in ((65 << 20, 1), (33 * 10**8, 10**8), (10**5000, 10)):
        with pytest.raises(InputError, match=r"^claims [\d,]+ (MB|GB) of content in a file of"):
            check_announced(announced, size)


def test_lines():
    check_lines(b"1 2 3\n" * 50_000)
    check_lines(b"1 2 3\r" * 50_000)
    check_lines(b"x" * 65_536)
    for content in (b"x" * 200_000, b"1\n" * 70_000 + b"x" * 140_000, b"x" * 140_000 + b"\n1" * 70_000):
        with pytest.raises(InputError, match="has a line of more than 65,536 characters"):
            check_lines(content)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "1" * 5000, "", "{", "\ud800", "nul"])
def test_json_of_every_kind_of_damage(text, tmp_path):
    (tmp_path / "a.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    message = refused(lambda path: read_json(path, "a plan"), tmp_path / "a.json", r"is damaged or not a plan \(")
    assert message.endswith(ADVICE)


def test_lines_of_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b" one \n\n two three\r\n")
    assert read_lines(tmp_path / "a.txt", "a list") == ["one", "two three"]
    (tmp_path / "a.txt").write_bytes(b"\xff")
    refused(lambda path: read_lines(path, "a list"), tmp_path / "a.txt", "is damaged or not a list")


def test_folders(tmp_path):
    for name in ("b", "a", ".c"):
        (tmp_path / name).touch()
    assert list_folder(tmp_path) == ["a", "b"]
    for path in (tmp_path / "a", tmp_path / "absent", tmp_path / "a\0b"):
        refused(list_folder, path, "cannot be listed")


@pytest.mark.parametrize(
    "error", [ValueError("a\nb"), MemoryError(), RecursionError("x"), KeyError("\x1b"), OSError(5, "x")]
)
def test_every_exception_becomes_one_line(error):
    with pytest.raises(InputError) as caught, reading(Path("f"), "a plan"):
        raise error
    assert str(caught.value).startswith("f: is damaged or not a plan (")
    assert str(caught.value).isprintable()


def test_errors_of_ours_keep_their_kind_and_interruptions_pass():
    with pytest.raises(InputError, match=r"^f: no$"), reading(Path("f"), "a plan"):
        raise InputError("no")
    with pytest.raises(CheckFailed, match=r"^no$"), reading(Path("f"), "a plan"):
        raise CheckFailed("no")
    with pytest.raises(KeyboardInterrupt), reading(Path("f"), "a plan"):
        raise KeyboardInterrupt


def test_a_reason_without_its_file_also_where_the_name_is_escaped():
    assert reason_without("a\n", InputError("a\n: is empty")) == "is empty"


def test_long_lists_are_cut():
    assert some([]) == "none"
    assert some("ab") == "a, b"
    assert some(range(20)) == "0, 1, 2, 3, 4, 5, 6, 7, and 12 more"
    assert some(["x" * 100]) == "x" * 39 + "…"
