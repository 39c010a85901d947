"""Files of embeddings, written and read back."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.runtime.jobs import embeddings
from crosspoint.runtime.jobs.batches import Skipped
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, PartAbout, PartOfJob, load, save

JOB = PartOfJob(3, 12, at_most=False, seed=0, sources_sha256="ab" * 32, content_sha256="cd" * 32, size=4, draws=1)
FILE = FileAbout("m.onnx", None, at_most=True, seed=3, base="/data")
ABOUT = PartAbout(JOB, ("ef" * 32,), (Skipped("ä.ply", "is empty"),))


def made(count: int = 3) -> Embeddings:
    vectors = np.random.default_rng(0).standard_normal((count, 5)).astype(np.float32)
    return Embeddings(vectors, [f"ö/{i}.ply" for i in range(count)], "ab" * 32, ABOUT)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_what_was_written_is_read(tmp_path: Path, suffix: str, count: int) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a{suffix}"
    save(path, made(count))
    found = load(path)
    np.testing.assert_array_equal(found.vectors, made(count).vectors)
    assert (found.names, found.model_sha256, found.about) == (made(count).names, "ab" * 32, ABOUT)
    first = path.read_bytes()
    save(path, made(count))
    assert path.read_bytes() == first


def test_what_a_file_says_of_itself_is_sorted_json(tmp_path: Path) -> None:
    for about, expected in (
        (ABOUT, {**vars(JOB), "contents": ["ef" * 32], "skipped": [{"file": "ä.ply", "reason": "is empty"}]}),
        (FILE, vars(FILE)),
    ):
        written = {name: value for name, value in expected.items() if name not in ("frame", "objects", "columns")}
        save(tmp_path / "a.npz", replace(made(), about=about))
        with np.load(tmp_path / "a.npz") as file:
            assert str(file["about"]) == json.dumps(written, sort_keys=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"rubbish", "damaged or not a file of embeddings"),
        ("a.parquet", b"rubbish", "damaged or not a file of embeddings"),
        ("a.npz", None, "does not exist"),
        ("a.parquet", None, "does not exist"),
        ("a.npy", b"", "does not name its model"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_other_archives_are_not_embeddings(tmp_path: Path) -> None:
    np.savez(tmp_path / "points.npz", points=np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"not a file of embeddings .*no checksum"):
        load(tmp_path / "points.npz")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_names_and_numbers_that_do_not_fit_are_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    good = made()
    bad = good.vectors.copy()
    bad[1, 2] = np.nan
    save(tmp_path / f"nan{suffix}", replace(good, vectors=bad))
    with pytest.raises(InputError, match="some of its numbers are not finite"):
        load(tmp_path / f"nan{suffix}")
    if suffix == ".npz":  # the columns of a table are equally long
        save(tmp_path / "short.npz", replace(good, names=["a"]))
        with pytest.raises(InputError, match="it has 1 names for vectors of shape"):
            load(tmp_path / "short.npz")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_any_changed_byte_is_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a{suffix}"
    save(path, made())
    whole = path.read_bytes()
    for at in range(len(whole)):
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        with pytest.raises(ValueError, match=r"its bytes have changed|it has no checksum"):
            embeddings._verify(changed)
        if at % 97 == 0 or whole.startswith(made().vectors.tobytes(), at):
            path.write_bytes(changed)
            with pytest.raises(InputError, match="damaged"):
                load(path)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_file_that_is_longer_or_shorter_is_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"a{suffix}"
    save(path, made())
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole + b"0", whole[8:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"is damaged or not a file of embeddings .*; remove it"):
            load(path, "remove it")


def test_a_name_may_look_like_the_checksum(tmp_path: Path) -> None:
    names = [f"crosspoint-sha256:{'0' * 64}", "crosspoint-sha256:", "b"]
    for suffix in (".npz", ".parquet"):
        if suffix == ".parquet":
            pytest.importorskip("pyarrow")
        save(tmp_path / f"a{suffix}", replace(made(), names=names))
        assert load(tmp_path / f"a{suffix}").names == names


def test_other_tools_read_an_archive_with_its_checksum(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", made())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["embeddings"], made().vectors)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None


def test_names_that_are_no_unicode_are_refused(tmp_path: Path) -> None:
    """NumPy holds any number as a character; Python's text of it ends in a SystemError at its first use."""
    for order in "<>":
        beyond = np.array([0x110000], f"{order}u4").view(f"{order}U1")
        with pytest.raises(ValueError, match="not Unicode"):
            embeddings._text(beyond)
    assert embeddings._text(np.array(["é\U0010ffff", ""])).tolist() == ["é\U0010ffff", ""]
