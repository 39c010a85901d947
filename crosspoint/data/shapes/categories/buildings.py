"""Parts of buildings and shelters: door, stairs, tent."""

import numpy as np

from crosspoint.data.shapes.primitives import Array, Mesh, box, circle, disc, ellipsoid, extrude, loft, rod, tube
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


@category("frame", "leaf", "handle", "panel", "step")
def door(rng: Rng, build: ShapeBuilder) -> None:
    """Single and double doors in their frame, shut or ajar, panelled, glazed or planked, under a lintel or an arch."""
    double = chance(rng, 0.25)
    width, tall = rng.uniform(0.8, 1.0) * (1.7 if double else 1), rng.uniform(1.95, 2.25)
    post, deep = rng.uniform(0.06, 0.13), rng.uniform(0.1, 0.2)
    arched = chance(rng, 0.3)
    build.add("frame", box((post, tall, deep), (width / 2 + post / 2, 0, 0)).mirrored())
    if arched:
        arc = circle(17, 0, stop=180, end=True)
        outer, inner = arc * (width / 2 + post), arc[::-1] * (width / 2)
        build.add("frame", extrude(np.concatenate((outer, inner)), deep).at((0, tall, 0)))
        build.add("panel", extrude(arc * (width / 2), 0.03).at((0, tall, 0)))
        build.add(
            "panel", [rod((0, tall, 0), (x, tall + y, 0), radius=0.02, sides=6) for x, y in arc[2::4] * width / 2]
        )
    else:
        build.add("frame", box((width + 2 * post, post, deep), (0, tall, 0)))
    if chance(rng):
        build.add("step", box((width + 4 * post, 0.06, deep * rng.uniform(1.5, 2.5)), (0, -0.06, 0)))
    each = width / 2 if double else width
    swing = rng.uniform(20, 75) if chance(rng, 0.45) else 0.0
    kind = pick(rng, "six", "two", "glass", "planks")
    for side in (-1, 1) if double else (pick(rng, -1, 1),):
        leaf, panels, grips = _leaf(rng, each, tall, kind)
        for name, meshes in (("leaf", leaf), ("panel", panels), ("handle", grips)):
            hung = [mesh.scale((-side, 1, 1)).turn("y", side * swing).at((side * width / 2, 0, 0)) for mesh in meshes]
            build.add(name, hung)


def _leaf(rng: Rng, width: float, tall: float, kind: str) -> tuple[list[Mesh], list[Mesh], list[Mesh]]:
    """A leaf hinged at the origin that reaches to x = width: the leaf itself, what decorates it, and its handles."""
    x, y = width * 0.9, tall * 0.46
    if chance(rng):
        grips = [ellipsoid((0.035, 0.035, 0.035), (x, y, s * 0.075), sides=12) for s in (1, -1)]
        grips += [rod((x, y, -0.07), (x, y, 0.07), radius=0.014, sides=8)]
    else:
        grips = [box((0.14, 0.025, 0.02), (x - 0.05, y, s * 0.07)) for s in (1, -1)]
        grips += [
            box((0.045, 0.2, 0.062), (x, y - 0.12, 0)),
            rod((x, y + 0.01, -0.07), (x, y + 0.01, 0.07), radius=0.012, sides=8),
        ]
    if kind == "glass":
        rim = width * 0.14
        leaf = [box((rim, tall, 0.04), (at, 0, 0)) for at in (rim / 2, width - rim / 2)]
        leaf += [box((width, rim * size, 0.04), (0.5 * width, at, 0)) for at, size in ((0, 2), (tall - rim, 1))]
        bars = [box((width, 0.025, 0.025), (width / 2, at, 0)) for at in np.linspace(rim * 2, tall - rim, 5)[1:-1]]
        return leaf, [*bars, box((0.025, tall - rim, 0.025), (width / 2, rim, 0))], grips
    leaf = [box((width, tall, 0.04), (width / 2, 0, 0))]
    if kind == "planks":
        panels = [box((width / 6 * 0.85, tall * 0.99, 0.06), ((k + 0.5) * width / 6, 0, 0)) for k in range(6)]
        return (
            leaf,
            [*panels, *(box((width * 0.92, 0.12, 0.09), (width / 2, tall * s, 0)) for s in (0.15, 0.75))],
            grips,
        )
    columns = (0.28, 0.72) if kind == "six" else (0.5,)
    rows = ((0.07, 0.28), (0.42, 0.3), (0.78, 0.15)) if kind == "six" else ((0.07, 0.34), (0.52, 0.4))
    size = width * (0.33 if kind == "six" else 0.7)
    return (
        leaf,
        [box((size, tall * high, 0.075), (width * at, tall * low, 0)) for low, high in rows for at in columns],
        grips,
    )


