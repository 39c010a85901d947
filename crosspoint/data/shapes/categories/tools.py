"""Things for the hand and the head: knife, sword, hammer, umbrella, hat, spectacles."""

import numpy as np

from crosspoint.data.shapes.primitives import (
    Array,
    Mesh,
    box,
    circle,
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
    torus,
    tube,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


def edge(spine: Array, cutting: Array, *, thickness: float) -> Mesh:
    """A blade between its spine and its cutting edge, both (S, 2) in x and y, as thick as told at the spine."""
    middle = spine * 0.35 + cutting * 0.65
    rows = []
    for back, centre, front in zip(spine, middle, cutting, strict=True):
        half = thickness / 2
        rows.append([(*back, half), (*centre, half), (*front, 0.0), (*centre, -half), (*back, -half)])
    return loft(rows)


@category("blade", "handle", "guard", "rivet")
def knife(rng: Rng, build: ShapeBuilder) -> None:
    """Chef's, carving, table and cleaver knives, lying along x."""
    kind = pick(rng, "chef", "carving", "table", "cleaver", "serrated")
    long, grip = rng.uniform(0.5, 0.72), rng.uniform(0.3, 0.42)
    wide = {"chef": 0.15, "carving": 0.08, "table": 0.075, "cleaver": 0.27, "serrated": 0.085}[kind] * rng.uniform(
        0.85, 1.2
    )
    if kind == "cleaver":
        long *= 0.75
    share = np.linspace(0, 1, 41 if kind == "serrated" else 17)
    x = -share * long
    top, low = np.full_like(x, wide / 2), np.full_like(x, -wide / 2)
    if kind == "chef":
        top, low = wide / 2 - wide * 0.45 * share**2.5, -wide / 2 + wide * 0.52 * share**2.2
    elif kind in ("carving", "serrated"):
        top = wide / 2 - wide * 0.9 * np.maximum(0, (share - 0.75) / 0.25) ** 1.5
    elif kind == "table":
        bend = np.maximum(0, (share - 0.8) / 0.2)
        top, low = wide * (0.5 - 0.4 * bend**2.5), -wide * (0.5 - 0.45 * bend**2)
        low = low + wide * 0.25 * (1 - np.minimum(1, share * 5))
    if kind == "serrated":
        low = low + wide * 0.14 * (np.arange(len(x)) % 2)
    build.add("blade", edge(np.column_stack((x, top)), np.column_stack((x, low)), thickness=0.018))
    tall = rng.uniform(0.07, 0.095)
    if kind == "table" or chance(rng, 0.4):
        stations = smooth([(0, tall * 0.6), (grip * 0.3, tall * 0.75), (grip * 0.85, tall), (grip, tall * 0.5)], 12)
        rings = [np.column_stack((np.full(16, at), oval(size, 0.05, power=2.5, sides=16))) for at, size in stations]
        build.add("handle", loft(rings))
    else:
        outline = smooth(
            [(0, tall * 0.45), (grip * 0.5, tall * 0.35), (grip * 0.9, tall * 0.6), (grip, tall * 0.2)], 10
        )
        lower = smooth(
            [(grip, -tall * 0.7), (grip * 0.85, -tall * 0.75), (grip * 0.5, -tall * 0.35), (0, -tall * 0.5)], 10
        )
        build.add("handle", extrude(np.concatenate((outline, lower)), rng.uniform(0.035, 0.055)))
        spots = np.linspace(0.2, 0.8, int(rng.integers(2, 4))) * grip
        build.add("rivet", [rod((at, -0.01, -0.034), (at, -0.01, 0.034), radius=0.012, sides=10) for at in spots])
    if chance(rng):
        build.add("guard", rounded_box((0.035, tall * 1.15, 0.055), 0.012, at=(0, -tall * 0.55, 0)))


@category("blade", "grip", "guard", "pommel")
def sword(rng: Rng, build: ShapeBuilder) -> None:
    """Long swords, sabres, rapiers and short swords, point up."""
    kind = pick(rng, "long", "sabre", "rapier", "short")
    tall = rng.uniform(0.75, 1.05) * (0.68 if kind == "short" else 1)
    wide = {"long": 0.07, "sabre": 0.06, "rapier": 0.028, "short": 0.1}[kind] * rng.uniform(0.85, 1.15)
    share = np.linspace(0, 1, 17)
    half = wide / 2 * np.where(share < 0.85, 1 - 0.2 * share, (0.83 * (1 - share) / 0.15) ** 0.75)
    if kind == "short":
        half = half * (0.8 + 0.35 * np.sin(np.pi * share**1.3))
    bend = rng.uniform(0.1, 0.2) * share**2 if kind == "sabre" else np.zeros_like(share)
    rows = [
        [(b + h, tall * s, 0), (b, tall * s, 0.014), (b - h, tall * s, 0), (b, tall * s, -0.014)]
        for s, h, b in zip(share, half, bend, strict=True)
    ]
    build.add("blade", loft(rows))
    grip, size = rng.uniform(0.16, 0.26), rng.uniform(0.018, 0.024)
    build.add("grip", lathe(smooth([(size, -grip), (size * 1.25, -grip * 0.5), (size * 0.9, 0)], 9), 14))
    build.add("pommel", ellipsoid((size * 2, size * pick(rng, 1.2, 2.0), size * 1.6), (0, -grip - size, 0), sides=14))
    span = rng.uniform(0.11, 0.18)
    if kind == "rapier":
        build.add("guard", hollow([(size, 0), (0.09, 0.03), (0.1, 0.06)], 0.008, sides=24, at=(0, -0.05, 0)))
        build.add("guard", rod((-span, 0.01, 0), (span, 0.01, 0), radius=0.01))
    if kind in ("sabre", "rapier"):
        bow = smooth([(-0.01, 0.01), (-0.09, -grip * 0.25), (-0.08, -grip * 0.8), (-0.01, -grip - size)], 12)
        build.add(
            "guard",
            tube(np.column_stack((bow, np.zeros(len(bow)))), 0.01, sides=8),
            box((span, 0.02, 0.05), (0, -0.01, 0)),
        )
    if kind in ("long", "short"):
        drop = rng.uniform(-0.05, 0.06)
        build.add(
            "guard", tube([(0, 0, 0), (span * 0.6, drop * 0.2, 0), (span, drop, 0)], [0.022, 0.016, 0.02]).mirrored()
        )


@category("head", "handle", "claw", "grip")
def hammer(rng: Rng, build: ShapeBuilder) -> None:
    """Claw hammers, mallets, sledges and pein hammers, head up."""
    kind = pick(rng, "claw", "mallet", "sledge", "pein")
    tall = rng.uniform(0.75, 1.0)
    size = rng.uniform(0.024, 0.034)
    stations = smooth([(size * 1.1, 0), (size * 1.25, tall * 0.2), (size * 0.8, tall * 0.6), (size * 0.8, tall)], 14)
    build.add("handle", lathe(stations, 14).scale((1, 1, 0.75)))
    if chance(rng):
        build.add("grip", lathe([(r + 0.009, y) for r, y in stations[:5]], 14).scale((1, 1, 0.8)))
    half, radius = rng.uniform(0.13, 0.19), rng.uniform(0.045, 0.065)
    if kind == "mallet":
        radius *= rng.uniform(1.4, 1.9)
        if chance(rng):
            build.add("head", rod((-half, tall, 0), (half, tall, 0), radius=radius, sides=20))
        else:
            build.add("head", rounded_box((half * 2, radius * 2, radius * 1.6), 0.012, at=(0, tall - radius, 0)))
        return
    if kind == "sledge":
        block = loft(
            [
                level(oval(radius * 2.2, radius * 2.2, power=3.5, sides=16) * r, y)
                for r, y in ((0.8, -half), (1, -half * 0.8), (1, half * 0.8), (0.8, half))
            ]
        )
        build.add("head", block.turn("z", 90).at((0, tall, 0)))
        return
    build.add("head", box((radius * 1.7, radius * 2.1, radius * 1.5), (0, tall - radius, 0)))
    build.add("head", rod((0, tall, 0), (half * 0.75, tall, 0), radius=radius * 0.62, sides=16))
    build.add(
        "head",
        lathe([(radius * 0.85, 0), (radius, 0.012), (radius, 0.045), (radius * 0.85, 0.055)], 18)
        .turn("z", -90)
        .at((half * 0.72, tall, 0)),
    )
    if kind == "pein":
        build.add(
            "claw",
            taper((radius * 1.5, radius * 1.4), (0.012, radius * 1.5), height=half * 0.95)
            .turn("z", 90)
            .at((-radius * 0.6, tall, 0)),
        )
        return
    drop = rng.uniform(0.05, 0.11)
    for side in (1, -1):
        share = np.linspace(0, 1, 8)
        x, y = -radius * 0.6 - half * 1.05 * share, tall + radius * 0.3 - drop * share**2
        z, thick = side * (0.012 + 0.022 * share), radius * 0.5 * (1 - share) + 0.006
        rows = [
            [(a, b + t, c - w), (a, b + t, c + w), (a, b - t, c + w), (a, b - t, c - w)]
            for a, b, c, t, w in zip(x, y, z, thick, np.linspace(0.022, 0.014, 8), strict=True)
        ]
        build.add("claw", loft(rows))


@category("canopy", "shaft", "handle", "rib", "tip")
def umbrella(rng: Rng, build: ShapeBuilder) -> None:
    """Rain umbrellas with a hook or a knob, parasols on a foot, and half-folded ones."""
    kind = pick(rng, "hook", "hook", "knob", "parasol")
    radius, count = rng.uniform(0.42, 0.6), int(rng.integers(6, 11))
    rise, tall = radius * rng.uniform(0.35, 0.65), rng.uniform(0.75, 1.0)
    if kind == "parasol":
        tall, radius, rise = tall * 1.25, radius * 1.3, radius * rng.uniform(0.3, 0.5)
    elif chance(rng, 0.3):
        radius, rise = radius * 0.55, radius * rng.uniform(0.9, 1.1)
    base = tall - rise
    share = np.linspace(1, 0, 7)
    straight = kind == "parasol"
    climb = rise * (1 - share if straight else 1 - share**2)
    rows = []
    for scale, lift in ((1.0, 0.0), (0.985, -0.012)):
        for r, y in zip(share, climb, strict=True):
            ring = circle(2 * count) * radius * scale * r
            ring[1::2] *= 1 - 0.1 * r  # the cloth hangs in between the ribs
            rows.append(level(ring, base + y + lift))
    build.add("canopy", loft([*rows[:7], *rows[:6:-1]], closed=True))
    for x, z in circle(count):
        path = [
            (x * radius * r * 0.99, base + y - 0.014, z * radius * r * 0.99)
            for r, y in zip(share[:-1], climb, strict=False)
        ]
        build.add("rib", tube(path, 0.007, sides=6))
        build.add("rib", rod((0, base - rise * 0.1, 0), path[3], radius=0.006, sides=6))
    low = 0.0 if kind == "parasol" else base - rng.uniform(0.35, 0.5)
    build.add("shaft", rod((0, low, 0), (0, tall, 0), radius=0.022 if kind == "parasol" else 0.013))
    build.add("tip", rod((0, tall - 0.01, 0), (0, tall + rng.uniform(0.05, 0.1), 0), radius=0.016, end_radius=0.006))
    if kind == "hook":
        size = rng.uniform(0.05, 0.075)
        bend = circle(11, 0, stop=-200, end=True) * size + (-size, low)
        build.add(
            "handle",
            tube(np.column_stack((bend, np.zeros(11))), 0.02),
            rod((0, low, 0), (0, low + 0.12, 0), radius=0.02),
        )
    elif kind == "knob":
        build.add(
            "handle",
            rod((0, low - 0.03, 0), (0, low + 0.12, 0), radius=0.024),
            ellipsoid((0.035, 0.03, 0.035), (0, low - 0.03, 0), sides=12),
        )
    else:
        build.add("handle", lathe([(0.2, 0), (0.2, 0.03), (0.04, 0.07), (0.035, 0.16)]))


@category("crown", "brim", "band", "bobble")
def hat(rng: Rng, build: ShapeBuilder) -> None:
    """Top hats, fedoras, bowlers, caps, sombreros, witch's hats and bobble hats."""
    kind = pick(rng, "top", "fedora", "bowler", "cap", "sombrero", "witch", "bobble")
    radius = rng.uniform(0.22, 0.26)
    if kind == "bobble":
        _bobble_hat(rng, build, radius)
    elif kind == "cap":
        _cap(rng, build, radius)
    else:
        _brimmed_hat(rng, build, radius, kind)


def _bobble_hat(rng: Rng, build: ShapeBuilder, radius: float) -> None:
    tall, cuff = rng.uniform(0.22, 0.34), rng.uniform(0.06, 0.12)
    dome = smooth([(radius, 0), (radius * 0.98, tall * 0.45), (radius * 0.6, tall * 0.88), (0, tall)], 14)
    build.add("crown", lathe(dome))
    inner, outer = radius * 0.9, radius * 1.06
    build.add("band", lathe([(inner, 0), (outer, 0), (outer, cuff), (inner, cuff)], closed=True))
    size = rng.uniform(0.05, 0.09)
    build.add("bobble", ellipsoid((size, size, size), (0, tall + size * 0.6, 0), sides=12))


def _cap(rng: Rng, build: ShapeBuilder, radius: float) -> None:
    tall, reach, droop = rng.uniform(0.17, 0.22), rng.uniform(0.18, 0.26), rng.uniform(0.03, 0.08)
    dome = smooth([(radius, 0), (radius * 0.97, tall * 0.45), (radius * 0.55, tall * 0.9), (0, tall)], 14)
    build.add("crown", lathe(dome).scale((1, 1, 1.12)))
    build.add("bobble", ellipsoid((0.022, 0.014, 0.022), (0, tall, 0), sides=10))
    arc = circle(13, 12, stop=168, end=True)
    inner, outer = arc * (radius * 0.95, radius * 1.02), arc * (radius, radius * 1.12 + reach)
    sag = droop * (1 - arc[:, 1]) - 0.02  # the peak is curved: its sides hang lower than its middle
    level_, low = np.full(13, 0.02), 0.014
    edges = ((inner, level_), (outer, -sag), (outer, -sag - low), (inner, level_ - low))
    build.add("brim", loft(np.stack([np.column_stack((ring[:, 0], y, ring[:, 1])) for ring, y in edges], axis=1)))


def _brimmed_hat(rng: Rng, build: ShapeBuilder, radius: float, kind: str) -> None:
    profile, (low, high), (near, far), curl = {
        "top": ([(1, 0), (0.94, 0.5), (1.06, 1)], (0.34, 0.45), (1.4, 1.55), 0.0),
        "fedora": ([(1, 0), (0.92, 0.6), (0.74, 1), (0.4, 0.9)], (0.2, 0.25), (1.6, 1.8), 0.02),
        "bowler": ([(1, 0), (0.99, 0.4), (0.72, 0.85), (0.0, 1)], (0.2, 0.25), (1.3, 1.4), 0.06),
        "sombrero": ([(1, 0), (0.75, 0.5), (0.45, 0.9), (0.0, 1)], (0.26, 0.36), (2.3, 2.8), 0.12),
        "witch": ([(1, 0), (0.6, 0.4), (0.25, 0.8), (0.0, 1)], (0.48, 0.7), (1.7, 2.1), 0.0),
    }[kind]
    tall, wide = rng.uniform(low, high), radius * rng.uniform(near, far)
    outline = np.asarray(profile) if kind == "top" else smooth(profile, 14)
    crown = lathe(outline * (radius, tall))
    if kind == "witch":
        bend = rng.uniform(-0.25, 0.25) * (crown.vertices[:, 1] / tall) ** 2
        crown = Mesh(crown.vertices + np.outer(bend, (1, 0, 0)), crown.faces)
    build.add("crown", crown.scale((1, 1, 1.1)))
    curve = smooth([(radius * 0.95, 0), ((radius + wide) / 2, curl * 0.15), (wide, curl)], 8)
    build.add("brim", lathe([*curve, *(curve[::-1] - (0, 0.014))], 28, closed=True).scale((1, 1, 1.1)))
    if kind != "witch" or chance(rng):
        build.add("band", torus(radius * 0.97, 0.02, at=(0, 0.025, 0)).scale((1, 1.5, 1.1)))


@category("rim", "bridge", "temple", "lens")
def glasses(rng: Rng, build: ShapeBuilder) -> None:
    """Round, square and half-rim spectacles and sunglasses, temples open."""
    wide, tall = rng.uniform(0.2, 0.27), rng.uniform(0.15, 0.24)
    power = pick(rng, 2.0, 2.0, 3.0, 6.0)
    if power == 2.0 and chance(rng):
        tall = wide
    apart, size = wide / 2 + rng.uniform(0.02, 0.045), rng.uniform(0.008, 0.02)
    ring = oval(wide, tall, power=power, sides=28)
    half_rim = chance(rng, 0.25)
    path = np.column_stack((ring, np.zeros(28)))
    frame = tube(path[:15], size) if half_rim else tube(path, size, closed=True)
    build.add("rim", frame.at((apart, 0, 0)).mirrored())
    if half_rim or chance(rng, 0.6):
        build.add("lens", extrude(ring * 0.98, 0.012).at((apart, 0, 0)).mirrored())
    inner = apart - wide / 2
    y = tall * 0.1
    build.add("bridge", tube(smooth([(-inner, y, 0), (0, y * 2.2, 0.01), (inner, y, 0)], 7), size))
    if chance(rng, 0.3):
        build.add("bridge", rod((-apart, tall * 0.48, 0), (apart, tall * 0.48, 0), radius=size * 0.8))
    x, y, long = apart + wide / 2, tall * rng.uniform(0.05, 0.3), rng.uniform(0.55, 0.7)
    temple = [(x, y, 0), (x + 0.02, y, -0.03), (x + 0.02, y, -long * 0.75), (x, y - 0.12, -long)]
    build.add("temple", tube(smooth(temple, 14), size * 0.9, sides=8).mirrored())
