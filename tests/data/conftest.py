"""Small data sets in the published formats."""

import h5py
import numpy as np
import pytest
from PIL import Image

from crosspoint.data.io.ply import write_points


def write_h5(path, count, points, classes, seed, **more):
    """Clouds whose label is their number modulo `classes`; `more` holds further arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(seed).normal(size=(count, points, 3)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=data, chunks=(1, points, 3), compression="gzip")
        file["label"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
        for name, array in more.items():
            file[name] = array
    return data


@pytest.fixture
def modelnet(tmp_path):
    folder = tmp_path / "sets/modelnet40_ply_hdf5_2048"
    for number, (name, count) in enumerate([("train0", 50), ("train1", 45), ("test0", 41)]):
        write_h5(folder / f"ply_data_{name}.h5", count, 64, 40, number)
    return folder


@pytest.fixture
def scanobjectnn(tmp_path):
    folder = tmp_path / "sets/h5_files/main_split"
    for name, count in (("training", 20), ("test", 15)):
        mask = np.zeros((count, 64), np.int64)
        write_h5(folder / f"{name}_objectdataset.h5", count, 64, 15, count, mask=mask)
        write_h5(folder / f"{name}_objectdataset_augmentedrot_scale75.h5", count * 5, 64, 15, count)
    return folder


@pytest.fixture
def parts(tmp_path):
    """Of each of the 16 categories one cloud in every file, all of it its category's first part."""
    folder = tmp_path / "sets/shapenet_part_seg_hdf5_data"
    first = np.cumsum([0, 4, 2, 2, 4, 4, 3, 3, 2, 4, 2, 6, 2, 3, 3, 3])
    for number, name in enumerate(("train0", "train1", "val0", "test0")):
        pid = np.repeat(first[:, None], 64, axis=1).astype(np.uint8)
        write_h5(folder / f"ply_data_{name}.h5", 16, 64, 16, number, pid=pid)
    return folder


@pytest.fixture
def renders(tmp_path):
    folder = tmp_path / "sets/render"
    rng = np.random.default_rng(0)
    for key, views in (("02691156/a1", 2), ("02691156/b2", 3), ("03001627/c3", 1)):
        write_points(folder / "ShapeNet" / f"{key}.ply", rng.normal(size=(32, 3)))
        pictures = folder / "ShapeNetRendering" / key / "rendering"
        pictures.mkdir(parents=True)
        (pictures / "rendering_metadata.txt").write_text("0 0 0\n")
        for view in range(views):
            pixels = rng.integers(0, 256, (12, 12, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / f"{view:02d}.png")
    return folder
