"""Things built into rooms, boxes of glass and pots: sink, range hood, mantel, curtain."""

import numpy as np

from crosspoint.data.shapes import supports
from crosspoint.data.shapes.primitives import (
    Mesh,
    box,
    circle,
    disc,
    extrude,
    hollow,
    lathe,
    level,
    loft,
    oval,
    rod,
    smooth,
    torus,
    tube,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


def basin(width: float, depth: float, *, height: float, wall: float, power: float) -> Mesh:
    """An open bowl of superelliptic outline that stands on y = 0."""
    outer = [(0.55, 0.0), (0.8, 0.3), (0.97, 0.8), (1.0, 1.0)]
    inner = [(1.0 - wall, 1.0), (0.9 - wall, 0.7), (0.7 - wall, 0.35), (0.45 - wall, 0.14)]
    rings = [level(oval(width * r, depth * r, power=power, sides=28), height * y) for r, y in (*outer, *inner)]
    return loft(rings)


@category("basin", "tap", "support")
def sink(rng: Rng, build: ShapeBuilder) -> None:
    """Pedestal, wall and counter basins, single and double kitchen sinks, basins on a cabinet."""
    kind = pick(rng, "pedestal", "wall", "kitchen", "double", "cabinet", "bowl")
    width, depth = rng.uniform(0.45, 0.65), rng.uniform(0.36, 0.5)
    height, power = rng.uniform(0.13, 0.22), pick(rng, 2.0, 3.0, 6.0)
    base = {"pedestal": rng.uniform(0.55, 0.7), "cabinet": rng.uniform(0.55, 0.7)}.get(kind, 0.0)
    back = -depth * 0.42
    if kind in ("kitchen", "double"):
        width, power = rng.uniform(0.7, 1.0) if kind == "double" else width, rng.uniform(5, 9)
        spots = (-0.25, 0.25) if kind == "double" else (rng.uniform(-0.12, 0.12),)
        for x in spots:
            each = width * (0.44 if kind == "double" else 0.7)
            build.add("basin", basin(each, depth * 0.8, height=height, wall=0.1, power=power).at((x * width, 0, 0)))
        rim = 0.02
        for side in (1, -1):
            build.add("basin", box((width, rim, depth * 0.1), (0, height - rim, side * depth * 0.45)))
        build.add("basin", box((width * 0.05, rim, depth), (width * 0.5, height - rim, 0)).mirrored())
        if kind == "kitchen" and chance(rng, 0.6):
            board = rng.uniform(0.3, 0.5)
            build.add("basin", box((board, rim, depth), (width * 0.52 + board / 2, height - rim, 0)))
            xs = np.linspace(0.1, 0.9, 6) * board + width * 0.52
            build.add("basin", [box((0.012, 0.012, depth * 0.8), (x, height, 0)) for x in xs])
    else:
        build.add(
            "basin", basin(width, depth, height=height, wall=rng.uniform(0.06, 0.12), power=power).at((0, base, 0))
        )
        if kind != "bowl":
            build.add("basin", box((width * 0.8, height * 0.4, depth * 0.2), (0, base + height * 0.6, -depth * 0.46)))
    if kind == "pedestal":
        foot, waist = rng.uniform(0.1, 0.15), rng.uniform(0.06, 0.09)
        build.add("support", lathe([(foot, 0), (waist, base * 0.3), (waist, base * 0.7), (foot, base + 0.04)], 20))
    elif kind == "cabinet":
        build.add("support", box((width * 1.1, base, depth), (0, 0, 0)))
        build.add("support", box((width * 0.5, base * 0.85, 0.02), (width * 0.27, base * 0.08, depth / 2)).mirrored())
        build.add("basin", box((width * 1.2, 0.03, depth * 1.1), (0, base - 0.02, 0)))
    elif kind == "wall" and chance(rng):
        build.add("support", rod((0, -rng.uniform(0.15, 0.35), back * 0.4), (0, 0.02, back * 0.4), radius=0.03))
    top = base + height
    rise, reach = rng.uniform(0.08, 0.34), rng.uniform(0.1, 0.2)
    spout = smooth([(0, top - 0.02, back), (0, top + rise, back), (0, top + rise * 1.15, back + reach * 0.6),
                    (0, top + rise * 0.75, back + reach)], 12)  # fmt: skip
    build.add("tap", tube(spout, rng.uniform(0.012, 0.02)))
    if chance(rng):
        build.add("tap", rod((0.09, top - 0.02, back), (0.09, top + 0.06, back), radius=0.02).mirrored())
    else:
        build.add("tap", rod((0, top + 0.03, back), (0.1, top + 0.06, back), radius=0.01))


@category("hood", "duct", "rim")
def range_hood(rng: Rng, build: ShapeBuilder) -> None:
    """Pyramids, boxes, curved canopies and slanted plates with a duct above them."""
    width, depth = rng.uniform(0.6, 1.1), rng.uniform(0.42, 0.62)
    duct, tall = rng.uniform(0.2, 0.34), rng.uniform(0.25, 0.8)
    kind = pick(rng, "pyramid", "pyramid", "box", "curved", "plate", "island")
    low, rise, back = rng.uniform(0.03, 0.1), rng.uniform(0.12, 0.4), -depth / 2 + duct * 0.45
    if kind == "island":
        back = 0.0
    build.add("rim", box((width, low, depth)))
    if kind in ("pyramid", "island"):
        rings = [[(sx * width / 2, low, sz * depth / 2) for sx, sz in supports.CORNERS]]
        rings.append([(sx * duct / 2, low + rise, back + sz * duct * 0.45) for sx, sz in supports.CORNERS])
        build.add("hood", loft(rings))
    elif kind == "curved":
        share = np.linspace(0, 1, 8)
        size = 1 - share ** rng.uniform(0.5, 0.8)
        rings = []
        for s, y in zip(size, share, strict=True):
            w, d, z = duct + s * (width - duct), duct * 0.9 + s * (depth - duct * 0.9), back * (1 - s)
            rings.append([(sx * w / 2, low + rise * y, z + sz * d / 2) for sx, sz in supports.CORNERS])
        build.add("hood", loft(rings))
    elif kind == "box":
        rise = rng.uniform(0.08, 0.2)
        build.add("hood", box((width * 0.98, rise, depth * 0.9), (0, low, -depth * 0.04)))
    else:
        build.add("hood", box((width, depth * 0.9, 0.03)).turn("x", rng.uniform(25, 60)).at((0, low, -depth * 0.05)))
        build.add("hood", box((duct * 1.3, rise, duct), (0, low, back)))
    if kind != "box" or chance(rng, 0.7):
        if chance(rng, 0.75):
            build.add("duct", box((duct, tall, duct * 0.9), (0, low + rise * 0.9, back)))
            if chance(rng):
                build.add("duct", box((duct * 0.9, tall * 0.6, duct * 0.8), (0, low + rise + tall * 0.9, back)))
        else:
            build.add("duct", disc(duct / 2, tall, at=(0, low + rise * 0.9, back)))
    if chance(rng):
        xs = np.linspace(-0.15, 0.15, int(rng.integers(3, 6)))
        build.add("rim", [box((0.03, low * 0.5, 0.015), (x, low * 0.25, depth / 2)) for x in xs])
    if chance(rng, 0.25):
        build.add(
            "rim", rod((-width * 0.48, low * 0.5, depth * 0.58), (width * 0.48, low * 0.5, depth * 0.58), radius=0.012)
        )


@category("pillar", "beam", "shelf", "hearth")
def mantel(rng: Rng, build: ShapeBuilder) -> None:
    """Fireplaces: two pillars, a beam and a shelf, plain, stepped or with columns, with a hearth or without."""
    width, tall, depth = rng.uniform(1.2, 1.9), rng.uniform(0.95, 1.35), rng.uniform(0.12, 0.6)
    leg, beam = rng.uniform(0.12, 0.3), rng.uniform(0.14, 0.36)
    x = width / 2 - leg / 2
    columns = chance(rng, 0.3)
    if columns:
        build.add("pillar", rod((x, 0.06, depth * 0.4), (x, tall - beam, depth * 0.4), radius=leg * 0.3).mirrored())
        build.add("pillar", box((leg, tall - beam, depth * 0.5), (x, 0, -depth * 0.25)).mirrored())
    else:
        build.add("pillar", box((leg, tall - beam, depth), (x, 0, 0)).mirrored())
        if chance(rng):
            build.add("pillar", box((leg * 0.6, (tall - beam) * 0.75, 0.03), (x, 0.12, depth / 2)).mirrored())
    if chance(rng, 0.7):
        build.add("pillar", box((leg * 1.2, rng.uniform(0.08, 0.16), depth * 1.15), (x, 0, 0)).mirrored())
    if chance(rng, 0.3):
        arch = circle(13, 0, stop=180, end=True) * (width / 2 - leg, beam * 0.5)
        outline = np.concatenate(
            ([(-width / 2, 0), (-width / 2, beam), (width / 2, beam), (width / 2, 0)], arch - (0, 0.2))
        )
        build.add("beam", extrude(np.maximum(outline, (-9, -0.2)), depth).at((0, tall - beam, 0)))
    else:
        build.add("beam", box((width, beam, depth), (0, tall - beam, 0)))
    if chance(rng):
        build.add("beam", box((width * rng.uniform(0.3, 0.8), beam * 0.6, 0.03), (0, tall - beam * 0.8, depth / 2)))
    over, y = rng.uniform(1.05, 1.25), tall
    for step in range(int(rng.integers(1, 4))):
        thick = rng.uniform(0.025, 0.06)
        size = 1 + (over - 1) * (step + 1) / 3
        build.add("shelf", box((width * size, thick, depth * (1 + (size - 1) * 3)), (0, y, depth * 0.1)))
        y += thick
    if chance(rng, 0.4):
        build.add("hearth", box((width * 1.15, rng.uniform(0.04, 0.12), depth * 3), (0, -0.05, depth)))
    if chance(rng, 0.6):
        build.add("hearth", box((width - 2 * leg, tall - beam, 0.03), (0, 0, -depth / 2)))
    if chance(rng, 0.4):  # a chimney breast above
        build.add(
            "hearth", box((width * rng.uniform(0.6, 1), rng.uniform(0.4, 1.0), depth * 0.6), (0, y, -depth * 0.2))
        )


def _drape(rng: Rng, width: float, tall: float, *, folds: float, depth: float, tied: float) -> Mesh:
    """A hanging cloth with folds that stands on y = 0; `tied` narrows it at that share of its height, 0: nowhere."""
    along, rows = np.linspace(-0.5, 0.5, 48), np.linspace(0, 1, 14)
    phase, rings = rng.uniform(0, 6.28), []
    for y in rows:
        narrow = 1.0 - 0.65 * np.exp(-(((y - tied) / 0.16) ** 2)) if tied else 1.0
        wave = depth * (1 - 0.4 * y) * np.sin(2 * np.pi * folds * along + phase + 0.3 * np.sin(4 * y))
        x = along * width * narrow + (1 - narrow) * width * 0.4
        front, back = np.stack((x, wave + 0.006), 1), np.stack((x, wave - 0.006), 1)[::-1]
        rings.append(level(np.concatenate((front, back)), tall * y))
    return loft(rings)


@category("cloth", "rail", "valance")
def curtain(rng: Rng, build: ShapeBuilder) -> None:
    """One or two cloths with folds, drawn or tied back, a rail with rings or a valance above."""
    width, tall = rng.uniform(0.9, 1.8), rng.uniform(1.2, 2.3)
    pair, tied = chance(rng, 0.5), rng.uniform(0.35, 0.5) if chance(rng, 0.25) else 0.0
    share = rng.uniform(0.25, 0.5) if pair else rng.uniform(0.7, 1.0)
    folds, depth = rng.uniform(3, 9) * (1 if pair else 1.6), rng.uniform(0.015, 0.06)
    cloth = _drape(rng, width * share, tall, folds=folds, depth=depth, tied=tied)
    if pair:
        build.add("cloth", cloth.at((width * (0.5 - share / 2), 0, 0)).mirrored())
    else:
        build.add("cloth", cloth)
    kind = pick(rng, "rail", "rail", "valance", "both", "none")
    if kind in ("rail", "both"):
        long = width * rng.uniform(0.54, 0.6)
        build.add("rail", rod((-long, tall + 0.03, 0), (long, tall + 0.03, 0), radius=rng.uniform(0.012, 0.025)))
        build.add("rail", [disc(0.035, 0.05).turn("z", 90).at((s * long, tall + 0.03, 0)) for s in (1, -1)])
    if kind in ("valance", "both"):
        high = rng.uniform(0.12, 0.35)
        build.add("valance", _drape(rng, width * 1.05, high, folds=rng.uniform(4, 12), depth=depth * 1.3, tied=0.0).at(
            (0, tall - high * 0.8, 0.07)))  # fmt: skip
    if chance(rng, 0.2):
        build.add("cloth", box((width, tall * 0.98, 0.01), (0, 0, -0.06)))


@category("pane", "frame", "lid")
def glass_box(rng: Rng, build: ShapeBuilder) -> None:
    """Thin-walled boxes: tanks, show cases with a frame, open boxes and covers."""
    width, tall, depth = rng.uniform(0.5, 1.6), rng.uniform(0.3, 0.9), rng.uniform(0.4, 0.9)
    wall, frame = rng.uniform(0.01, 0.04), pick(rng, 0.0, rng.uniform(0.015, 0.045))
    build.add("pane", box((width, tall, wall), (0, 0, depth / 2)), box((width, tall, wall), (0, 0, -depth / 2)))
    build.add("pane", box((wall, tall, depth), (width / 2, 0, 0)).mirrored())
    if chance(rng, 0.85):
        build.add("pane", box((width, wall, depth)))
    cover = pick(rng, "open", "closed", "lid", "ajar")
    if cover == "closed":
        build.add("pane", box((width, wall, depth), (0, tall - wall, 0)))
    elif cover == "lid":
        build.add("lid", box((width * 1.04, rng.uniform(0.03, 0.12), depth * 1.06), (0, tall, 0)))
    elif cover == "ajar":
        build.add(
            "lid",
            box((width, wall, depth), (0, 0, depth / 2)).turn("x", -rng.uniform(20, 110)).at((0, tall, -depth / 2)),
        )
    if frame:
        posts = [box((frame, tall, frame), (sx * width / 2, 0, sz * depth / 2)) for sx, sz in supports.CORNERS]
        build.add("frame", posts)
        for y in (0.0, tall - frame):
            build.add(
                "frame", box((width, frame, frame), (0, y, depth / 2)), box((width, frame, frame), (0, y, -depth / 2))
            )
            build.add("frame", box((frame, frame, depth), (width / 2, y, 0)).mirrored())
    if chance(rng, 0.4):
        levels = np.linspace(0, tall, int(rng.integers(3, 5)))[1:-1]
        build.add("pane", [box((width, wall, depth), (0, y, 0)) for y in levels])
    if chance(rng, 0.25):
        build.add("frame", box((width, rng.uniform(0.1, 0.4), depth), (0, -rng.uniform(0.3, 0.4), 0)))


@category("pot", "plant", "saucer")
def flower_pot(rng: Rng, build: ShapeBuilder) -> None:
    """Round, square and long pots with a rim, with flowers, leaves or nothing, on a saucer or on feet."""
    radius, tall = rng.uniform(0.14, 0.24), rng.uniform(0.18, 0.4)
    slope, kind = rng.uniform(0.6, 0.95), pick(rng, "round", "round", "square", "long", "urn")
    long = rng.uniform(1.8, 3.0) if kind == "long" else 1.0
    if kind in ("square", "long"):
        wall = 0.88
        shape = [(slope, 0.0), (1.0, 1.0), (wall, 1.0), (wall * slope, 0.25)]
        rings = [[(sx * radius * long * r, tall * y, sz * radius * r) for sx, sz in supports.CORNERS] for r, y in shape]
        build.add("pot", loft(rings))
    elif kind == "urn":
        curve = smooth(
            [(radius * 0.6, 0), (radius * 0.25, tall * 0.25), (radius * 0.9, tall * 0.7), (radius, tall)], 12
        )
        build.add("pot", hollow(curve, radius * 0.1))
    else:
        build.add("pot", hollow([(radius * slope, 0), (radius * 0.97, tall * 0.8), (radius, tall)], radius * 0.1))
        if chance(rng, 0.7):
            build.add("pot", torus(radius, radius * 0.09, at=(0, tall * 0.97, 0)))
    if chance(rng, 0.45):
        build.add(
            "saucer",
            lathe([(radius * 1.1 * slope, -0.03), (radius * 1.25, 0.02), (radius * 1.1, 0.01)]).scale((long, 1, 1)),
        )
    build.add("plant", disc(radius * 0.8, 0.02, at=(0, tall * 0.8, 0)).scale((long, 1, 1)))
    if chance(rng, 0.65):
        for _ in range(int(rng.integers(4, 24) * (1.4 if long > 1 else 1))):
            turn, lean, up = rng.uniform(0, 6.28), rng.uniform(0.1, 0.9), rng.uniform(0.15, 0.5)
            x, z = rng.uniform(-0.6, 0.6, 2) * radius * (long, 1)
            tip = np.array((x + lean * up * np.cos(turn), tall * 0.8 + up, z + lean * up * np.sin(turn)))
            build.add(
                "plant",
                tube(
                    smooth(
                        np.array(
                            [(x, tall * 0.8, z), ((x + tip[0]) / 2, tall * 0.8 + up * 0.65, (z + tip[2]) / 2), tip]
                        ),
                        5,
                    ),
                    0.008,
                    sides=5,
                ),
            )
            if chance(rng, 0.6):
                petals = lathe([(0.008, -0.02), (rng.uniform(0.04, 0.08), 0.02), (0.01, 0.03)], 8)
                build.add("plant", petals.turn("z", rng.uniform(-40, 40)).at(tip))
            else:
                leaf = extrude([(0, 0), (0.05, 0.06), (0, 0.2), (-0.05, 0.06)], 0.008).turn("x", rng.uniform(20, 90))
                build.add("plant", leaf.turn("y", np.rad2deg(turn)).at(tip * (1, 0.9, 1)))
