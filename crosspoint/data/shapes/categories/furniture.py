"""Furniture that holds things or people: bed, bookshelf, wardrobe, night stand, desk, table, bathtub, piano."""

import numpy as np

from crosspoint.data.shapes import supports
from crosspoint.data.shapes.primitives import (
    Mesh,
    box,
    ellipsoid,
    extrude,
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


def knob(x: float, y: float, *, z: float, size: float, bar: bool) -> Mesh:
    """A round knob or a bar handle on the front face z."""
    if bar:
        return box((size * 5, size * 0.8, size), (x, y, z + size / 2))
    return ellipsoid((size, size, size), (x, y, z + size * 0.8), sides=10)


def drawer(width: float, height: float, *, at: tuple[float, float, float], bar: bool) -> tuple[Mesh, Mesh]:
    """A drawer front with its handle; `at` is the middle of its bottom edge on the front face."""
    x, y, z = at
    return box((width, height, 0.02), (x, y, z + 0.005)), knob(x, y + height * 0.5, z=z + 0.015, size=0.018, bar=bar)


@category("frame", "mattress", "pillow", "headboard", "footboard", "post")
def bed(rng: Rng, build: ShapeBuilder) -> None:
    """Single to king beds with boards of panel, bars or arch; four-posters and bunks."""
    width, long, height = rng.uniform(0.85, 1.9), rng.uniform(1.9, 2.15), rng.uniform(0.22, 0.4)
    kind = pick(rng, "plain", "plain", "posts", "bunk")
    if kind == "bunk":
        width = min(width, 1.0)
    decks = [height, height + rng.uniform(0.95, 1.15)] if kind == "bunk" else [height]
    for deck in decks:
        _deck(rng, build, width, long, deck)
    z = long / 2
    if kind == "plain":
        build.add("frame", supports.feet(width, long, height=height - 0.1, size=0.05))
        build.add("headboard", [mesh.at((0, 0, -z)) for mesh in _board(rng, width, rng.uniform(0.75, 1.25))])
        if chance(rng):
            build.add("footboard", [mesh.at((0, 0, z)) for mesh in _board(rng, width, rng.uniform(0.5, 0.65))])
        return
    tall, size = rng.uniform(1.7, 2.1), rng.uniform(0.035, 0.05)
    x = width / 2
    build.add("post", [rod((sx * x, 0, sz * z), (sx * x, tall, sz * z), radius=size) for sx, sz in supports.CORNERS])
    build.add("headboard", box((width, 0.45, 0.04), (0, height + 0.1, -z)))
    if kind == "posts":
        build.add("post", [rod((-x, tall, s * z), (x, tall, s * z), radius=size * 0.8) for s in (1, -1)])
        build.add("post", rod((x, tall, -z), (x, tall, z), radius=size * 0.8).mirrored())
        return
    build.add("post", [rod((-x, y, s * z), (x, y, s * z), radius=0.025) for y in (tall, tall - 0.15) for s in (1, -1)])
    build.add("post", rod((x, tall, -z), (x, tall, z), radius=0.025).mirrored())
    build.add(
        "post",
        [rod((x + 0.06, y, 0.3), (x + 0.06, y, 0.65), radius=0.018) for y in np.arange(0.25, decks[1], 0.28).tolist()],
    )
    build.add("post", [rod((x + 0.06, 0, end), (x + 0.06, tall, end), radius=0.022) for end in (0.3, 0.65)])


def _deck(rng: Rng, build: ShapeBuilder, width: float, long: float, height: float) -> None:
    build.add("frame", box((width, 0.12, long), (0, height - 0.1, 0)))
    thick = rng.uniform(0.14, 0.26)
    build.add("mattress", rounded_box((width * 0.96, thick, long * 0.97), 0.06, at=(0, height, 0)))
    count = 2 if width > 1.25 else 1
    wide = min(0.75, width / count * 0.8)
    for k in range(count):
        x = (k - (count - 1) / 2) * width / count
        pillow = rounded_box((wide, rng.uniform(0.12, 0.18), 0.42), 0.08).turn("x", rng.uniform(5, 25))
        build.add("pillow", pillow.at((x, height + thick * 0.95, -long / 2 + 0.3)))


def _board(rng: Rng, width: float, tall: float) -> list[Mesh]:
    kind = pick(rng, "panel", "arch", "bars", "cushion")
    if kind == "panel":
        return [box((width * rng.uniform(1.0, 1.12), tall, 0.05))]
    if kind == "cushion":
        return [rounded_box((width, tall, 0.12), 0.06)]
    if kind == "arch":
        across = np.linspace(width / 2, -width / 2, 17)
        top = np.column_stack((across, tall * (0.75 + 0.25 * np.cos(np.pi * across / width))))
        return [extrude([(-width / 2, 0), (width / 2, 0), *top], 0.05)]
    x = width / 2
    bars = [rod((t, 0.2, 0), (t, tall, 0), radius=0.014, sides=8) for t in np.linspace(-x, x, int(rng.integers(6, 12)))]
    rails = [rod((-x, y, 0), (x, y, 0), radius=0.022, sides=8) for y in (0.25, tall)]
    return [*bars, *rails, *rod((x, 0, 0), (x, tall + 0.05, 0), radius=0.03).mirrored()]


@category("frame", "shelf", "book", "back")
def bookshelf(rng: Rng, build: ShapeBuilder) -> None:
    """Open cases and ladder shelves, three to six boards, with rows of books."""
    width, tall, depth = rng.uniform(0.6, 1.3), rng.uniform(1.2, 2.1), rng.uniform(0.25, 0.38)
    count, thick = int(rng.integers(3, 7)), rng.uniform(0.02, 0.045)
    kind = pick(rng, "case", "case", "posts", "split")
    if kind == "posts":
        corners = [(sx * width / 2, sz * depth / 2) for sx, sz in supports.CORNERS]
        build.add("frame", [rod((x, 0, z), (x, tall, z), radius=thick * 0.6) for x, z in corners])
    else:
        build.add("frame", box((thick, tall, depth), (width / 2 - thick / 2, 0, 0)).mirrored())
        build.add("back", box((width, tall, 0.012), (0, 0, -depth / 2)))
    if kind == "split":
        build.add("frame", box((thick, tall, depth), (0, 0, 0)))
    levels = np.linspace(rng.uniform(0.04, 0.15), tall - thick, count + 1)
    build.add("shelf", [box((width, thick, depth), (0, y, 0)) for y in levels])
    filled = rng.uniform(0.3, 0.95)
    for low, high in zip(levels[:-1] + thick, levels[1:], strict=True):
        if chance(rng, 0.9):
            build.add("book", _books(rng, width * filled - 2 * thick, low, high - low, depth, width / 2 - thick))


def _books(rng: Rng, long: float, y: float, room: float, depth: float, edge: float) -> list[Mesh]:
    meshes, x, side = [], 0.0, pick(rng, 1, -1)
    while x < long:
        thick, tall, deep = rng.uniform(0.025, 0.07), room * rng.uniform(0.6, 0.92), depth * rng.uniform(0.55, 0.85)
        meshes.append(box((thick * 0.9, tall, deep), (side * (edge - x - thick / 2), y, -depth * 0.05)))
        x += thick
    return meshes


@category("body", "door", "handle", "base", "drawer")
def wardrobe(rng: Rng, build: ShapeBuilder) -> None:
    """Tall cupboards of one to four doors, with cornice, drawers below, feet or plinth; one door may stand open."""
    doors = int(rng.integers(1, 5))
    width, tall, depth = doors * rng.uniform(0.42, 0.55) + 0.1, rng.uniform(1.75, 2.2), rng.uniform(0.5, 0.65)
    foot = rng.uniform(0.05, 0.16)
    if chance(rng):
        build.add("base", supports.feet(width, depth, height=foot, size=0.04))
    else:
        build.add("base", box((width * 1.03, foot, depth * 1.03)))
    build.add("body", box((width, tall - foot, depth), (0, foot, 0)))
    if chance(rng):
        size = rng.uniform(1.05, 1.12)
        build.add(
            "body", taper((width, depth), (width * size, depth * size), height=rng.uniform(0.06, 0.12), at=(0, tall, 0))
        )
    low, z, bar = foot + 0.04, depth / 2, chance(rng)
    if chance(rng):
        high = rng.uniform(0.22, 0.4)
        for k in range(max(1, doors // 2)):
            wide = width / max(1, doors // 2)
            front, grip = drawer(wide * 0.94, high, at=((k + 0.5) * wide - width / 2, low, z), bar=bar)
            build.add("drawer", front)
            build.add("handle", grip)
        low += high + 0.03
    each, open_ = width / doors, int(rng.integers(doors)) if chance(rng, 0.35) else -1
    inset = chance(rng)
    for k in range(doors):
        hinge = 1 if k % 2 else -1
        grip = knob(-hinge * each * 0.36, (tall - low) * 0.45, z=0.03, size=0.018, bar=False)
        if bar:
            grip = box((0.02, 0.3, 0.03), (-hinge * each * 0.38, (tall - low) * 0.4, 0.035))
        leaf = [box((each * 0.95, tall - low - 0.03, 0.025), (0, 0, 0.0125))]
        if inset:
            leaf.append(box((each * 0.6, (tall - low) * 0.8, 0.02), (0, (tall - low) * 0.1, 0.025)))
        swing = hinge * rng.uniform(50, 100) if k == open_ else 0.0
        x = (k + 0.5) * each - width / 2
        turned = [
            mesh.at((-hinge * each / 2, 0, 0)).turn("y", swing).at((x + hinge * each / 2, low, z))
            for mesh in (*leaf, grip)
        ]
        build.add("door", turned[:-1])
        build.add("handle", turned[-1])


@category("body", "drawer", "handle", "leg", "top")
def night_stand(rng: Rng, build: ShapeBuilder) -> None:
    """Small bedside chests: drawers, an open bay, long or short legs."""
    width, tall, depth = rng.uniform(0.38, 0.56), rng.uniform(0.42, 0.62), rng.uniform(0.34, 0.44)
    leg = pick(rng, 0.04, rng.uniform(0.1, 0.3))
    splay = rng.uniform(0.1, 0.25) if chance(rng, 0.4) else 0.0
    build.add("leg", supports.legs(width, depth, height=leg, size=0.022, round_=chance(rng), splay=splay))
    count, bay = int(rng.integers(1, 4)), chance(rng, 0.4)
    if leg > 0.2:
        count = min(count, 2)
    room = (tall - leg) * (0.5 if bay else 1.0)
    build.add("body", box((width, room, depth), (0, tall - room, 0)))
    if bay:
        build.add(
            "body", box((width, 0.025, depth), (0, leg, 0)), box((width, tall - leg, 0.02), (0, leg, -depth / 2 + 0.01))
        )
        build.add("body", box((0.025, tall - leg, depth), (width / 2 - 0.0125, leg, 0)).mirrored())
        count = 1
    each, bar = room / count, chance(rng)
    for k in range(count):
        front, grip = drawer(width * 0.88, each * 0.82, at=(0, tall - room + (k + 0.1) * each, depth / 2), bar=bar)
        build.add("drawer", front)
        build.add("handle", grip)
    over = rng.uniform(1.0, 1.12)
    build.add("top", rounded_box((width * over, 0.03, depth * over), 0.012, at=(0, tall, 0)))


@category("top", "leg", "drawer", "handle", "panel", "shelf")
def desk(rng: Rng, build: ShapeBuilder) -> None:
    """Writing desks: drawer blocks at one or both sides, hutch, return wing, modesty panel."""
    width, depth, height = rng.uniform(1.1, 1.8), rng.uniform(0.55, 0.8), rng.uniform(0.7, 0.78)
    build.add("top", box((width, rng.uniform(0.025, 0.05), depth), (0, height, 0)))
    sides = pick(rng, (1,), (-1,), (1, -1))
    block, bar, count = rng.uniform(0.32, 0.42), chance(rng), int(rng.integers(2, 5))
    low = pick(rng, 0.03, 0.12, height * 0.55)
    each = (height - low) / count
    for side in sides:
        x = side * (width / 2 - block / 2 - 0.02)
        build.add("drawer", box((block, height - low, depth * 0.9), (x, low, 0)))
        for k in range(count):
            front, grip = drawer(block * 0.9, each * 0.86, at=(x, low + (k + 0.07) * each, depth * 0.45), bar=bar)
            build.add("drawer", front)
            build.add("handle", grip)
    if len(sides) == 2 and low < 0.2:
        build.add("leg", supports.feet(width * 0.96, depth * 0.88, height=low, size=0.025))
    elif chance(rng):
        build.add("leg", supports.legs(width, depth, height=height, size=rng.uniform(0.02, 0.03), round_=chance(rng)))
    else:
        build.add("leg", box((0.04, height, depth * 0.95), (width / 2 - 0.02, 0, 0)).mirrored())
    if chance(rng, 0.7):
        build.add("panel", box((width * 0.94, height * rng.uniform(0.4, 0.8), 0.02), (0, height * 0.2, -depth * 0.44)))
    extra = pick(rng, "none", "hutch", "wing")
    if extra == "hutch":
        tall = rng.uniform(0.3, 0.5)
        z, base = -depth / 2 + 0.12, height + 0.03
        xs = np.linspace(-0.49, 0.49, int(rng.integers(2, 5))) * width
        build.add("shelf", [box((0.025, tall, 0.22), (x, base, z)) for x in xs])
        build.add("shelf", [box((width, 0.025, 0.22), (0, base + tall * y, z)) for y in (0.55, 1)])
    elif extra == "wing":
        long, x = rng.uniform(0.5, 0.9), -sides[0] * (width / 2 - depth * 0.4)
        z = depth / 2 + long / 2
        build.add("top", box((depth * 0.8, 0.03, long), (x, height, z)))
        build.add("leg", box((depth * 0.75, height, 0.04), (x, 0, depth / 2 + long - 0.03)))


@category("top", "leg", "stretcher")
def table(rng: Rng, build: ShapeBuilder) -> None:
    """Dining, coffee, bistro and trestle tables with square, round or oval tops."""
    width, depth, height = rng.uniform(0.8, 2.0), rng.uniform(0.7, 1.0), pick(rng, rng.uniform(0.7, 0.8), 0.42)
    thick, size = rng.uniform(0.025, 0.07), rng.uniform(0.02, 0.05)
    outline = pick(rng, "box", "oval", "round")
    if outline == "round":
        width = depth
        height = max(height, 0.5)
    if outline == "box":
        build.add("top", rounded_box((width, thick, depth), rng.uniform(0.003, 0.02), at=(0, height, 0)))
    else:
        ring = oval(width, depth, power=2 if outline == "round" else rng.uniform(2, 5), sides=32)
        build.add("top", loft([level(ring, y) for y in (height, height + thick)]))
    inner = 1.0 if outline == "box" else 0.72
    w, d = width * inner, depth * inner
    kind = pick(rng, "four", "splayed", "pedestal", "trestle", "panels")
    if kind == "pedestal" and width < 1.3 * depth:
        build.add("leg", supports.tulip(depth * 0.33, height, waist=size * 1.3))
    elif kind == "pedestal":
        for mesh in supports.pedestal(depth * 0.36, height, column=size * 1.4):
            build.add("leg", mesh.at((width * 0.24, 0, 0)).mirrored())
    elif kind == "trestle":
        build.add("leg", supports.trestle(w, d, height=height, size=size * 0.8))
    elif kind == "panels":
        build.add("leg", supports.panels(w, d, height=height, size=size * 1.3))
        build.add("stretcher", box((w * 0.9, size * 3, size), (0, height * 0.4, 0)))
    else:
        splay = rng.uniform(0.06, 0.2) if kind == "splayed" else 0.0
        build.add("leg", supports.legs(w, d, height=height, size=size, round_=chance(rng), splay=splay))
        if chance(rng, 0.4):
            build.add("stretcher", supports.stretchers(w, d, y=height * 0.25, size=size, splay=splay * height * 0.75))


@category("tub", "foot", "tap", "rim")
def bathtub(rng: Rng, build: ShapeBuilder) -> None:
    """Claw-foot, freestanding oval and built-in tubs with their tap."""
    width, long, height = rng.uniform(0.7, 0.9), rng.uniform(1.45, 1.85), rng.uniform(0.48, 0.62)
    kind = pick(rng, "claw", "oval", "built-in")
    power = rng.uniform(2.2, 3.6)
    base = {"claw": 0.14, "oval": 0.0, "built-in": 0.0}[kind]
    belly = rng.uniform(0.6, 0.85)
    if kind == "built-in":
        shell = [(1.0, 1.0, 9.0, 0.0), (1.0, 1.0, 9.0, 1.0)]
    else:
        shell = [(belly * 0.9, belly, power, 0.0), (belly, belly * 1.06, power, 0.3), (1.0, 1.0, power, 1.0)]
    wall = rng.uniform(0.84, 0.92)
    inside = [
        (wall * 0.92, wall, power, 1.0),
        (wall * 0.85, wall * 0.92, power, 0.5),
        (wall * 0.6, wall * 0.7, power, 0.2),
    ]
    rings = [level(oval(long * a, width * b, power=p, sides=32), base + height * y) for b, a, p, y in shell + inside]
    build.add("tub", loft(rings))
    top = base + height
    if kind == "claw":
        corners = [(sx * long * 0.3 * belly, sz * width * 0.36 * belly) for sx, sz in supports.CORNERS]
        for x, z in corners:
            build.add(
                "foot", tube([(x, base + 0.1, z), (x * 1.1, base * 0.6, z * 1.3), (x * 1.15, 0.02, z * 1.2)], 0.03)
            )
            build.add("foot", ellipsoid((0.045, 0.035, 0.045), (x * 1.15, 0.035, z * 1.25), sides=10))
    if kind != "built-in":
        edge = level(oval(long, width, power=power, sides=32), top)
        build.add("rim", tube(edge, rng.uniform(0.018, 0.03), closed=True))
    x, rise = long * 0.46, rng.uniform(0.1, 0.25)
    spout = smooth(
        [(x, top, 0), (x, top + rise, 0), (x - 0.08, top + rise + 0.04, 0), (x - 0.16, top + rise - 0.03, 0)], 10
    )
    build.add("tap", tube(spout, 0.02))
    build.add("tap", [rod((x, top, s * 0.1), (x, top + 0.06, s * 0.1), radius=0.025) for s in (1, -1)])


@category("body", "keys", "leg", "lid", "pedal")
def piano(rng: Rng, build: ShapeBuilder) -> None:
    """Uprights and grands with their keyboard."""
    width = rng.uniform(1.3, 1.55)
    if chance(rng):
        _upright(rng, build, width)
    else:
        _grand(rng, build, width)


def _keyboard(build: ShapeBuilder, width: float, y: float, z: float) -> None:
    """White keys with black ones between them, the front edge at z + 0.08."""
    count = 29
    xs = (np.arange(count) - (count - 1) / 2) * width / count
    build.add("keys", [box((width / count * 0.9, 0.025, 0.16), (x, y, z)) for x in xs])
    black = [x for k, x in enumerate(xs[:-1]) if k % 7 not in (2, 6)]
    build.add(
        "keys", [box((width / count * 0.5, 0.03, 0.09), (x + width / count / 2, y + 0.02, z - 0.03)) for x in black]
    )


def _upright(rng: Rng, build: ShapeBuilder, width: float) -> None:
    tall, depth, desk_height = rng.uniform(1.05, 1.35), rng.uniform(0.3, 0.4), rng.uniform(0.6, 0.68)
    shelf = rng.uniform(0.24, 0.32)
    build.add("body", box((width, tall, depth), (0, 0, -depth / 2)))
    build.add("body", box((width, 0.12, shelf), (0, desk_height - 0.12, shelf / 2)))
    build.add("body", box((0.06, 0.22, shelf), (width / 2 - 0.03, desk_height - 0.12, shelf / 2)).mirrored())
    build.add("lid", box((width * 1.04, 0.035, depth * 1.1), (0, tall, -depth / 2)))
    build.add("lid", box((width * 0.5, 0.2, 0.02)).turn("x", -15).at((0, desk_height + 0.12, 0.06)))
    _keyboard(build, width * 0.88, desk_height, shelf - 0.09)
    leg = taper((0.06, 0.06), (0.09, 0.09), height=desk_height - 0.12, at=(width / 2 - 0.08, 0, shelf - 0.07))
    build.add("leg", leg.mirrored(), box((0.08, 0.06, shelf), (width / 2 - 0.08, 0, shelf / 2)).mirrored())
    build.add("pedal", [box((0.04, 0.02, 0.12), (x, 0.06, 0.06)) for x in (-0.09, 0, 0.09)])


def _grand(rng: Rng, build: ShapeBuilder, width: float) -> None:
    long, base, thick = rng.uniform(1.4, 2.1), rng.uniform(0.6, 0.68), rng.uniform(0.26, 0.34)
    bend = [(0.5, -0.45), (0.42, -0.62), (0.2, -0.75), (0.08, -0.9), (-0.1, -1.0), (-0.35, -1.0), (-0.47, -0.92)]
    curve = smooth(np.array(bend) * (width, long), 16)
    outline = np.concatenate(([(-width / 2, 0), (width / 2, 0)], curve))  # in x and z, the keyboard at z = 0
    case = extrude(outline * (1, -1), thick).turn("x", -90)
    build.add("body", case.at((0, base + thick / 2, 0)), box((width, 0.1, 0.26), (0, base, 0.13)))
    build.add("body", box((0.07, thick * 0.8, 0.26), (width / 2 - 0.035, base, 0.13)).mirrored())
    _keyboard(build, width * 0.86, base + 0.1, 0.15)
    if chance(rng, 0.8):
        lid = extrude(outline * (1, -1), 0.025).turn("x", -90).at((width / 2, 0, 0)).turn("z", rng.uniform(25, 42))
        build.add("lid", lid.at((-width / 2, base + thick + 0.02, 0)))
        build.add(
            "lid",
            rod((width * 0.4, base + thick, -long * 0.4), (width * 0.3, base + thick + 0.5, -long * 0.4), radius=0.012),
        )
    else:
        build.add("lid", extrude(outline * (1, -1), 0.025).turn("x", -90).at((0, base + thick + 0.02, 0)))
    size = rng.uniform(0.035, 0.06)
    spots = [(-width * 0.42, -0.1), (width * 0.42, -0.1), (-width * 0.25, -long * 0.85)]
    build.add("leg", [rod((x, 0, z), (x, base, z), radius=size * 0.7, end_radius=size) for x, z in spots])
    build.add("pedal", box((0.22, base - 0.1, 0.03), (0, 0.1, -0.25)))
    build.add("pedal", [box((0.04, 0.02, 0.16), (x, 0.1, -0.18)) for x in (-0.08, 0, 0.08)])
