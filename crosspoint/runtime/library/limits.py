"""Limits of cosine distance for released models, measured once on copies of synthetic shapes.

`crosspoint/weights/distances.json` holds them; `tools/calibrate_distances.py` makes it.
"""

from dataclasses import dataclass

from crosspoint.core.errors import InputError
from crosspoint.core.reading import read_json, reading
from crosspoint.core.results import from_json
from crosspoint.runtime.released import AGAIN, FOLDER, find_hash

FILE, SCHEMA = "distances.json", "crosspoint.distances/1"
LEVELS = ("copy", "same", "similar")
COPY, SAME = 0.002, 0.05  # largest distance of two surfaces, as a share of their root mean square radius


@dataclass(frozen=True)
class Spread:
    """Cosine distances of one kind of pair."""

    median: float
    p95: float
    p99: float
    largest: float


@dataclass(frozen=True)
class DistanceLimits:
    """Cosine distances up to which a pair is checked.

    Attributes:
        draws: Draws of points from each object, whose embeddings were averaged.
        copy: Largest distance between a shape and its renamed, scaled and subdivided copies, with a margin.
        same: 99 % of the turned and mirrored copies are nearer.
        similar: 95 % of the pairs of different shapes that are nearer have the same category.
        measured: The measured distances by kind of copy; `"nearest other"` is the nearest shape that is not a copy.
    """

    draws: int
    copy: float
    same: float
    similar: float
    measured: dict[str, Spread]

    def of(self, level: str) -> float:
        """The limit for a level."""
        return {"copy": self.copy, "same": self.same, "similar": self.similar}[level]


@dataclass(frozen=True)
class ModelDistances:
    """A released model and its limits, one entry for each number of draws that was measured."""

    version: str
    shapes: int
    limits: tuple[DistanceLimits, ...]


def limits_of(model_sha256: str, draws: int) -> DistanceLimits | None:
    """The limits of a released model, for this number of draws or the next smaller one that was measured.

    Returns:
        The limits; None for a model that was not measured.
    """
    found = find_hash(model_sha256)
    known = _read()
    if found is None or found[0].name not in known or known[found[0].name].version != found[0].version:
        return None
    measured = [each for each in known[found[0].name].limits if each.draws <= draws]
    return max(measured, key=lambda each: each.draws)


def _read() -> dict[str, ModelDistances]:
    path = FOLDER / FILE
    if not path.is_file():
        return {}
    values = read_json(path, "the distances of released models", advice=AGAIN)
    with reading(path, "the distances of released models", advice=AGAIN):
        if values["schema"] != SCHEMA:
            raise InputError(f"its schema is {str(values['schema'])[:40]!r}; {AGAIN}")
        return from_json(dict[str, ModelDistances], values["models"])
