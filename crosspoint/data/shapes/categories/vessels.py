"""Things that hold something: bottle, bowl, cup, mug, vase, goblet, teapot, plant in its pot."""

import numpy as np

from crosspoint.data.shapes.primitives import (
    Array,
    Mesh,
    circle,
    disc,
    ellipsoid,
    hollow,
    lathe,
    level,
    loft,
    oval,
    rod,
    smooth,
    taper,
    torus,
    tube,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


def handle(x: float, low: float, *, high: float, reach: float, size: float, square: bool) -> Mesh:
    """A handle in the plane z = 0 that leaves a wall at x, between two heights, and reaches out to x + reach."""
    if square:
        path = [(x, high), (x + reach * 0.9, high), (x + reach, high - reach * 0.2), (x + reach, low + reach * 0.2)]
        path += [(x + reach * 0.9, low), (x, low)]
    else:
        path = list(circle(13, 90, stop=-90, end=True) * (reach, (high - low) / 2) + (x, (high + low) / 2))
    return tube(np.column_stack((path, np.zeros(len(path)))), size).scale((1, 1, 1.3))


@category("body", "neck", "cap")
def bottle(rng: Rng, build: ShapeBuilder) -> None:
    """Wine, beer, water and square bottles, with a cap, a cork or open."""
    radius, tall = rng.uniform(0.1, 0.17), rng.uniform(0.38, 0.62)
    neck, rise = radius * rng.uniform(0.24, 0.42), rng.uniform(0.12, 0.3)
    kind = pick(rng, "high", "sloped", "waist", "square")
    shoulder = {"high": 0.08, "sloped": 0.28, "waist": 0.14, "square": 0.06}[kind]
    low = [(radius * 0.92, 0), (radius, 0.02)]
    if kind == "waist":
        low += [(radius, tall * 0.3), (radius * rng.uniform(0.78, 0.9), tall * 0.5), (radius, tall * 0.7)]
    curve = smooth([(radius, tall), (radius * 0.8, tall + shoulder * 0.6), (neck, tall + shoulder)], 8)
    if kind == "square":
        rings = [level(oval(2 * r, 2 * r, power=8, sides=28), y) for r, y in [*low, *curve]]
        build.add("body", loft(rings))
    else:
        build.add("body", lathe([*low, *curve]))
    y = tall + shoulder
    build.add("neck", lathe([(neck, y), (neck * rng.uniform(0.8, 1), y + rise)]))
    build.add("neck", torus(neck, neck * 0.22, at=(0, y + rise * 0.93, 0)))
    cap = pick(rng, "screw", "cork", "open")
    if cap == "screw":
        build.add("cap", disc(neck * 1.2, rng.uniform(0.03, 0.06), at=(0, y + rise, 0)))
    elif cap == "cork":
        build.add("cap", lathe([(neck * 0.7, 0), (neck * 0.9, 0.05)], at=(0, y + rise, 0)))


@category("body", "foot", "rim")
def bowl(rng: Rng, build: ShapeBuilder) -> None:
    """Wide open bowls: round, conical, flat or square, on a foot ring or not."""
    radius, tall = rng.uniform(0.3, 0.4), rng.uniform(0.13, 0.26)
    foot = radius * rng.uniform(0.3, 0.55)
    kind = pick(rng, "round", "cone", "steep", "square")
    middle = {"round": (0.8, 0.4), "cone": (0.72, 0.5), "steep": (0.88, 0.25), "square": (0.85, 0.4)}[kind]
    profile = smooth([(foot, 0), (radius * middle[0], tall * middle[1]), (radius, tall)], 12)
    wall = rng.uniform(0.01, 0.025)
    mesh = hollow(profile, wall, sides=32)
    if kind == "square":
        angle = np.arctan2(mesh.vertices[:, 2], mesh.vertices[:, 0])
        stretch = (np.abs(np.cos(angle)) ** 5 + np.abs(np.sin(angle)) ** 5) ** (-1 / 5)
        mesh = Mesh(mesh.vertices * np.column_stack((stretch, np.ones_like(stretch), stretch)), mesh.faces)
    base = 0.0
    if chance(rng, 0.6):
        base = rng.uniform(0.015, 0.05)
        build.add(
            "foot",
            lathe([(foot * 0.75, 0), (foot * 0.85, 0), (foot * 0.85, base), (foot * 0.75, base)], 28, closed=True),
        )
    build.add("body", mesh.at((0, base, 0)))
    if kind != "square" and chance(rng, 0.4):
        build.add("rim", torus(radius - wall / 2, wall * 0.9, at=(0, base + tall, 0), sides=32))


@category("body", "handle", "saucer", "lid", "sleeve")
def cup(rng: Rng, build: ShapeBuilder) -> None:
    """Tea cups on their saucer, and paper cups to go with lid and sleeve."""
    if chance(rng, 0.6):
        _tea_cup(rng, build)
    else:
        _paper_cup(rng, build)


def _tea_cup(rng: Rng, build: ShapeBuilder) -> None:
    radius, tall = rng.uniform(0.2, 0.26), rng.uniform(0.2, 0.28)
    foot = radius * rng.uniform(0.4, 0.55)
    bulge = rng.uniform(0.72, 0.95)
    profile = smooth([(foot, 0), (foot * 1.05, 0.03), (radius * bulge, tall * 0.5), (radius, tall)], 14)
    base = 0.0
    if chance(rng, 0.85):
        plate, base = radius * rng.uniform(1.5, 1.9), 0.025
        edge = rng.uniform(0.03, 0.07)
        outline = [(foot * 1.1, 0), (foot * 1.6, 0.015), (plate, edge), (plate, edge + 0.012), (foot * 1.5, 0.028)]
        build.add("saucer", lathe([*outline, (0, 0.025)], 32))
    build.add("body", hollow(profile, 0.014, sides=28, at=(0, base, 0)))
    span = tall * rng.uniform(0.5, 0.65)
    low = base + tall * 0.27
    build.add(
        "handle",
        handle(radius * 0.82, low, high=low + span, reach=rng.uniform(0.11, 0.16), size=0.014, square=chance(rng, 0.3)),
    )


def _paper_cup(rng: Rng, build: ShapeBuilder) -> None:
    top, tall = rng.uniform(0.19, 0.23), rng.uniform(0.42, 0.66)
    foot = top * rng.uniform(0.66, 0.8)

    def radius(share: float) -> float:
        return foot + (top - foot) * share

    build.add("body", hollow([(foot, 0), (top, tall)], 0.012, sides=28), torus(top, 0.012, at=(0, tall, 0)))
    if chance(rng, 0.7):
        rim = [(top * 1.07, 0), (top * 1.07, 0.03), (top * 0.95, 0.035), (top * 0.92, 0.075), (top * 0.82, 0.075)]
        build.add("lid", lathe([*rim, (top * 0.78, 0.055), (0, 0.055)], 28, at=(0, tall, 0)))
    if chance(rng, 0.6):
        low, high = rng.uniform(0.2, 0.35), rng.uniform(0.6, 0.75)
        build.add("sleeve", lathe([(radius(s) + 0.012, tall * s) for s in (low, high)], 28))


@category("body", "handle", "rim")
def mug(rng: Rng, build: ShapeBuilder) -> None:
    """Straight, barrel-shaped, waisted and tapered mugs with one large handle."""
    radius, tall = rng.uniform(0.18, 0.24), rng.uniform(0.38, 0.52)
    kind = pick(rng, "straight", "barrel", "waist", "taper")
    middle = {"straight": 1.0, "barrel": rng.uniform(1.08, 1.2), "waist": rng.uniform(0.84, 0.94), "taper": 0.93}[kind]
    foot = radius * (rng.uniform(0.75, 0.86) if kind == "taper" else 0.97)
    profile = [(foot * 0.95, 0), *smooth([(foot, 0.015), (radius * middle, tall * 0.5), (radius, tall)], 12)]
    wall = rng.uniform(0.016, 0.03)
    build.add("body", hollow(profile, wall, sides=28))
    if chance(rng, 0.4):
        build.add("rim", torus(radius - wall / 2, wall * 0.75, at=(0, tall, 0), sides=28))
    span, reach = tall * rng.uniform(0.5, 0.72), rng.uniform(0.12, 0.19)
    low = tall * 0.5 - span / 2
    x = min(radius, radius * middle, foot) - 0.008
    build.add("handle", handle(x, low, high=low + span, reach=reach, size=rng.uniform(0.018, 0.03), square=chance(rng)))


@category("body", "neck", "handle", "flower")
def vase(rng: Rng, build: ShapeBuilder) -> None:
    """Bellied, amphora, trumpet and tall vases; fluted, with two handles, or with flowers in them."""
    belly, tall = rng.uniform(0.17, 0.28), rng.uniform(0.6, 0.85)
    kind = pick(rng, "belly", "amphora", "trumpet", "gourd")
    throat, lip = belly * rng.uniform(0.3, 0.5), belly * rng.uniform(0.5, 0.85)
    if kind == "trumpet":
        lip, throat = belly * 1.05, belly * 0.4
    points = {
        "belly": [(belly * 0.55, 0), (belly, tall * 0.4), (belly * 0.75, tall * 0.66), (throat, tall * 0.8)],
        "amphora": [(belly * 0.4, 0), (belly * 0.85, tall * 0.45), (belly, tall * 0.6), (throat, tall * 0.8)],
        "trumpet": [(belly * 0.6, 0), (belly * 0.5, tall * 0.12), (throat, tall * 0.5), (throat * 1.25, tall * 0.75)],
        "gourd": [
            (belly * 0.6, 0),
            (belly, tall * 0.24),
            (belly * 0.45, tall * 0.5),
            (belly * 0.62, tall * 0.68),
            (throat, tall * 0.85),
        ],
    }[kind]
    profile = smooth([*points, (lip, tall)], 30)
    cut = int(np.argmin(np.abs(profile[:, 1] - points[-1][1]))) if kind != "trumpet" else 15
    wall = 0.014
    sides = pick(rng, 6, 8, 28, 28, 28)
    build.add("body", lathe(profile[: cut + 1], sides))
    neck = profile[cut:]
    build.add("neck", lathe([*neck, *(neck[::-1] - (wall, 0))], sides, closed=True))
    if kind != "trumpet" and chance(rng, 0.4):
        low, high = points[-2][1], tall * 0.93
        arc = handle(throat * 0.9, low, high=high, reach=belly * rng.uniform(0.7, 0.95), size=0.016, square=False)
        build.add("handle", arc.mirrored())
    if chance(rng, 0.35):
        for angle in rng.uniform(0, 360, int(rng.integers(3, 7))):
            _flower(rng, build, tall, throat, angle)


def _flower(rng: Rng, build: ShapeBuilder, tall: float, throat: float, angle: float) -> None:
    lean, rise = rng.uniform(0.05, 0.28), rng.uniform(0.2, 0.42)
    stem = smooth([(throat * 0.2, tall * 0.8), (throat * 0.5, tall), (throat * 0.5 + lean, tall + rise)], 8)
    path = np.column_stack((stem, np.zeros(len(stem))))
    head = ellipsoid((0.022, 0.018, 0.022), path[-1], sides=8)
    meshes = [tube(path, 0.008, sides=6), head]
    for x, z in circle(6):
        meshes.append(
            ellipsoid((0.03, 0.008, 0.018), sides=8)
            .at((0.04, 0, 0))
            .turn("y", np.degrees(np.arctan2(z, x)))
            .at(path[-1])
        )
    build.add("flower", [mesh.turn("y", angle) for mesh in meshes])


@category("bowl", "stem", "foot")
def goblet(rng: Rng, build: ShapeBuilder) -> None:
    """Wine, champagne, martini and chalice glasses: a bowl on a stem on a foot."""
    kind = pick(rng, "wine", "flute", "martini", "chalice")
    stem, radius = rng.uniform(0.2, 0.38), rng.uniform(0.15, 0.21)
    tall = radius * rng.uniform(1.3, 1.8)
    if kind == "flute":
        radius, tall = rng.uniform(0.08, 0.11), rng.uniform(0.35, 0.5)
    thin = rng.uniform(0.012, 0.02)
    outline = {
        "wine": [
            (thin, 0),
            (radius * 0.8, tall * 0.22),
            (radius, tall * 0.5),
            (radius * rng.uniform(0.72, 0.95), tall),
        ],
        "flute": [(thin, 0), (radius * 0.75, tall * 0.2), (radius, tall * 0.6), (radius * 0.9, tall)],
        "martini": [(thin, 0), (radius * 1.4, tall * 0.85)],
        "chalice": [(thin, 0), (radius * 0.75, tall * 0.15), (radius * 0.85, tall * 0.4), (radius * 1.05, tall)],
    }[kind]
    build.add("bowl", hollow(smooth(outline, 14), 0.009, sides=pick(rng, 8, 28, 28), at=(0, stem, 0)))
    foot = rng.uniform(0.12, 0.17)
    build.add("foot", lathe([(foot, 0), (foot, 0.01), (foot * 0.3, 0.03), (thin, 0.05)], 28))
    build.add("stem", lathe([(thin, 0.03), (thin * 0.8, stem / 2), (thin, stem + 0.01)], 14))
    if kind == "chalice" or chance(rng, 0.2):
        build.add(
            "stem", ellipsoid((thin * 2.5, thin * 2, thin * 2.5), (0, stem * rng.uniform(0.45, 0.75), 0), sides=14)
        )


@category("body", "spout", "handle", "lid")
def teapot(rng: Rng, build: ShapeBuilder) -> None:
    """Round, tall and squat pots with a spout at one side and a handle at the other, or over the top."""
    radius, tall = rng.uniform(0.26, 0.34), rng.uniform(0.3, 0.52)
    top = radius * rng.uniform(0.4, 0.6)
    waist = rng.uniform(0.35, 0.6)
    foot = radius * rng.uniform(0.55, 0.8)
    build.add("body", lathe(smooth([(foot, 0), (radius, tall * waist), (top, tall)], 18), 28))
    lid = smooth([(top * 1.05, 0), (top * 0.8, top * 0.28), (0.02, top * 0.42)], 8)
    build.add("lid", lathe(lid, 28, at=(0, tall, 0)))
    build.add("lid", ellipsoid((0.04, 0.035, 0.04), (0, tall + top * 0.42 + 0.025, 0), sides=12))
    reach, low = radius * rng.uniform(1.65, 2.0), tall * rng.uniform(0.2, 0.4)
    middle = (radius + reach) / 2
    spout = smooth([(-radius * 0.8, low), (-middle, low + tall * 0.22), (-reach, tall * rng.uniform(0.85, 1.05))], 10)
    path = np.column_stack((spout, np.zeros(len(spout))))
    build.add("spout", tube(path, np.linspace(rng.uniform(0.07, 0.1), 0.03, len(path)), sides=12))
    if chance(rng, 0.7):
        build.add(
            "handle",
            handle(
                radius * 0.82,
                tall * 0.22,
                high=tall * 0.9,
                reach=radius * rng.uniform(0.6, 0.85),
                size=0.025,
                square=chance(rng, 0.3),
            ),
        )
    else:
        arch = circle(15, 0, stop=180, end=True) * (radius * 0.85, rng.uniform(0.34, 0.44)) + (0, tall * 0.75)
        build.add("handle", tube(np.column_stack((arch, np.zeros(len(arch)))), 0.02))


@category("pot", "soil", "stem", "leaf")
def plant(rng: Rng, build: ShapeBuilder) -> None:
    """House plants in a pot: a rosette of long leaves, a small tree, a cactus, a branching stem with round leaves."""
    radius, tall = rng.uniform(0.14, 0.22), rng.uniform(0.22, 0.36)
    foot = radius * rng.uniform(0.6, 0.95)
    if chance(rng, 0.3):
        build.add("pot", taper((foot * 2, foot * 2), (radius * 2, radius * 2), height=tall))
    else:
        build.add("pot", lathe([(foot, 0), (radius, tall), (radius * 1.08, tall), (radius * 1.08, tall * 1.12)], 24))
    build.add("soil", disc(radius * 0.9, 0.02, at=(0, tall * 1.12, 0)))
    kind = pick(rng, "rosette", "tree", "cactus", "stems")
    draw = {"rosette": _rosette, "tree": _tree, "cactus": _cactus, "stems": _stems}[kind]
    draw(rng, build, radius, tall * 1.12)


def blade(long: float, wide: float, *, rise: float, droop: float, start: float = 0.0) -> Mesh:
    """A leaf that leaves the y axis along +x, climbs by `rise` and hangs down by `droop` at its tip."""
    share = np.linspace(0, 1, 9)
    x, y = start + long * share, rise * np.sin(share * np.pi / 2) - droop * share**3
    half: Array = wide / 2 * np.maximum(np.sin(np.pi * np.sqrt(share) * 0.98), 0.05)
    flat, thick = np.zeros_like(x), np.full_like(x, 0.006)
    corners = [(x, y, -half), (x, y + thick, flat), (x, y, half), (x, y - thick, flat)]
    return loft(np.stack([np.stack(corner, axis=1) for corner in corners], axis=1))


def _rosette(rng: Rng, build: ShapeBuilder, radius: float, top: float) -> None:
    long, count = rng.uniform(0.35, 0.6), int(rng.integers(9, 18))
    droop, rise = rng.uniform(0, 0.4), rng.uniform(0.3, 0.65)
    for k in range(count):
        leaf = blade(long * rng.uniform(0.4, 1), rng.uniform(0.05, 0.1), rise=rise * rng.uniform(0.7, 1.1), droop=droop)
        build.add("leaf", leaf.turn("y", 137.5 * k).at((0, top, 0)))


def _tree(rng: Rng, build: ShapeBuilder, radius: float, top: float) -> None:
    trunk = rng.uniform(0.3, 0.6)
    build.add("stem", rod((0, top, 0), (rng.uniform(-0.05, 0.05), top + trunk, 0), radius=0.03, end_radius=0.018))
    if chance(rng):
        for _ in range(int(rng.integers(5, 10))):
            x, y, z = rng.normal(0, 0.11, 3)
            ball = rng.uniform(0.1, 0.17)
            build.add("leaf", ellipsoid((ball, ball * 0.85, ball), (x, top + trunk + 0.1 + y, z), sides=12))
    else:
        for k in range(int(rng.integers(8, 13))):
            leaf = blade(rng.uniform(0.3, 0.42), 0.09, rise=rng.uniform(0.1, 0.3), droop=rng.uniform(0.15, 0.4))
            build.add("leaf", leaf.turn("y", 137.5 * k).at((0, top + trunk - 0.02, 0)))


def _cactus(rng: Rng, build: ShapeBuilder, radius: float, top: float) -> None:
    size, tall = radius * rng.uniform(0.35, 0.5), rng.uniform(0.45, 0.8)
    build.add(
        "stem",
        lathe([(size * 0.9, 0), (size, tall * 0.8), (size * 0.75, tall * 0.95), (0.01, tall)], 12, at=(0, top, 0)),
    )
    for side in (1, -1)[: int(rng.integers(1, 3))]:
        y, reach, rise = top + tall * rng.uniform(0.3, 0.55), size * rng.uniform(2, 2.6), rng.uniform(0.15, 0.3)
        path = smooth([(0, y, 0), (side * reach * 0.9, y + 0.02, 0), (side * reach, y + rise, 0)], 10)
        build.add("leaf", tube(path, size * 0.5, sides=10), ellipsoid((size * 0.5,) * 3, at=path[-1], sides=10))


def _stems(rng: Rng, build: ShapeBuilder, radius: float, top: float) -> None:
    for angle in rng.uniform(0, 360, int(rng.integers(3, 6))):
        lean, rise = rng.uniform(0.05, 0.3), rng.uniform(0.4, 0.75)
        curve = smooth([(0.03, top), (0.03 + lean * 0.4, top + rise * 0.6), (0.03 + lean, top + rise)], 9)
        path = np.column_stack((curve, np.zeros(len(curve))))
        meshes = [tube(path, 0.012, sides=6)]
        leaves = []
        for k, point in enumerate(path[2:]):
            leaf = (
                blade(rng.uniform(0.12, 0.18), rng.uniform(0.09, 0.14), rise=0.04, droop=0.03)
                .turn("y", 137.5 * k)
                .at(point)
            )
            leaves.append(leaf.turn("y", angle))
        build.add("stem", [mesh.turn("y", angle) for mesh in meshes])
        build.add("leaf", leaves)
