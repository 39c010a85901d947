"""Small labelled sets in the published formats, and a tiny real encoder."""

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from crosspoint.models import PointNet
from crosspoint.models.weights import save_model

NAMES = ("ball", "stick", "plate")


def make_clouds(per_class, stored, seed):
    """Balls, sticks and plates, noisy enough that a classifier is not always right."""
    rng = np.random.default_rng(seed)
    shapes = np.array([[1.0, 1.0, 1.0], [0.5, 1.0, 0.5], [1.0, 0.5, 1.0]])
    labels = np.repeat(np.arange(3), per_class)
    stretch = shapes[labels] * rng.uniform(0.7, 1.4, (len(labels), 3))  # (n, 3)
    points = rng.standard_normal((len(labels), stored, 3)) * stretch[:, None]
    order = rng.permutation(len(labels))
    return points[order].astype(np.float32), labels[order]


def write_h5(path, points, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["data"] = points
        file["label"] = labels.astype(np.uint8)[:, None]


def write_modelnet(root, per_class=15, stored=64, test=5):
    """A folder in ModelNet40's format with three classes; no test split where `test` is 0."""
    folder = root / "modelnet40_ply_hdf5_2048"
    write_h5(folder / "ply_data_train0.h5", *make_clouds(per_class, stored, 0))
    if test:
        write_h5(folder / "ply_data_test0.h5", *make_clouds(test, stored, 1))
    (folder / "shape_names.txt").write_text("\n".join(NAMES) + "\n")
    return folder


def write_scanobjectnn(root, per_class=15, stored=64, test=5):
    folder = root / "main_split"
    for name, count, seed in (("training", per_class, 0), ("test", test, 1)):
        points, labels = make_clouds(count, stored, seed)
        folder.mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / f"{name}_objectdataset.h5", "w") as file:
            file["data"], file["label"] = points, labels
            file["mask"] = np.zeros(points.shape[:2], np.int64)
    return folder


def write_pictures(root, counts=(3, 5, 5), per_class=20, size=32, noise=30, nested=False):
    """CIFAR-FS in either layout; each class has a colour."""
    rng = np.random.default_rng(0)
    for part, count in zip(("train", "val", "test"), counts, strict=True):
        names = [f"{part}_{i}" for i in range(count)]
        if not nested:
            (root / "splits" / "bertinetto").mkdir(parents=True, exist_ok=True)
            (root / "splits" / "bertinetto" / f"{part}.txt").write_text("\n".join(names))
        for name in names:
            folder = root / (part if nested else "data") / name
            folder.mkdir(parents=True)
            colour = rng.uniform(40, 215, 3)
            for i in range(per_class):
                pixels = np.clip(colour + rng.normal(0, noise, (size, size, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def pointnet(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "encoder.safetensors"
    save_model(PointNet().eval(), path, None)
    return path


@pytest.fixture
def modelnet(tmp_path):
    return write_modelnet(tmp_path)


@pytest.fixture(scope="session")
def writers():
    return {"modelnet40": write_modelnet, "scanobjectnn": write_scanobjectnn, "cifar-fs": write_pictures}
