"""Things that hold other things, without water: dresser, TV stand, bucket, bin, suitcase, wheelbarrow."""

import numpy as np

from crosspoint.data.shapes import supports
from crosspoint.data.shapes.categories.furniture import drawer
from crosspoint.data.shapes.primitives import (
    box,
    circle,
    disc,
    ellipsoid,
    extrude,
    hollow,
    lathe,
    loft,
    rod,
    rounded_box,
    smooth,
    taper,
    torus,
    tube,
    wheel,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


@category("body", "drawer", "leg", "mirror")
def dresser(rng: Rng, build: ShapeBuilder) -> None:
    """Wide and tall chests with rows of drawers, on legs, feet or a plinth, some with a mirror or doors."""
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(3, 6))
    width, tall, depth = 0.35 + 0.33 * columns * rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.4), rng.uniform(0.38, 0.65)
    foot = rng.uniform(0.03, 0.18)
    base = pick(rng, "legs", "plinth", "feet")
    if base == "legs":
        splay = rng.uniform(0, 0.2)
        build.add("leg", supports.legs(width, depth, height=foot, size=0.03, round_=chance(rng), splay=splay))
    elif base == "feet":
        build.add("leg", supports.feet(width, depth, height=foot, size=0.04))
    else:
        build.add("leg", box((width * 0.97, foot, depth * 0.94)))
    build.add("body", box((width, tall - foot, depth), (0, foot, 0)))
    over = rng.uniform(1.0, 1.08)
    build.add("body", rounded_box((width * over, 0.035, depth * over), 0.01, at=(0, tall, 0)))
    each, bar = width / columns, chance(rng)
    shares = rng.uniform(0.7, 1.4, rows) if chance(rng) else np.ones(rows)
    heights = np.sort(shares)[::-1] / shares.sum() * (tall - foot) * 0.98
    y = foot + 0.01 * tall
    doors = int(rng.integers(columns)) if columns > 1 and chance(rng, 0.3) else -1
    for row, high in enumerate(heights):
        split = columns if row or not chance(rng, 0.3) else 1
        for k in range(split):
            if k == doors and split > 1:
                continue
            wide = width / split
            at = ((k + 0.5) * wide - width / 2, y + high * 0.06, depth / 2)
            front, grip = drawer(wide * 0.92, high * 0.86, at=at, bar=bar)
            build.add("drawer", front, grip)
        y += high
    if doors >= 0:
        at = ((doors + 0.5) * each - width / 2, foot + 0.02, depth / 2 + 0.012)
        build.add("drawer", box((each * 0.92, (tall - foot) * 0.94, 0.024), at))
    if chance(rng, 0.35):
        wide, high = width * rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.9)
        z = -depth / 2 + 0.04
        if chance(rng):
            build.add("mirror", box((wide, high, 0.03), (0, tall + 0.08, z)))
        else:
            build.add("mirror", disc(wide * 0.4, 0.03, sides=32).turn("x", 90).at((0, tall + wide * 0.4 + 0.06, z)))
        build.add("mirror", box((0.05, high * 0.6, 0.04), (wide * 0.35, tall, z - 0.02)).mirrored())


@category("top", "body", "shelf", "foot")
def tv_stand(rng: Rng, build: ShapeBuilder) -> None:
    """Long low benches and cabinets with open bays, shelves on posts, doors, corner shapes."""
    width, tall, depth = rng.uniform(1.0, 1.9), rng.uniform(0.36, 0.65), rng.uniform(0.35, 0.55)
    thick, kind = rng.uniform(0.02, 0.05), pick(rng, "bays", "posts", "doors", "corner", "steps")
    foot = rng.uniform(0.0, 0.12)
    narrow = rng.uniform(0.5, 0.8) if kind == "corner" else 1.0
    for y in (foot, tall):
        if kind == "corner":
            outline = [(-width / 2, 0.5), (width / 2, 0.5), (width * narrow / 2, -0.5), (-width * narrow / 2, -0.5)]
            board = extrude([(x, -z * depth) for x, z in outline], thick).turn("x", -90)
            build.add("top", board.at((0, y + thick / 2, 0)))
        else:
            build.add("top", box((width, thick, depth), (0, y, 0)))
    room = tall - foot - thick
    inner = width * narrow
    if kind == "posts":
        spots = [(sx * (inner / 2 - 0.05), sz * (depth / 2 - 0.05)) for sx, sz in supports.CORNERS]
        build.add("body", [rod((x, foot, z), (x, tall, z), radius=rng.uniform(0.015, 0.03)) for x, z in spots])
    else:
        build.add("body", box((thick, room, depth * 0.96), (inner / 2 - thick / 2, foot + thick, 0)).mirrored())
    bays = int(rng.integers(1, 4))
    xs = (np.arange(1, bays) / bays - 0.5) * inner
    if kind != "posts":
        build.add("body", [box((thick, room, depth * 0.9), (x, foot + thick, 0)) for x in xs])
        if chance(rng, 0.6):
            build.add("body", box((inner, room, 0.012), (0, foot + thick, -depth * 0.48)))
    levels = int(rng.integers(1, 3))
    for bay in range(bays):
        x, wide = ((bay + 0.5) / bays - 0.5) * inner, inner / bays - thick
        if kind == "doors" and (bay % 2 == 0 or bays == 1):
            build.add("shelf", box((wide * 0.96, room * 0.96, 0.02), (x, foot + thick, depth * 0.48)))
            build.add("shelf", box((0.015, room * 0.3, 0.02), (x + wide * 0.3, foot + room * 0.4, depth * 0.5)))
        else:
            heights = np.linspace(0, room, levels + 2)[1:-1] * rng.uniform(0.8, 1.15)
            build.add("shelf", [box((wide, thick * 0.8, depth * 0.9), (x, foot + y, 0)) for y in heights])
    if kind == "steps":
        build.add("top", box((width * 0.5, thick, depth * 0.8), (0, tall + 0.16, 0)))
        build.add("body", box((thick, 0.16, depth * 0.8), (width * 0.24, tall, 0)).mirrored())
    if foot > 0.03:
        build.add("foot", supports.feet(inner * 0.94, depth * 0.9, height=foot, size=0.03))
    elif chance(rng):
        build.add("foot", box((inner * 0.95, 0.03, depth * 0.9), (0, foot - 0.03, 0)))


