"""The clouds that models are compared on: ordinary ones, the user's own, and hostile ones (degenerate or extreme)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.points import normalise

Array = NDArray[np.float32]
Surface = Callable[[np.random.Generator, int], NDArray[np.float64]]


def _box(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    points = rng.uniform(-1, 1, (count, 3))
    points[np.arange(count), rng.integers(3, size=count)] = rng.choice([-1.0, 1.0], count)  # onto a face
    return points


def _ball(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    points = rng.standard_normal((count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def _tube(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.stack([np.cos(angle), rng.uniform(-2, 2, count), np.sin(angle)], axis=1)


def _sheet(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    x, z = rng.uniform(-1, 1, (2, count))
    return np.stack([x, 0.2 * np.sin(3 * x), z], axis=1)


SURFACES: tuple[Surface, ...] = (_box, _ball, _tube, _sheet)
CLOUDS = 5  # number of ordinary clouds; odd, so that repetitions take other places in a larger batch


@dataclass(frozen=True)
class CloudSet:
    """A set of clouds to compare models on.

    Attributes:
        name: Name in the report.
        inputs: Inputs of the network by name, `(P, …)`.
        own_graphs: Output of the reference `(P, …)` on its own neighbour graphs; None if it is not needed.
        ties: Whether neighbours have exactly equal distances, so that several graphs are right.
    """

    name: str
    inputs: dict[str, Array]
    own_graphs: NDArray[np.float64] | None = None
    ties: bool = False

    def __len__(self) -> int:
        return len(self.inputs["points"])


def gate_clouds(
    points: int,
    *,
    categories: int | None = None,
    real: Array | None = None,
    counts: Iterable[int] = (),
    seed: int = 0,
    ordinary_clouds: int = CLOUDS,
) -> list[CloudSet]:
    """All clouds for a comparison. The ordinary clouds, which are run at every batch size, come first.

    Args:
        points: Usual number of points.
        categories: Width of the one-hot category that a part segmenter takes; None for an encoder.
        real: Some of the user's clouds `(n, N, 3)`, normalised.
        counts: Other numbers of points to test.
        seed: Random seed of the synthetic clouds.
        ordinary_clouds: Number of ordinary clouds.
    """
    sets = [("ordinary clouds", ordinary(ordinary_clouds, points, seed=seed), False)]
    sets += [] if real is None else [("real clouds", real, False)]
    sets += [(f"{n} points", ordinary(2, n, seed=n), False) for n in sorted({*counts} - {points})]
    sets += [(name, cloud[None], True) for name, cloud in hostile(points, seed + 1).items()]
    return [CloudSet(name, inputs_of(clouds, categories), None, ties) for name, clouds, ties in sets]


def inputs_of(points: Array, categories: int | None) -> dict[str, Array]:
    """Inputs of a network for clouds `(n, N, 3)`; a part segmenter gets its categories in turn."""
    inputs = {"points": points}
    if categories is not None:
        inputs["category"] = np.eye(categories, dtype=np.float32)[np.arange(len(points)) % categories]
    return inputs


def ordinary(clouds: int, points: int, *, seed: int = 0) -> Array:
    """Synthetic clouds: pairs of stretched and shifted surfaces with some noise, normalised, `(clouds, points, 3)`."""
    rng = np.random.default_rng(seed)
    drawn = []
    for i in range(clouds):
        parts = []
        for j, size in enumerate((points // 2, points - points // 2)):
            surface = SURFACES[(i + j) % len(SURFACES)](rng, size)
            parts.append(surface * rng.uniform(0.3, 1.5, 3) + rng.uniform(-1, 1, 3))
        drawn.append(np.concatenate(parts) + rng.normal(0, 0.01, (points, 3)))
    return normalise(np.stack(drawn))


UNNORMALISED = ("size 0.0001", "100 away")
"""The hostile clouds that are not normalised."""


def hostile(points: int, seed: int = 1) -> dict[str, Array]:
    """Hostile clouds `(points, 3)` by name: degenerate, extreme or not normalised."""
    rng = np.random.default_rng(seed)
    usual = ordinary(1, points, seed=seed)[0]
    side = int(np.ceil(points ** (1 / 3)))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:points]
    line = np.outer(np.arange(points), [1.0, 0.5, 0.25])
    two = usual * 1e-3 + np.where(np.arange(points) % 2, 1.0, -1.0)[:, None]
    return {
        "each point four times": normalise(np.repeat(usual, 4, axis=0)[:points]),
        "all points equal": np.zeros((points, 3), np.float32),
        "lattice": normalise(rng.permutation(lattice)),
        "line": normalise(rng.permutation(line)),
        "two specks": normalise(two),
        "size 0.0001": usual * np.float32(1e-4),
        "100 away": usual + np.float32(100),
    }
