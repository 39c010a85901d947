"""Golden vectors of a bundle: a raw cloud, the points drawn from it, normalised, and the outputs of the model.

Programs in other languages that sample and normalise by themselves are checked with them. The specification is
`docs/preprocessing.md`.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.frames import Up, to_y_up
from crosspoint.data.points import drawing, drop_missing, normalise, sample_points
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.classifier import NOVELTY, SCORES

GOLDEN = "golden.npz"
SEED = 0
UP: Up = "z"
LARGE = 20_000  # above 10,000 points another way of drawing is used
ORIGIN = (431_000.0, 5_812_000.0, 35.0)  # metres, as in a survey: float32 would move points by 0.2 m there


def write_golden(folder: Path, onnx: str, *, count: int, runs: bool, operators: bool = False) -> None:
    """Write `golden.npz` into the folder of a bundle; equal models give equal bytes.

    Args:
        folder: The bundle, with its ONNX file.
        onnx: Name of the ONNX file.
        count: Points to draw.
        runs: Whether this CPU can run the file; if not, there are none of its outputs.
        operators: Run it with this package's operators, as bf16 needs them; else standard ONNX alone.
    """
    cloud = golden_cloud(2 * count + 1)
    stored = drop_missing(cloud)
    rows = draw_rows(len(stored), count)
    points = normalise(to_y_up(stored[rows], UP))[None]  # (1, count, 3)
    arrays: dict[str, NDArray[Any]] = {
        "cloud": cloud,
        "seed": np.array(SEED),
        "up": np.array(UP),
        "rows": rows,
        "large": np.array(max(LARGE, count)),
        "large_rows": draw_rows(max(LARGE, count), count),
        "points": points,
    }
    if runs:
        with OnnxEncoder(folder / onnx, threads=1, operators=operators) as encoder:
            outputs = encoder.run({"points": points})
        arrays |= {name: outputs[name] for name in ("embedding", SCORES, NOVELTY) if name in outputs}
    with zipfile.ZipFile(folder / GOLDEN, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def golden_cloud(count: int) -> NDArray[np.float64]:
    """A table of `count` points and three NaN, z-up in metres, far from the origin: (count + 3, 3)."""
    rng = np.random.default_rng(SEED)
    leg = rng.random(count) < 0.4
    across = np.where(leg[:, None], rng.choice((-0.55, 0.55), (count, 2)), 0) + 0.05 * rng.uniform(-1, 1, (count, 2))
    across = np.where(leg[:, None], across, rng.uniform(-0.6, 0.6, (count, 2))) * (1.0, 0.7)
    height = np.where(leg, rng.uniform(0, 0.7, count), rng.uniform(0.7, 0.75, count))
    cloud = np.column_stack([across, height]) + ORIGIN
    return np.insert(cloud, [0, count // 2, count], np.nan, axis=0)


def draw_rows(stored: int, count: int) -> NDArray[np.int64]:
    """The numbers of the rows that are drawn from a cloud of `stored` points, as `read_points` draws them."""
    return sample_points(np.arange(stored, dtype=np.int64), count, rng=drawing(SEED, stored))