@category("body", "rim", "handle")
def bucket(rng: Rng, build: ShapeBuilder) -> None:
    """Pails with a wire handle up, down or to one side, tubs with two grips."""
    radius, tall, slope = rng.uniform(0.14, 0.2), rng.uniform(0.22, 0.42), rng.uniform(0.65, 0.95)
    build.add("body", hollow([(radius * slope, 0), (radius, tall)], radius * 0.06, sides=28))
    for y in (tall, tall * rng.uniform(0.7, 0.9)) if chance(rng) else (tall,):
        build.add("rim", torus(radius * (slope + (1 - slope) * y / tall), 0.01, at=(0, y, 0)))
    if chance(rng, 0.7):
        lean = pick(rng, 0.0, rng.uniform(-100, 100))
        path = circle(17, 0, stop=180, end=True) * (radius * 1.04, radius * rng.uniform(0.9, 1.3))
        bail = tube(np.column_stack((path, np.zeros(17))), 0.006, sides=6)
        build.add("handle", bail.turn("x", lean).at((0, tall * 0.96, 0)))
        build.add("handle", ellipsoid((0.014, 0.02, 0.02), (radius * 1.03, tall * 0.95, 0), sides=8).mirrored())
    else:
        path = circle(9, 90, stop=-90, end=True) * (0.05, 0.06)
        grip = tube(np.column_stack((path[:, 0], np.zeros(9), path[:, 1])), 0.012, sides=8)
        build.add("handle", grip.at((radius * 0.97, tall * 0.85, 0)).mirrored())


@category("body", "lid", "pedal")
def trash_can(rng: Rng, build: ShapeBuilder) -> None:
    """Round and square bins: open, with a dome, a flap or a pedal, wheeled, and wire baskets."""
    radius, tall = rng.uniform(0.15, 0.24), rng.uniform(0.35, 0.8)
    kind = pick(rng, "open", "dome", "pedal", "wheeled", "wire")
    if kind == "wire":
        count = int(rng.integers(12, 24))
        slope = rng.uniform(0.7, 0.95)
        ends = zip(circle(count) * radius * slope, circle(count) * radius, strict=True)
        build.add("body", [rod((a, 0, b), (c, tall, d), radius=0.005, sides=5) for (a, b), (c, d) in ends])
        rings = np.linspace(0.02, tall, 4)
        build.add("body", [torus(radius * (slope + (1 - slope) * y / tall), 0.007, at=(0, y, 0)) for y in rings])
        build.add("body", disc(radius * slope, 0.01))
        return
    if kind == "wheeled":
        wide, deep = radius * 2.0, radius * 2.4
        build.add("body", taper((wide * 0.8, deep * 0.75), (wide, deep), height=tall))
        build.add("lid", box((wide * 1.08, 0.05, deep * 1.1), (0, tall, 0)))
        build.add(
            "lid", rod((-wide * 0.4, tall - 0.04, -deep * 0.6), (wide * 0.4, tall - 0.04, -deep * 0.6), radius=0.02)
        )
        build.add("pedal", wheel(0.09, 0.05, at=(wide * 0.42, 0.06, -deep * 0.42)).mirrored())
        return
    slope = rng.uniform(0.75, 1.0)
    if chance(rng, 0.6):
        build.add("body", hollow([(radius * slope, 0), (radius, tall)], radius * 0.07, sides=28))
    else:
        shape = [(slope, 0.0), (1.0, 1.0), (0.92, 1.0), (0.92 * slope, 0.06)]
        corners = supports.CORNERS
        build.add(
            "body", loft([[(sx * radius * r, tall * y, sz * radius * r) for sx, sz in corners] for r, y in shape])
        )
    if kind == "dome":
        curve = circle(8, 0, stop=90, end=True) * (radius * 1.02, radius * rng.uniform(0.5, 1.0))
        build.add("lid", lathe(np.add(curve, (0, tall))))
        build.add("lid", box((radius, radius * 0.5, 0.02), (0, tall + radius * 0.15, radius * 0.8)))
    elif kind == "pedal":
        lean = -rng.uniform(0, 70)
        lid = lathe([(radius * 1.03, 0), (radius, 0.05), (radius * 0.3, 0.08)]).at((0, 0, radius))
        build.add("lid", lid.turn("x", lean).at((0, tall, -radius)))
        build.add("pedal", box((0.09, 0.015, 0.08), (0, 0.03, radius * 1.05)))


