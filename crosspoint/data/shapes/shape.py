"""A parametric shape, a mesh with a part label per face, and the category that generates it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.shapes.primitives import Mesh

Rng = np.random.Generator
T = TypeVar("T")


@dataclass(frozen=True)
class Shape:
    """One object: y up, standing on y = 0, centred in x and z, longest side 1, front towards +z.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) int64, counter-clockwise seen from outside; every solid is closed.
        part_names: All parts of the category; an object may lack some.
        part_names: Every part that objects of this category can have; one object may lack some.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    face_parts: NDArray[np.int64]
    part_names: tuple[str, ...]

    def turned(self, degrees: float) -> "Shape":
        """The shape turned about the vertical axis."""
        vertices = Mesh(self.vertices, self.faces).turn("y", degrees).vertices
        return Shape(vertices, self.faces, self.face_parts, self.part_names)


class ShapeBuilder:
    """Collects solids under the names of their parts."""

    def __init__(self, part_names: tuple[str, ...]) -> None:
        self.part_names = part_names
        self.solids: list[tuple[int, Mesh]] = []

    def add(self, part: str, *meshes: Mesh | Iterable[Mesh]) -> None:
        """Add solids, or lists of solids, to a part."""
        label = self.part_names.index(part)
        for mesh in meshes:
            for one in [mesh] if isinstance(mesh, Mesh) else mesh:
                self.solids.append((label, one))

    def shape(self) -> Shape:
        """Join everything that was added, and put it on the ground at unit size."""
        starts = np.cumsum([0] + [len(mesh.vertices) for _, mesh in self.solids])
        vertices = np.concatenate([mesh.vertices for _, mesh in self.solids])
        faces = np.concatenate([mesh.faces + start for (_, mesh), start in zip(self.solids, starts, strict=False)])
        parts = np.concatenate([np.full(len(mesh.faces), label) for label, mesh in self.solids])
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        middle = (low + high) / 2
        return Shape((vertices - (middle[0], low[1], middle[2])) / (high - low).max(), faces, parts, self.part_names)


@dataclass(frozen=True)
class Category:
    """A category of objects; call it with a random generator to generate one object."""

    part_names: tuple[str, ...]
    draw: Callable[[Rng, ShapeBuilder], None]

    def __call__(self, rng: Rng) -> Shape:
        """Generate one random object."""
        builder = ShapeBuilder(self.part_names)
        self.draw(rng, builder)
        return builder.shape()


def category(*part_names: str) -> Callable[[Callable[[Rng, ShapeBuilder], None]], Category]:
    """Decorator that declares the parts of a category, above the function that generates it."""
    return lambda draw: Category(part_names, draw)


def pick(rng: Rng, *options: T) -> T:
    """One of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


def chance(rng: Rng, probability: float = 0.5) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)
