"""Checks pairs of objects on their surfaces."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.runtime.library.limits import COPY, LEVELS, SAME
from crosspoint.runtime.library.objects import Objects
from crosspoint.runtime.library.pairs import NearPairs
from crosspoint.runtime.library.register import could_match, register
from crosspoint.runtime.library.surface import surface_distance


@dataclass(frozen=True)
class Duplicate:
    """A duplicate of the kept object of its group.

    Attributes:
        name: Name in the embeddings.
        level: `"copy"`, `"same"` or `"similar"`.
        distance: Cosine distance of the embeddings.
        surface: Upper bound of the distance of the surfaces, as a share of their root mean square radius; 0 for equal
            content; None: not measured, or larger than the limit.
    """

    name: str
    level: str
    distance: float
    surface: float | None


class Checks:
    """Checks the objects of pairs; each pair of contents is compared once, however many files hold them."""

    def __init__(self, names: Sequence[str], objects: Objects, *, level: str, similar: float | None) -> None:
        self._names, self._objects, self._level, self._similar = names, objects, level, similar
        self._contents: dict[int, str | None] = {}
        self._known: dict[tuple[str, str], tuple[str, float | None]] = {}
        self._copies: dict[str, dict[str, float]] = {}  # distances of the surfaces of copies, by contents
        self._same: dict[str, dict[str, float]] = {}  # the same after a rotation or a reflection
        self._like: dict[str, str] = {}  # contents of one surface that is equal, wherever it is turned
        self._apart: set[tuple[str, str]] = set()  # such contents whose surfaces differ

    def links(self, pairs: NearPairs, *, order: NDArray[np.intp]) -> dict[tuple[int, int], Duplicate]:
        """The pairs that are duplicates at this level, without a name; checked in the order of their objects."""
        found: dict[tuple[int, int], Duplicate] = {}
        first, second = order[pairs.first], order[pairs.second]
        in_order = np.lexsort((np.maximum(first, second), np.minimum(first, second)))
        for row in track(in_order.tolist(), "Checking pairs"):
            i, j, distance = int(pairs.first[row]), int(pairs.second[row]), float(pairs.distance[row])
            level, surface = self._check(i, j)
            near = level != "similar" or (self._similar is not None and distance <= self._similar)
            if near and LEVELS.index(level) <= LEVELS.index(self._level):
                found[i, j] = Duplicate("", level, distance, surface)
        return found

    def _check(self, i: int, j: int) -> tuple[str, float | None]:
        """Level of a pair, and the distance of the surfaces."""
        a, b = self._content(i), self._content(j)
        if a is None or b is None:
            return "similar", None
        if a == b:
            return "copy", 0.0
        key = min(a, b), max(a, b)
        if key not in self._known:
            level, surface = self._known[key] = self._compare(i, j, a, b)
            if surface is None:
                self._apart.add(self._alike(a, b))
            else:
                self._remember(a, b, level, surface)
        return self._known[key]

    def _remember(self, a: str, b: str, level: str, surface: float) -> None:
        for one, other in ((a, b), (b, a)):
            self._same.setdefault(one, {})[other] = surface
            if level == "copy":
                self._copies.setdefault(one, {})[other] = surface
        if surface <= COPY:
            first, second = self._alike(a, b)
            self._like[second] = first

    def _alike(self, *contents: str) -> tuple[str, str]:
        """For each of two contents, the first one that is like it; in order."""
        found = list(contents)
        for place, content in enumerate(contents):
            while (known := self._like.get(found[place], found[place])) != found[place]:
                found[place] = known
            self._like[content] = found[place]
        first, second = sorted(found)
        return first, second

    def _content(self, i: int) -> str | None:
        if i not in self._contents:
            self._contents[i] = self._objects.content(self._names[i])
        return self._contents[i]

    def _compare(self, i: int, j: int, content: str, other: str) -> tuple[str, float | None]:
        if (bound := _through(self._copies, content, other)) <= COPY:
            return "copy", bound
        if self._alike(content, other) in self._apart:
            return "similar", None
        a, b = self._objects.surface(self._names[i]), self._objects.surface(self._names[j])
        if a is None or b is None or not could_match(a, b):
            return "similar", None
        apart = surface_distance(a, b, enough=COPY / 2, most=COPY)
        if apart <= COPY:
            return "copy", apart
        if self._level == "copy":
            return "similar", None
        if (bound := _through(self._same, content, other)) > SAME:
            bound = register(a, b, enough=SAME / 2, most=SAME)
        return ("same", bound) if bound <= SAME else ("similar", None)


def _through(known: dict[str, dict[str, float]], a: str, b: str) -> float:
    """Upper bound of the distance of two surfaces by one that both were compared with; infinite if there is none."""
    first, second = known.get(a, {}), known.get(b, {})
    return min((first[each] + second[each] for each in first.keys() & second.keys()), default=math.inf)
