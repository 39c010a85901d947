"""Measures several works in turns, so that what the machine does meanwhile slows down all; and inputs for them."""

import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.points import normalise

Work = Callable[[], object]


def wall_ms(work: Work) -> float:
    """Milliseconds of a call."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def in_turns(
    works: Mapping[str, Work], rounds: int, *, warm: int, clock: Callable[[Work], float] = wall_ms
) -> dict[str, list[float]]:
    """Milliseconds of each work by round; the first `warm` rounds are not kept."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for i in range(warm + rounds):
        for name, work in works.items():
            spent = clock(work)
            if i >= warm:
                times[name].append(spent)
    return times


def clouds_of(count: int, points: int) -> NDArray[np.float32]:
    """Normalised clouds `(count, points, 3)`, the same each time."""
    rng = np.random.default_rng(0)
    return np.stack([normalise(rng.normal(size=(points, 3))) for _ in range(count)]).astype(np.float32)
