"""Arrays are written as NumPy writes them. How they are read is tested with the formats that hold them."""

import numpy as np
import pytest

from crosspoint.core.arrays import write_npz


@pytest.mark.parametrize("compressed", [False, True])
def test_an_npz_is_what_numpy_reads_and_writes(tmp_path, compressed):
    arrays = {"a/b": np.arange(6.0).reshape(2, 3), "names": np.array(["ä", "b"]), "empty": np.empty((0, 3), np.float32)}
    write_npz(tmp_path / "a.npz", arrays, compressed=compressed, comment=b"a comment")
    (np.savez_compressed if compressed else np.savez)(tmp_path / "b.npz", **arrays)
    with np.load(tmp_path / "a.npz") as found:
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    content = (tmp_path / "a.npz").read_bytes()
    assert content.endswith(b"\x09\x00a comment")
    assert content[:-11] == (tmp_path / "b.npz").read_bytes()[:-2]