@category("step", "rail", "post", "stringer")
def stairs(rng: Rng, build: ShapeBuilder) -> None:
    """Straight, open, winding and quarter-turn stairs, with rails or without."""
    kind = pick(rng, "solid", "open", "spiral", "turn")
    if kind == "spiral":
        _spiral(rng, build)
        return
    count, rise, going = int(rng.integers(6, 15)), rng.uniform(0.15, 0.2), rng.uniform(0.22, 0.3)
    width = rng.uniform(0.7, 1.5)
    corner = count // 2 if kind == "turn" else count
    rails = rng.choice(3, p=[0.35, 0.2, 0.45])
    _flight(build, corner, rise, going, width, kind != "open", int(rails), 0.0)
    if kind == "turn":
        base = corner * rise
        build.add("step", box((width, base + rise, width), (0, 0, -corner * going - width / 2)))
        inner = ShapeBuilder(build.part_names)
        _flight(inner, count - corner, rise, going, width, True, int(rails), base + rise)
        for label, mesh in inner.solids:
            turned = mesh.turn("y", -90).at((width / 2, 0, -corner * going - width / 2))
            build.add(build.part_names[label], turned)


def _flight(
    build: ShapeBuilder, count: int, rise: float, going: float, width: float, full: bool, rails: int, base: float
) -> None:
    """`count` steps that climb towards -z from the height `base`; solid down to the floor if `full`."""
    for k in range(count):
        z, top = -(k + 0.5) * going, base + (k + 1) * rise
        low = 0.0 if full else top - 0.05
        build.add("step", box((width, top - low, going * (1 if full else 1.1)), (0, low, z)))
    end, top = -count * going, base + count * rise
    x = width / 2 - 0.03
    if not full:
        beam = [(0.0, base - 0.05), (0.0, base + 0.12), (-end, top + 0.02), (-end, top - 0.2)]
        build.add("stringer", extrude(beam, 0.05).turn("y", 90).at((x, 0, 0)).mirrored())
    for side in (1, -1)[:rails]:
        rail = rod((side * x, base + rise + 0.85, 0), (side * x, top + 0.85, end + going), radius=0.035)
        steps = range(0, count, 1 if rise > 0.175 else 2)
        posts = [
            rod(
                (side * x, base + (k + 1) * rise, -(k + 0.5) * going),
                (side * x, base + (k + 1.5) * rise + 0.85, -(k + 0.5) * going),
                radius=0.02,
                sides=8,
            )
            for k in steps
        ]
        build.add("rail", rail)
        build.add("post", posts)


def _spiral(rng: Rng, build: ShapeBuilder) -> None:
    count, rise, radius = int(rng.integers(10, 18)), rng.uniform(0.16, 0.22), rng.uniform(0.75, 1.1)
    each, hand = rng.uniform(20, 30), pick(rng, 1, -1)
    tall = count * rise
    build.add("post", rod((0, 0, 0), (0, tall + 0.9, 0), radius=rng.uniform(0.06, 0.1), sides=16))
    rail = []
    for k in range(count):
        outer = circle(4, each * 0.58, stop=-each * 0.58, end=True) * radius
        wedge = np.concatenate((np.array([(0.02, -0.04), (0.02, 0.04)]), outer))
        build.add(
            "step", extrude(wedge, 0.05).turn("x", -90).turn("y", hand * k * each).at((0, (k + 1) * rise - 0.025, 0))
        )
        angle = np.deg2rad(hand * k * each)
        x, z = radius * 0.95 * np.cos(angle), -radius * 0.95 * np.sin(angle)
        rail.append((x, (k + 1) * rise + 0.85, z))
        build.add("post", rod((x, (k + 1) * rise, z), rail[-1], radius=0.016, sides=8))
    build.add("rail", tube(rail, 0.03))


