"""Measure what distances between embeddings of the released models mean; writes `crosspoint/weights/distances.json`.

    python tools/calibrate_distances.py

Of every category of made shapes of edition 1 a few are drawn, and of each of them copies are planted: under another
name, in another unit at another place, with each triangle divided, turned about the vertical axis, mirrored. A few
minutes on two cores.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from crosspoint.core.files import write_json
from crosspoint.core.results import to_json
from crosspoint.data.shapes import CATEGORIES, FIRST
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.embeddings import load
from crosspoint.runtime.library.limits import FILE, SCHEMA, DistanceLimits, ModelDistances, Spread
from crosspoint.runtime.options import Sampling
from crosspoint.runtime.released import FOLDER, releases

Array = NDArray[np.float64]
Faces = NDArray[np.int64]
SEED = 20  # of the shapes; none of them was trained on
DRAWS = (1,)
COPIES, SAME = ("renamed", "scaled", "subdivided"), ("turned", "mirrored")
SHARE, ONE_CATEGORY = 0.99, 0.95
MARGIN = 1.2  # on the largest distance of a copy


def plant(root: Path, per_class: int) -> None:
    """Write `<category>-<number>.ply` into `library/` and a copy of it into a folder for each kind."""
    rng = np.random.default_rng(SEED)
    for category in FIRST:
        for number in range(per_class):
            shape = CATEGORIES[category](np.random.default_rng([SEED, number, *category.encode()])).turned(
                rng.uniform(-180, 180)
            )
            name = f"{category}-{number}.ply"
            _write(root / "library" / name, shape.vertices, shape.faces)
            for kind, vertices, faces in _copies(shape.vertices, shape.faces, rng):
                _write(root / kind / name, vertices, faces)
            (root / "renamed").mkdir(exist_ok=True)
            shutil.copy(root / "library" / name, root / "renamed" / f"copy-{name}")


def _copies(vertices: Array, faces: Faces, rng: np.random.Generator) -> Iterator[tuple[str, Array, Faces]]:
    turn = Rotation.from_euler("y", rng.uniform(0.2, 2 * np.pi - 0.2)).as_matrix()
    yield "scaled", 1000 * vertices + rng.uniform(-500, 500, 3), faces
    divided, quarters = trimesh.remesh.subdivide(vertices, faces)  # type: ignore[no-untyped-call]
    yield "subdivided", divided, quarters
    yield "turned", vertices @ turn.T, faces
    yield "mirrored", vertices * [-1, 1, 1], faces[:, ::-1]


def _write(path: Path, vertices: Array, faces: Faces) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.Trimesh(vertices, faces, process=False).export(path)


def measure(root: Path, model: str, draws: int) -> DistanceLimits:
    """Embed everything and compare each shape with its copies and with the other shapes."""
    with tempfile.TemporaryDirectory() as space:
        embed(model, [root], out=f"{space}/all.npz", sampling=Sampling(draws=draws))
        found = load(Path(space, "all.npz"))
    unit = found.vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    rows = dict(zip(found.names, unit, strict=True))
    shapes = [name for name in found.names if name.startswith("library/")]
    own = np.stack([rows[name] for name in shapes])  # (n, D)
    planted = {
        kind: np.array([_distance(rows[name], rows[_copy_of(name, kind)]) for name in shapes])
        for kind in (*COPIES, *SAME)
    }
    apart = np.stack([_distance(own, one) for one in own])  # (n, n)
    np.fill_diagonal(apart, np.inf)
    classes = np.array([Path(name).stem.rpartition("-")[0] for name in shapes])
    i, j = np.triu_indices(len(own), 1)
    order = np.argsort(apart[i, j])
    hits = np.cumsum(classes[i[order]] == classes[j[order]]) / np.arange(1, len(order) + 1)
    pure = np.flatnonzero(hits >= ONE_CATEGORY)
    similar = float(apart[i, j][order][pure[-1]]) if len(pure) else 0.0
    copy = MARGIN * max(float(planted[kind].max()) for kind in COPIES)
    same = max(copy, *(float(np.quantile(planted[kind], SHARE)) for kind in SAME))
    spreads = {kind: _spread(values) for kind, values in planted.items()}
    spreads["nearest other"] = _spread(apart.min(axis=1))
    return DistanceLimits(draws, copy, same, similar, spreads)


def _copy_of(name: str, kind: str) -> str:
    name = name.removeprefix("library/")
    return f"{kind}/copy-{name}" if kind == "renamed" else f"{kind}/{name}"


def _distance(a: Array, b: Array) -> Array:
    """Cosine distances of unit vectors."""
    return np.asarray(((a - b) ** 2).sum(axis=-1) / 2)


def _spread(values: Array) -> Spread:
    median, p95, p99 = (float(np.quantile(values, q)) for q in (0.5, 0.95, 0.99))
    return Spread(median, p95, p99, float(values.max()))


def main() -> None:
    """Measure every released model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=4)
    per_class = parser.parse_args().per_class
    with tempfile.TemporaryDirectory() as space:
        root = Path(space)
        plant(root, per_class)
        models = {
            name: to_json(
                ModelDistances(
                    release.version,
                    per_class * len(FIRST),
                    tuple(measure(root, name, draws) for draws in DRAWS),
                )
            )
            for name, release in releases().items()
        }
    write_json(FOLDER / FILE, {"schema": SCHEMA, "models": models})


if __name__ == "__main__":
    main()
