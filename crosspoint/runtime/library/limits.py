"""What distances between embeddings of a released model mean, as measured once on planted copies of made shapes.

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
    """Cosine distances within which a pair is looked at.

    Attributes:
        draws: Of points from each object, whose embeddings were averaged.
        copy: The largest of a shape and its renamed, scaled and subdivided copies.
        same: Within it lie 99 % of the turned and mirrored copies.
        similar: Of the pairs of different shapes that are nearer, 95 % are of one category.
        measured: What they come from, by kind of copy; `"nearest other"` is the nearest shape that is no copy.
    """

    draws: int
    copy: float
    same: float
    similar: float
    measured: dict[str, Spread]

    def of(self, level: str) -> float:
        """The limit of a level."""
        return {"copy": self.copy, "same": self.same, "similar": self.similar}[level]


@dataclass(frozen=True)
class ModelDistances:
    """A released model and its limits, one entry for each number of draws that was measured."""

    version: str
    shapes: int
    limits: tuple[DistanceLimits, ...]


def limits_of(model_sha256: str, draws: int, *, model: str) -> DistanceLimits:
    """The limits of the release that a file belongs to: of as many draws, or of the next smaller number measured.

    Raises:
        InputError: The distances of this model were not measured.
    """
    found = find_hash(model_sha256)
    known = _read()
    if found is None or found[0].name not in known or known[found[0].name].version != found[0].version:
        raise InputError(f"what distances of {model} mean was not measured; give --within DISTANCE, e.g. --within 0.02")
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