@category("cloth", "pole", "door", "peg")
def tent(rng: Rng, build: ShapeBuilder) -> None:
    """Ridge tents, domes, tepees and pavilions, with their entrance, poles and guy lines."""
    kind = pick(rng, "ridge", "dome", "tepee", "pavilion")
    {"ridge": _ridge, "dome": _dome, "tepee": _tepee, "pavilion": _pavilion}[kind](rng, build)


def _skin(outer: list[Array], wall: float) -> Mesh:
    """A thin cloth through open rows of points (S, n, 3), closed by the same rows moved towards the axis and down."""
    rows = np.asarray(outer)
    inner = rows * (1 - wall, 1 - wall, 1)
    return loft(np.concatenate((rows, inner[:, ::-1]), axis=1))


def _peg(build: ShapeBuilder, top: Array, foot: Array) -> None:
    build.add("pole", rod(tuple(top), tuple(foot), radius=0.007, sides=6))
    build.add("peg", rod((foot[0], -0.02, foot[2]), (foot[0] * 1.02, 0.07, foot[2] * 1.02), radius=0.014, sides=8))


def _ridge(rng: Rng, build: ShapeBuilder) -> None:
    half, tall, long = rng.uniform(0.45, 0.7), rng.uniform(0.7, 1.0), rng.uniform(1.1, 1.8)
    wall = rng.uniform(0.0, 0.2)
    profile = np.array([(half, 0), (half * 0.98, wall), (0, tall), (-half * 0.98, wall), (-half, 0)])
    z = long / 2
    build.add("cloth", _skin([np.column_stack((profile, np.full(5, at))) for at in (z, -z)], 0.03))
    back = extrude(profile * 0.98, 0.015).at((0, 0, -z + 0.02))
    build.add("cloth", back)
    flap = extrude([(0, tall * 0.95), (half * 0.97, 0), (half * 0.2, 0)], 0.015)
    gap = rng.uniform(0, 60)
    for mesh, side in zip(flap.mirrored(), (1, -1), strict=True):
        build.add("door", mesh.at((-side * half, 0, 0)).turn("y", -side * gap).at((side * half, 0, z)))
    if chance(rng, 0.7):
        build.add("pole", [rod((0, 0, s * z), (0, tall * 1.08, s * z), radius=0.02) for s in (1, -1)])
        for s in (1, -1):
            _peg(build, np.array([0, tall, s * z]), np.array([0, 0, s * (z + 0.5)]))
    for at in np.linspace(-0.8, 0.8, int(rng.integers(2, 5))) * z:
        for s in (1, -1):
            _peg(build, np.array([s * half * 0.6, tall * 0.4, at]), np.array([s * (half + 0.25), 0, at]))


