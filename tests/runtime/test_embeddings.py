"""Files of embeddings, written and read back."""

from pathlib import Path

import numpy as np
import pytest

from crosspoint.errors import InputError
from crosspoint.runtime.embeddings import Embeddings, load, read_about, save

ABOUT = {"points": 12, "seed": 0, "skipped": [{"file": "ä.ply", "reason": "is empty"}]}


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
    assert read_about(path) == {"model_sha256": "ab" * 32, **ABOUT}
    first = path.read_bytes()
    save(path, made(count))
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"rubbish", "damaged or not a file of embeddings"),
        ("a.parquet", b"rubbish", "damaged or not a file of embeddings"),
        ("a.npz", None, "does not exist"),
        ("a.parquet", None, "does not exist"),
        ("a.npy", b"", "does not say which model made it"),
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


def test_foreign_and_inconsistent_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "points.npz", points=np.zeros((3, 3)))
    with pytest.raises(InputError, match="not a file of embeddings"):
        load(tmp_path / "points.npz")
    np.savez(tmp_path / "short.npz", embeddings=np.zeros((3, 2)), names=np.array(["a"]), model_sha256=np.array("0"))
    with pytest.raises(InputError, match="its 1 names do not fit"):
        load(tmp_path / "short.npz")