@category("shell", "wheel", "handle")
def suitcase(rng: Rng, build: ShapeBuilder) -> None:
    """Trolleys with a pulled handle and wheels, and cases that are carried, upright or lying."""
    width, tall, depth = rng.uniform(0.36, 0.5), rng.uniform(0.5, 0.75), rng.uniform(0.18, 0.3)
    build.add("shell", rounded_box((width, tall, depth), rng.uniform(0.02, 0.08), at=(0, 0.05, 0)))
    if chance(rng):
        xs = np.linspace(-0.4, 0.4, int(rng.integers(3, 8))) * width
        build.add("shell", [box((0.015, tall * 0.8, 0.02), (x, 0.05 + tall * 0.1, depth / 2)) for x in xs])
    if chance(rng, 0.65):
        long = rng.uniform(0.1, 0.5)
        z, x = -depth * 0.3, width * 0.25
        build.add(
            "handle", tube([(x, tall, z), (x, tall + long, z), (-x, tall + long, z), (-x, tall, z)], 0.012, sides=8)
        )
        spots = [(sx * width * 0.4, sz * depth * 0.35) for sx, sz in supports.CORNERS]
        build.add("wheel", [wheel(0.035, 0.025, at=(x, 0.035, z), sides=12) for x, z in spots])
    else:
        path = [(-0.08, tall + 0.04, 0), (-0.08, tall + 0.1, 0), (0.08, tall + 0.1, 0), (0.08, tall + 0.04, 0)]
        build.add("handle", tube(smooth(path, 9), 0.014, sides=8))
        build.add(
            "wheel", [mesh.at((0, 0.02, 0)) for mesh in supports.feet(width * 0.8, depth, height=0.04, size=0.02)]
        )


@category("tray", "wheel", "frame", "load")
def wheelbarrow(rng: Rng, build: ShapeBuilder) -> None:
    """Barrows with one wheel or two, a deep or flat tray, empty or loaded."""
    wide, long, deep = rng.uniform(0.5, 0.7), rng.uniform(0.7, 0.95), rng.uniform(0.12, 0.34)
    radius, lift = rng.uniform(0.14, 0.2), rng.uniform(0.24, 0.34)
    low, wall = rng.uniform(0.45, 0.75), 0.04
    shape = [(low, 0.0), (1.0, 1.0), (1.0 - wall, 1.0), (low - wall, 0.12)]
    rings = [
        [(sx * wide / 2 * r, lift + deep * y, sz * long / 2 * r - 0.05) for sx, sz in supports.CORNERS]
        for r, y in shape
    ]
    build.add("tray", loft(rings))
    z = long * 0.55
    rail = tube([(0.06, radius, z), (wide * 0.25, lift, z * 0.4), (wide * 0.35, lift + 0.02, -long * 0.4),
                 (wide * 0.42, lift + 0.16, -long * 0.95)], 0.02, sides=8)  # fmt: skip
    build.add("frame", rail.mirrored())
    build.add("frame", rod((wide * 0.3, lift, -long * 0.25), (wide * 0.34, 0, -long * 0.4), radius=0.018).mirrored())
    if chance(rng, 0.7):
        build.add("wheel", wheel(radius, 0.08, at=(0, radius, z)))
    else:
        build.add("wheel", wheel(radius, 0.07, at=(wide * 0.3, radius, z * 0.7)).mirrored())
        build.add("wheel", rod((-wide * 0.3, radius, z * 0.7), (wide * 0.3, radius, z * 0.7), radius=0.015))
    if chance(rng, 0.4):
        heap = ellipsoid(
            (wide * 0.4, deep * rng.uniform(0.5, 1.2), long * 0.4), (0, lift + deep * 0.8, -0.05), sides=14
        )
        build.add("load", heap)