def _dome(rng: Rng, build: ShapeBuilder) -> None:
    radius, tall = rng.uniform(0.6, 0.8), rng.uniform(0.5, 0.75)
    sides, power = pick(rng, 4, 6, 24), rng.uniform(0.8, 1.1)
    arc = np.linspace(0, np.pi / 2, 9)
    ring = circle(sides, 45, stop=405)
    across = np.cos(arc) ** power
    rings = [
        np.column_stack((ring[:, 0] * r, np.full(sides, tall * np.sin(a)), ring[:, 1] * r))
        for r, a in zip(across * radius, arc, strict=True)
    ]
    build.add("cloth", loft(rings))
    ribs = circle(4, 45, stop=405) if sides == 24 else ring
    for x, z in ribs:
        path = np.column_stack((across[:-1] * radius * x, tall * np.sin(arc[:-1]), across[:-1] * radius * z)) * 1.015
        build.add("pole", tube(path, 0.014, sides=6))
        _peg(build, path[3], np.array([x, 0, z]) * (radius + 0.2))
    face = radius * (np.cos(np.pi / sides) if sides < 24 else 1.0) * 0.97
    arch = circle(13, 0, stop=180, end=True) * (0.24, tall * rng.uniform(0.5, 0.62))
    gate = extrude(arch, 0.2).turn("x", -rng.uniform(10, 22)).at((0, 0, face))
    turn = {4: 0.0, 6: 15.0, 24: 0.0}[sides]
    build.add("door", gate.turn("y", turn))
    if chance(rng, 0.4):
        porch = [np.column_stack((arch * 1.25, np.full(13, at))) for at in (face - 0.3, face + 0.3)]
        build.add("cloth", _skin(porch, 0.04).turn("y", turn))


def _tepee(rng: Rng, build: ShapeBuilder) -> None:
    radius, tall, count = rng.uniform(0.5, 0.7), rng.uniform(1.1, 1.5), int(rng.integers(6, 13))
    ring = circle(count, 90, stop=450)
    rings = [
        np.column_stack((ring[:, 0] * r, np.full(count, y), ring[:, 1] * r))
        for r, y in ((radius, 0), (0.07, tall * 0.92))
    ]
    build.add("cloth", loft(rings))
    for x, z in ring:
        share = 1.22
        foot, top = (x * radius, 0, z * radius), (x * radius * (1 - share), tall * share, z * radius * (1 - share))
        build.add("pole", rod(foot, top, radius=0.018, sides=8))
    slope = np.degrees(np.arctan2(radius, tall))
    size = radius * rng.uniform(0.3, 0.42)
    gate = extrude([(-size, 0), (size, 0), (0, tall * 0.55)], 0.05).turn("x", -slope)
    half = 180 / count
    build.add("door", gate.at((0, 0, radius * np.cos(np.deg2rad(half)) + 0.01)).turn("y", half))


def _pavilion(rng: Rng, build: ShapeBuilder) -> None:
    half, eaves, rise = rng.uniform(0.6, 0.8), rng.uniform(0.6, 0.85), rng.uniform(0.35, 0.6)
    sides = pick(rng, 4, 6, 8)
    ring = circle(sides, 45, stop=405)
    rings = [
        np.column_stack((ring[:, 0] * r, np.full(sides, y), ring[:, 1] * r))
        for r, y in (
            (half, eaves - 0.1),
            (half, eaves),
            (half * 0.4, eaves + rise * 0.5),
            (0.001, eaves + rise),
            (0.0, eaves + rise - 0.01),
            (half * 0.97, eaves - 0.01),
            (half * 0.97, eaves - 0.1),
        )
    ]
    build.add("cloth", loft(rings, closed=True))
    build.add(
        "pole",
        rod((0, eaves + rise * 0.9, 0), (0, eaves + rise + 0.15, 0), radius=0.015),
        disc(0.03, 0.03, at=(0, eaves + rise + 0.15, 0), sides=10),
    )
    closed = chance(rng)
    for k, (x, z) in enumerate(ring * half * 0.96):
        build.add("pole", rod((x, 0, z), (x, eaves, z), radius=0.022))
        _peg(build, np.array([x, eaves, z]), np.array([x, 0, z]) * 1.45)
        following = ring[(k + 1) % sides] * half * 0.96
        front = (z + following[1]) / 2 > half * 0.5
        if closed and not front:
            wall = [(x, 0, z), (x, eaves, z), (following[0], eaves, following[1]), (following[0], 0, following[1])]
            build.add("cloth", loft([np.array(wall), np.array(wall) * (0.98, 1, 0.98)]))
        elif closed:
            corner = np.array(
                [(x, eaves, z), (x, 0, z), (x * 0.7 + following[0] * 0.3, 0, z * 0.7 + following[1] * 0.3)]
            )
            build.add("door", loft([corner, corner * (0.98, 1, 0.98)]))
