"""Small sets of pairs."""

import numpy as np
import pytest
from PIL import Image
from plyfile import PlyData, PlyElement


def cloud(i, count=64):
    rng = np.random.default_rng(i)
    return (rng.normal(size=(count, 3)) * rng.uniform(0.3, 1.5, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """A folder in ShapeNetRender's layout: 12 objects of two categories, 64 points, three 32×32 renderings."""
    root = tmp_path_factory.mktemp("pairs")
    for i in range(12):
        category, name = f"c{i % 2}", f"object{i:02d}"
        vertices = np.array([tuple(row) for row in cloud(i)], dtype=[("x", "f4"), ("y", "f4"), ("z", "f4")])
        path = root / "ShapeNet" / category / f"{name}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        PlyData([PlyElement.describe(vertices, "vertex")]).write(path)
        folder = root / "ShapeNetRendering" / category / name / "rendering"
        folder.mkdir(parents=True)
        for view in range(3):
            pixels = np.random.default_rng((i, view)).integers(0, 256, (32, 32, 4), dtype=np.uint8)
            Image.fromarray(pixels, "RGBA").save(folder / f"{view:02d}.png")
    return root


@pytest.fixture(scope="session")
def small():
    """Overrides that make any recipe small enough for `pairs`."""
    return ("points=32", "k=4", "batch=4", "epochs=2", "image_size=32", "image_depth=18")
