"""Time and memory of finding objects in a scan, and how many of those that are there are found.

    python benchmarks objects [--points 4000000] [--things 200] [--size 100] [--rounds 3]

The scene is made: ground with waves of 1.5 m, and boxes of 0.5 m to 4 m on it, 8 m from centre to centre or more and
2,500 points each; the ground gets the other points. A box is found if one object has it to 0.3 m on each side.
"""

import argparse
import resource
import time

import numpy as np
from embed import seconds
from numpy.typing import NDArray
from results import Series, add_json, write

from crosspoint.data.objects.find import segment

OF_BOX = 2500  # points
APART = 8.0  # metres between centres
CLOSE = 0.3  # metres

Floats = NDArray[np.float64]


def rise(x: Floats) -> Floats:
    """Height of the ground."""
    return np.asarray(1.5 * np.sin(x / 15))


def box(rng: np.random.Generator, plan: Floats) -> Floats:
    """Points of five faces of a box on the ground (OF_BOX, 3)."""
    unit = rng.uniform(-0.5, 0.5, (OF_BOX, 3))
    for face, (axis, value) in enumerate(((2, 0.5), (0, 0.5), (0, -0.5), (1, 0.5), (1, -0.5))):
        unit[face::5, axis] = value
    size = rng.uniform([0.5, 0.5, 1.0], [4.0, 2.0, 2.5])
    return np.asarray((unit + np.array([0, 0, 0.5])) * size + np.array([*plan, rise(plan[0])]))


def scene(points: int, things: int, size: float) -> tuple[Floats, list[Floats]]:
    """A scan (points, 3), and the boxes in it."""
    rng = np.random.default_rng(0)
    plans: list[Floats] = []
    while len(plans) < things:
        plan = rng.uniform(-size + 4, size - 4, 2)
        if all(np.linalg.norm(plan - other) > APART for other in plans):
            plans.append(plan)
    boxes = [box(rng, plan) for plan in plans]
    flat = rng.uniform(-size, size, (points - things * OF_BOX, 2))
    ground = np.column_stack([flat, rise(flat[:, 0]) + rng.normal(0, 0.01, len(flat))])
    return np.concatenate([ground, *boxes]), boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=4_000_000)
    parser.add_argument("--things", type=int, default=200)
    parser.add_argument("--size", type=float, default=100.0, help="metres from the origin to each side")
    parser.add_argument("--rounds", type=int, default=3)
    add_json(parser)
    given = parser.parse_args()
    points, boxes = scene(given.points, given.things, given.size)
    times = [seconds(segment, points) for _ in range(given.rounds - 1)]
    start, busy = time.perf_counter(), time.process_time()
    found = segment(points)
    times.append((time.perf_counter() - start, time.process_time() - busy))
    corners = np.array([[one.lower, one.upper] for one in found.objects]).reshape(-1, 6)  # (n, 6)
    true = np.array([[one.min(axis=0), one.max(axis=0)] for one in boxes]).reshape(-1, 6)
    hit = sum(bool((np.abs(corners - row).max(axis=1) <= CLOSE).any()) for row in true) if len(corners) else 0
    print(f"{hit} of {len(boxes)} boxes found, {len(corners)} objects, voxels of {found.voxel:.3g} m")
    print(f"each round: {', '.join(f'{wall:.1f} s, {busy:.1f} s of a core' for wall, busy in times)}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    write("objects", given, [Series("segment", "s", tuple(busy for _, busy in times))])
