"""Labels that make no classifier end `fit` with one line, and nothing is written."""

from pathlib import Path

import numpy as np
import pytest

from crosspoint.classify.fit import fit
from crosspoint.core.errors import InputError
from crosspoint.runtime.options import Sampling

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.random.default_rng(seed).normal(size=(40, 3)).astype(np.float32))


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ({}, "holds no file that can be read"),
        ({"bed/a": 0, "bed/b": 1}, "has objects of one class only, bed; a classifier needs two or more"),
        ({"bed/a": 0, "bed/b": 1, "car/a": 2}, "class car has only one object; cross-validation needs two or more"),
        (
            {"bed/a": 0, "bed/b": 1, "car/a": 0, "car/b": 2},
            r"bed/a\.npy \(bed\) and car/a\.npy \(car\) have the same content; remove one of them",
        ),
        ({"a": 0, "bed/b": 1}, r"a\.npy has no class; move it into a sub-folder named after its class"),
    ],
    ids=["empty", "one class", "single object", "same object", "no folder"],
)
def test_a_folder_that_makes_no_classifier(tmp_path, objects, said):
    data = tmp_path / "data"
    data.mkdir()
    for name, seed in objects.items():
        write(data / f"{name}.npy", seed)
    with pytest.raises(InputError, match=said) as found:
        fit(data, tmp_path / "out", model="pointnet", sampling=Sampling(32, draws=1))
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


def test_objects_in_mixed_frames(tmp_path):
    for name in ("bed/a", "bed/b", "car/a"):
        write(tmp_path / "data" / f"{name}.npy", len(name))
    np.zeros((40, 4), "<f4").tofile(tmp_path / "data" / "car" / "scan.bin")
    with pytest.raises(InputError, match=r"car/scan\.bin is z-up, but bed/a\.npy does not state which axis points up"):
        fit(tmp_path / "data", tmp_path / "out", model="pointnet", sampling=Sampling(32))


def test_a_table_that_names_too_few(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "data" / f"{name}.npy", len(name))
    (tmp_path / "labels.csv").write_text("name,label\na.npy,bed\n")
    with pytest.raises(InputError, match="has objects of one class only, bed"):
        fit(tmp_path / "data", tmp_path / "out", model="pointnet", labels=tmp_path / "labels.csv")
