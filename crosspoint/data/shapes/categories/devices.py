"""Things with a plug, keys or strings: laptop, monitor, lamp, guitar."""

import numpy as np

from crosspoint.data.shapes.primitives import (
    Mesh,
    box,
    circle,
    disc,
    ellipsoid,
    extrude,
    hollow,
    lathe,
    level,
    loft,
    oval,
    rod,
    rounded_box,
    smooth,
    taper,
    tube,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


def screen(width: float, height: float, *, depth: float, bezel: float) -> tuple[Mesh, Mesh]:
    """A frame around a sunk display, standing on the origin, and the display itself, facing +z."""
    outer = np.array([(-0.5, 0), (0.5, 0), (0.5, 1), (-0.5, 1)]) * (width, height)
    inner = outer + np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * bezel
    rings = [
        np.column_stack((ring, np.full(4, z)))
        for ring, z in ((outer, -depth), (outer, 0), (inner, 0), (inner, -depth / 2))
    ]
    display = box((width - 2 * bezel, height - 2 * bezel, depth * 0.3), (0, bezel, -depth * 0.35))
    return loft(rings), display


@category("base", "keyboard", "screen", "lid", "touchpad")
def laptop(rng: Rng, build: ShapeBuilder) -> None:
    """Clamshells opened to many angles, slim or thick, with single keys or one slab of them, touchpad or buttons."""
    width, ratio = rng.uniform(0.8, 1.0), rng.uniform(0.62, 0.76)
    depth, thick = width * ratio, pick(rng, rng.uniform(0.02, 0.04), rng.uniform(0.06, 0.11))
    if chance(rng):
        build.add("base", box((width, thick, depth)))
    else:
        build.add("base", taper((width, depth), (width * 0.97, depth * 0.97), height=thick))
    if chance(rng, 0.75):
        build.add("keyboard", _keys(rng, width, depth, thick))
    else:
        build.add(
            "keyboard", rounded_box((width * 0.88, 0.024, depth * 0.46), 0.008, at=(0, thick - 0.004, -depth * 0.12))
        )
    x, z = rng.uniform(-0.06, 0.06) * width, depth * 0.33
    if chance(rng, 0.8):
        build.add("touchpad", box((width * rng.uniform(0.2, 0.34), 0.006, depth * 0.24), (x, thick, z)))
    else:
        build.add(
            "touchpad", [box((width * 0.11, 0.012, depth * 0.06), (x + s * width * 0.06, thick, z)) for s in (1, -1)]
        )
    opening, slim = rng.uniform(-62, 12), rng.uniform(0.014, 0.03)
    shell, display = screen(width, depth * rng.uniform(0.92, 1), depth=slim, bezel=rng.uniform(0.02, 0.06))
    hinge = (0, thick + 0.005, -depth / 2 + slim)
    build.add("lid", shell.turn("x", opening).at(hinge))
    build.add("screen", display.turn("x", opening).at(hinge))
    build.add(
        "lid", rod((-width * 0.4, thick, -depth / 2 + 0.012), (width * 0.4, thick, -depth / 2 + 0.012), radius=0.016)
    )


def _keys(rng: Rng, width: float, depth: float, y: float) -> list[Mesh]:
    """Rows of keys, the last one with a space bar."""
    rows, columns = int(rng.integers(4, 7)), int(rng.integers(10, 16))
    wide, deep = width * 0.86 / columns, depth * 0.48 / rows
    keys = []
    for row in range(rows):
        z = -depth * 0.34 + row * deep
        xs = [(k + 0.5 - columns / 2) * wide for k in range(columns)]
        if row == rows - 1:
            keys.append(box((wide * 5, 0.008, deep * 0.8), (0, y, z)))
            xs = [x for x in xs if abs(x) > wide * 2.9]
        keys += [box((wide * 0.8, 0.008, deep * 0.8), (x, y, z)) for x in xs]
    return keys


@category("screen", "bezel", "stand", "foot", "back")
def monitor(rng: Rng, build: ShapeBuilder) -> None:
    """Flat, wide and upright screens and old tubes, on a plate, a ring, two feet or a tripod stand."""
    kind = pick(rng, "flat", "flat", "wide", "wide", "tube", "upright")
    width, ratio = rng.uniform(0.8, 1.0), {"flat": 0.6, "wide": 0.42, "tube": 0.78, "upright": 1.6}[kind]
    if kind == "upright":
        width *= 0.6
    height, depth = width * ratio * rng.uniform(0.95, 1.05), rng.uniform(0.025, 0.06)
    lift = rng.uniform(0.1, 0.26)
    bezel = rng.uniform(0.012, 0.05)
    if kind == "tube":
        lift, depth, bezel = 0.1, 0.08, 0.06
        rear = loft(
            [
                np.column_stack((oval(width * r, height * r, power=6, sides=24), np.full(24, z)))
                for r, z in ((0.98, 0), (0.95, -0.15), (0.55, -0.5), (0.5, -0.6))
            ]
        )
        build.add("back", rear.at((0, lift + height / 2, -0.06)))
    else:
        build.add(
            "back",
            taper((width * 0.7, height * 0.7), (width * 0.4, height * 0.4), height=0.04)
            .turn("x", -90)
            .at((0, lift + height / 2, -depth)),
        )
    shell, display = screen(width, height, depth=depth, bezel=bezel)
    build.add("bezel", shell.at((0, lift, 0)))
    build.add("screen", display.at((0, lift, 0)))
    if kind == "tube":
        build.add("stand", lathe([(0.16, 0.03), (0.12, lift + 0.02)], at=(0, 0, -0.2)))
        build.add("foot", disc(0.27, 0.035, at=(0, 0, -0.2)))
        return
    z = -depth - 0.05
    stand = pick(rng, "plate", "ring", "legs", "bend")
    if stand == "legs":
        x = width * rng.uniform(0.3, 0.42)
        leg = tube([(x, 0.012, 0.14), (x, lift + 0.02, -depth / 2), (x, 0.012, -0.16)], 0.014)
        build.add("foot", leg.mirrored())
        return
    build.add("stand", taper((0.12, 0.05), (0.08, 0.04), height=lift + height * 0.5, at=(0, 0.01, z)))
    if stand == "plate":
        build.add(
            "foot", rounded_box((rng.uniform(0.3, 0.5), 0.022, rng.uniform(0.2, 0.28)), 0.008, at=(0, 0, z + 0.03))
        )
    elif stand == "ring":
        build.add("foot", loft([level(oval(0.46, 0.3, power=2), y) for y in (0, 0.025)]).at((0, 0, z + 0.03)))
    else:
        foot = tube([(0, 0.014, z), (0.12, 0.014, z + 0.06), (0.24, 0.014, z + 0.2)], [0.028, 0.022, 0.014])
        build.add("foot", foot.mirrored())


@category("shade", "base", "pole", "bulb")
def lamp(rng: Rng, build: ShapeBuilder) -> None:
    """Table and floor lamps with cloth shades, jointed desk lamps, arc lamps and globes."""
    kind = pick(rng, "table", "floor", "desk", "arc", "globe")
    if kind == "desk":
        _desk_lamp(rng, build)
    elif kind == "arc":
        _arc_lamp(rng, build)
    else:
        _shaded(rng, build, kind)


def _cone(rng: Rng, low: float, high: float, tall: float) -> Mesh:
    """An open shade from radius `low` at the bottom to `high` at the top, its lower edge at the origin."""
    sides = pick(rng, 6, 24, 24)
    rings = [(low, 0), (high, tall), (high - 0.012, tall), (low - 0.012, 0)]
    return lathe(rings, sides, closed=True)


def _shaded(rng: Rng, build: ShapeBuilder, kind: str) -> None:
    tall = rng.uniform(1.1, 1.5) if kind == "floor" else rng.uniform(0.35, 0.6)
    foot = rng.uniform(0.13, 0.2)
    form = pick(rng, "stick", "urn", "balls", "tripod") if kind != "floor" else pick(rng, "stick", "tripod")
    if form == "tripod":
        reach = foot * (1.9 if kind == "floor" else 1.1)
        build.add(
            "pole",
            [
                rod((x * reach, 0, z * reach), (x * 0.02, tall * 0.9, z * 0.02), radius=0.014)
                for x, z in circle(3, 90, stop=450)
            ],
        )
        build.add("base", disc(0.04, 0.03, at=(0, tall * 0.88, 0), sides=12))
        build.add("pole", rod((0, tall * 0.88, 0), (0, tall + 0.06, 0), radius=0.012))
    else:
        build.add("base", lathe([(foot, 0), (foot, 0.025), (foot * 0.3, 0.05)]))
        build.add("pole", rod((0, 0.03, 0), (0, tall + 0.06, 0), radius=0.015))
    if form == "urn":
        belly = rng.uniform(0.1, 0.16)
        build.add(
            "base",
            lathe(
                smooth([(belly * 0.5, 0.04), (belly, tall * 0.4), (belly * 0.3, tall * 0.8), (0.03, tall * 0.9)], 14)
            ),
        )
    elif form == "balls":
        count = int(rng.integers(2, 5))
        each = tall * 0.85 / count
        build.add(
            "base",
            [
                ellipsoid((each * 0.5, each * 0.5, each * 0.5), (0, 0.05 + (k + 0.5) * each, 0), sides=14)
                for k in range(count)
            ],
        )
    if kind == "globe":
        size = rng.uniform(0.14, 0.22)
        build.add("shade", ellipsoid((size, size, size), (0, tall + size * 0.8, 0), sides=24))
        return
    low = rng.uniform(0.19, 0.28)
    high, deep = low * rng.uniform(0.4, 0.95), rng.uniform(0.2, 0.3)
    build.add("shade", _cone(rng, low, high, deep).at((0, tall, 0)))
    build.add("bulb", ellipsoid((0.045, 0.06, 0.045), (0, tall + 0.1, 0), sides=12))
    build.add(
        "pole", rod((-high * 0.98, tall + deep * 0.96, 0), (high * 0.98, tall + deep * 0.96, 0), radius=0.006, sides=6)
    )


def _desk_lamp(rng: Rng, build: ShapeBuilder) -> None:
    foot = rng.uniform(0.13, 0.17)
    build.add("base", lathe([(foot, 0), (foot, 0.025), (foot * 0.25, 0.045)]))
    lean, fore = np.deg2rad(rng.uniform(15, 35)), np.deg2rad(rng.uniform(25, 55))
    first, second = rng.uniform(0.32, 0.42), rng.uniform(0.3, 0.4)
    elbow = np.array([0, 0.04 + first * np.cos(lean), -first * np.sin(lean)])
    wrist = elbow + second * np.array([0, np.sin(fore), np.cos(fore)])
    gap = pick(rng, 0.0, 0.018)
    for start, end in (((0, 0.04, 0), elbow), (elbow, wrist)):
        for x in {gap, -gap}:
            build.add("pole", rod(tuple(np.add(start, (x, 0, 0))), tuple(np.add(end, (x, 0, 0))), radius=0.011))
    build.add("pole", ellipsoid((0.026, 0.026, 0.026), tuple(elbow), sides=10))
    size = rng.uniform(0.1, 0.14)
    outline = smooth([(0.03, 0), (size * 0.6, size * 0.5), (size, size * 1.4)], 8)
    tilt = rng.uniform(105, 150)
    build.add("shade", hollow(outline, 0.008, sides=20).turn("x", tilt).at(tuple(wrist)))
    build.add("bulb", ellipsoid((0.04, 0.055, 0.04), (0, size * 0.85, 0), sides=12).turn("x", tilt).at(tuple(wrist)))


def _arc_lamp(rng: Rng, build: ShapeBuilder) -> None:
    tall, reach = rng.uniform(1.1, 1.5), rng.uniform(0.55, 0.85)
    if chance(rng):
        build.add("base", disc(0.18, 0.05))
    else:
        build.add("base", box((0.3, 0.07, 0.3)))
    path = smooth(
        [
            (0, 0.05, 0),
            (0, tall * 0.6, 0),
            (reach * 0.35, tall * 0.95, 0),
            (reach * 0.8, tall, 0),
            (reach, tall * 0.9, 0),
        ],
        20,
    )
    build.add("pole", tube(path, 0.018))
    size = rng.uniform(0.14, 0.21)
    dome = smooth([(0.03, 0), (size * 0.8, -size * 0.4), (size, -size)], 8)[::-1]
    shell = np.concatenate((dome, (dome * 0.93)[::-1] - (0, 0.004)))
    build.add("shade", lathe(shell, closed=True, at=tuple(path[-1])))
    build.add("bulb", ellipsoid((0.05, 0.06, 0.05), tuple(path[-1] - (0, size * 0.6, 0)), sides=12))


@category("body", "neck", "head", "string", "hole", "peg")
def guitar(rng: Rng, build: ShapeBuilder) -> None:
    """Acoustic guitars, electric ones with horns, V-shaped ones and ukuleles, standing upright."""
    kind = pick(rng, "acoustic", "acoustic", "electric", "vee")
    wide, thick = rng.uniform(0.34, 0.42), rng.uniform(0.09, 0.13)
    body = wide * rng.uniform(1.2, 1.38)
    outline = _guitar_outline(rng, kind, wide, body)
    if kind != "acoustic":
        thick = rng.uniform(0.045, 0.06)
    build.add("body", extrude(outline, thick))
    neck, front = rng.uniform(0.4, 0.58), thick / 2
    low = body * (0.72 if kind == "acoustic" else 0.6)
    build.add("neck", taper((0.066, 0.045), (0.05, 0.035), height=body + neck - low).at((0, low, front + 0.015)))
    top = body + neck
    build.add(
        "neck",
        [
            box((0.05, 0.006, 0.012), (0, low + (top - low) * share, front + 0.04))
            for share in np.linspace(0.1, 0.97, 12) ** 0.8
        ],
    )
    bridge = body * 0.3
    if kind == "acoustic":
        build.add(
            "hole",
            lathe([(wide * 0.13, 0), (wide * 0.16, 0), (wide * 0.16, 0.012), (wide * 0.13, 0.012)], 20, closed=True)
            .turn("x", 90)
            .at((0, body * 0.6, front)),
        )
        build.add("hole", disc(wide * 0.13, 0.004).turn("x", 90).at((0, body * 0.6, front)))
        build.add("body", box((wide * 0.42, 0.035, 0.02), (0, bridge, front + 0.01)))
    else:
        build.add("hole", [box((wide * 0.24, 0.035, 0.02), (0, y, front + 0.01)) for y in (body * 0.42, body * 0.54)])
        build.add("body", box((wide * 0.26, 0.03, 0.025), (0, bridge, front + 0.012)))
    _guitar_head(rng, build, kind, top, front)
    count = pick(rng, 4, 6)
    for x in np.linspace(-1, 1, count):
        build.add(
            "string",
            rod((x * 0.028, bridge, front + 0.045), (x * 0.02, top + 0.02, front + 0.045), radius=0.0025, sides=4),
        )


def _guitar_outline(rng: Rng, kind: str, wide: float, body: float) -> list[tuple[float, float]]:
    half = wide / 2
    if kind == "vee":
        notch = rng.uniform(0.3, 0.42)
        right = [(half * 0.35, 0), (half * 1.15, 0), (half * 1.1, body * 0.1), (half * 0.25, body * 0.9)]
        return [(0, body * notch), *right, *[(-x, y) for x, y in right[::-1]]]
    waist, upper = rng.uniform(0.58, 0.72), rng.uniform(0.7, 0.82)
    right = [(0.0, 0.0), (half * 0.75, body * 0.04), (half, body * 0.26), (half * waist, body * 0.6)]
    if kind == "electric":
        horn = rng.uniform(0.97, 1.1)
        curve = smooth([*right, (half * upper, body * 0.8), (half * 0.75, body * horn)], 20)
        right_side = [*curve, (half * 0.42, body * 0.84), (half * 0.2, body * 0.76)]
        left_side = [(-x, y * 0.95 if y > body * 0.8 else y) for x, y in right_side[::-1]]
        return [*right_side, *left_side[:-1]]
    curve = smooth([*right, (half * upper, body * 0.82), (half * upper * 0.6, body * 0.98), (0, body)], 24)
    return [*curve, *[(-x, y) for x, y in curve[-2:0:-1]]]


def _guitar_head(rng: Rng, build: ShapeBuilder, kind: str, top: float, front: float) -> None:
    tall = rng.uniform(0.13, 0.18)
    inline = kind != "acoustic" and chance(rng)
    if inline:
        outline = [
            (-0.025, 0),
            (0.025, 0),
            (0.05, tall * 0.3),
            (0.035, tall * 1.2),
            (-0.05, tall * 1.1),
            (-0.04, tall * 0.25),
        ]
    else:
        outline = [
            (-0.028, 0),
            (0.028, 0),
            (0.05, tall * 0.2),
            (0.045, tall),
            (0, tall * 1.06),
            (-0.045, tall),
            (-0.05, tall * 0.2),
        ]
    build.add("head", extrude(outline, 0.025).at((0, top, front + 0.01)))
    for y in np.linspace(0.3, 0.9, 3) * tall + top:
        pegs = [
            rod((0.03, y, front + 0.01), (0.085, y, front + 0.01), radius=0.007, sides=6),
            ellipsoid((0.02, 0.013, 0.01), (0.09, y, front + 0.01), sides=8),
        ]
        for peg in pegs:
            build.add("peg", peg.scale((-1, 1, 1)) if inline else peg.mirrored())
