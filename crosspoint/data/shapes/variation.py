"""Varies parametric shapes: proportions, slant, damage, and things that stand on them."""

from dataclasses import replace

import numpy as np

from crosspoint.data.shapes.primitives import Array, Mesh, box, disc, ellipsoid, hollow, rod, rounded_box
from crosspoint.data.shapes.shape import Category, Rng, ShapeBuilder, chance, pick

CLUTTERED = (  # categories on which things may stand
    *("bench", "bookshelf", "desk", "dresser", "mantel", "night_stand", "piano", "stool", "table", "tv_stand"),
    *("washing_machine", "microwave"),
)
LYING = ("guitar", "hammer", "knife", "ladder", "shovel", "sword", "umbrella")  # half of them lie
CLUTTER = "clutter"  # the part of these things
STRETCH = 0.12  # standard deviation of the logarithm of a stretch along each axis


def varied(category: Category, *, clutter: bool = False, lying: bool = False) -> Category:
    """The category with more variation; its objects are those of `category`, then changed.

    Args:
        category: The category.
        clutter: Whether things may stand on its objects; they are the part `CLUTTER`.
        lying: Whether half of its objects lie on their back.
    """
    names = (*category.part_names, CLUTTER) if clutter else category.part_names

    def draw(rng: Rng, build: ShapeBuilder) -> None:
        category.draw(rng, build)
        if chance(rng, 0.2):
            _lose_a_part(rng, build)
        if clutter and chance(rng, 0.5):
            _put_things_on_top(rng, build)
        _change_proportions(rng, build)
        if chance(rng, 0.25):
            _dent(rng, build)
        if lying and chance(rng):
            build.solids[:] = [(label, mesh.turn("x", -90)) for label, mesh in build.solids]

    return replace(category, part_names=names, draw=draw)


def _lose_a_part(rng: Rng, build: ShapeBuilder) -> None:
    """Take away one of the solids of a part that has three or more: a leg, a slat, a key."""
    labels = [label for label, _ in build.solids]
    spare = [place for place, label in enumerate(labels) if labels.count(label) >= 3]
    if spare:
        del build.solids[pick(rng, *spare)]


def _put_things_on_top(rng: Rng, build: ShapeBuilder) -> None:
    """Put one to five small things on the solid with the largest flat top that has nothing above it."""
    place = _free_top(build)
    if place is None:
        return
    low, high = place  # of its x and z, and its height
    size = (high - low)[[0, 2]]
    scale = float(np.sqrt(size.prod()))
    for _ in range(int(rng.integers(1, 6))):
        wide = scale * rng.uniform(0.06, 0.2)
        at = (
            rng.uniform(low[0], high[0]) * 0.8 + 0.1 * (low[0] + high[0]),
            high[1],
            rng.uniform(low[2], high[2]) * 0.8,
        )
        build.add(CLUTTER, [mesh.turn("y", rng.uniform(0, 360)).at(at) for mesh in _thing(rng, wide)])


def _thing(rng: Rng, wide: float) -> list[Mesh]:
    tall = wide * rng.uniform(0.3, 2.2)
    kind = pick(rng, "box", "book", "can", "ball", "cup", "lamp")
    if kind == "box":
        return [rounded_box((wide, tall, wide * rng.uniform(0.4, 1)), wide * 0.05)]
    if kind == "book":
        return [box((wide, wide * 0.2, wide * 1.4)), box((wide * 0.9, wide * 0.15, wide * 1.2), (0, wide * 0.2, 0))]
    if kind == "can":
        return [disc(wide / 2, tall, sides=16)]
    if kind == "ball":
        return [ellipsoid((wide / 2,) * 3, (0, wide / 2, 0), sides=14)]
    if kind == "cup":
        return [hollow([(wide * 0.35, 0), (wide / 2, tall)], wide * 0.05, sides=16)]
    stem, shade = (
        rod((0, 0, 0), (0, tall, 0), radius=wide * 0.06, sides=8),
        hollow([(wide / 2, 0), (wide * 0.3, tall * 0.4)], 0.01),
    )
    return [disc(wide * 0.3, wide * 0.06, sides=14), stem, shade.at((0, tall * 0.8, 0))]


def _free_top(build: ShapeBuilder) -> tuple[Array, Array] | None:
    """Corners of the box around the solid with the largest flat top (two or more triangles) under nothing."""
    boxes = [(mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)) for _, mesh in build.solids]
    best, area = None, 0.0
    for (_, mesh), (low, high) in zip(build.solids, boxes, strict=True):
        corners = mesh.vertices[mesh.faces]  # (F, 3, 3)
        flat = corners[(corners[:, :, 1] > high[1] - 1e-9).all(axis=1)]
        size = float(np.linalg.norm(np.cross(flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]), axis=1).sum() / 2)
        middle = (low + high) / 2
        above = any(
            (a[[0, 2]] < middle[[0, 2]]).all() and (b[[0, 2]] > middle[[0, 2]]).all() and b[1] > high[1] + 1e-9
            for a, b in boxes
        )
        if size > max(area, 0.5 * float((high - low)[[0, 2]].prod())) and not above:
            best, area = (low, high), size
    return best


def _change_proportions(rng: Rng, build: ShapeBuilder) -> None:
    """Stretch along each axis, and slant or narrow upwards."""
    stretch = np.exp(rng.normal(0, STRETCH, 3))
    slant = rng.normal(0, 0.04, 2) if chance(rng, 0.3) else np.zeros(2)
    narrow = rng.uniform(-0.15, 0.15) if chance(rng, 0.3) else 0.0
    low, high = _bounds(build)
    for place, (label, mesh) in enumerate(build.solids):
        share = (mesh.vertices[:, 1] - low[1]) / max(float(high[1] - low[1]), 1e-9)  # (V,)
        points = mesh.vertices * stretch
        points[:, [0, 2]] *= (1 - narrow * share)[:, None]
        points[:, [0, 2]] += np.outer(points[:, 1], slant)
        build.solids[place] = label, Mesh(points, mesh.faces)


def _dent(rng: Rng, build: ShapeBuilder) -> None:
    """Push the vertices near a point of the object inwards, most at that point."""
    low, high = _bounds(build)
    size = float((high - low).max())
    solids = [mesh for _, mesh in build.solids]
    mesh = pick(rng, *solids)
    centre = mesh.vertices[int(rng.integers(len(mesh.vertices)))]
    inwards = (low + high) / 2 - centre
    push = inwards / max(float(np.linalg.norm(inwards)), 1e-9) * size * rng.uniform(0.02, 0.08)
    reach = size * rng.uniform(0.1, 0.3)
    for place, (label, mesh) in enumerate(build.solids):
        near = np.exp(-(((mesh.vertices - centre) ** 2).sum(axis=1)) / reach**2)  # (V,)
        build.solids[place] = label, Mesh(mesh.vertices + near[:, None] * push, mesh.faces)


def _bounds(build: ShapeBuilder) -> tuple[Array, Array]:
    points = np.concatenate([mesh.vertices for _, mesh in build.solids])
    return points.min(axis=0), points.max(axis=0)
