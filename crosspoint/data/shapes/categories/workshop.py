"""Tools and things of the yard: cone, ladder, wrench, screwdriver, saw, shovel, pan, cutlery, fence, tree."""

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
    rod,
    rounded_box,
    smooth,
    taper,
    tube,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


@category("cone", "base", "band")
def cone(rng: Rng, build: ShapeBuilder) -> None:
    """Plain and blunt cones, traffic cones on a square or round foot, with bands; solid or hollow."""
    radius, tall = rng.uniform(0.16, 0.45), rng.uniform(0.5, 1.0)
    tip, sides = pick(rng, 0.0, rng.uniform(0.01, 0.1)) * radius, int(rng.integers(10, 41))
    kind = pick(rng, "plain", "plain", "square", "round", "hollow")
    if kind == "hollow":
        wall = radius * 0.06
        profile = [(radius, 0), (tip, tall), (max(tip - wall, 0.0), tall), (radius - wall, 0)]
        build.add("cone", lathe(profile, sides, closed=True))
    else:
        build.add("cone", lathe([(radius, 0), (tip, tall)], sides))
    if kind == "square":
        build.add("base", box((radius * 2.8, rng.uniform(0.02, 0.06), radius * 2.8)))
    elif kind == "round":
        build.add("base", lathe([(radius * 1.5, 0), (radius * 1.4, 0.05), (radius, 0.06)], sides))
    if kind != "plain" and chance(rng, 0.7):
        for low in rng.uniform(0.2, 0.7, int(rng.integers(1, 3))):
            ends = [radius + (tip - radius) * y + radius * 0.03 for y in (low, low + 0.12)]
            build.add("band", lathe([(ends[0], low * tall), (ends[1], (low + 0.12) * tall)], sides))


@category("rail", "rung", "brace")
def ladder(rng: Rng, build: ShapeBuilder) -> None:
    """Leaning ladders, step ladders with one or two flights, and rope-thin ones."""
    tall, wide, count = rng.uniform(1.2, 2.6), rng.uniform(0.3, 0.5), int(rng.integers(4, 10))
    size, kind = rng.uniform(0.015, 0.035), pick(rng, "straight", "step", "double")
    narrow, lean = rng.uniform(0.65, 1.0), rng.uniform(0, 15) if kind == "straight" else rng.uniform(12, 22)
    flight: list[tuple[str, Mesh]] = []
    rail = taper((size, size * 2), (size, size * 2), height=tall)
    shift = wide / 2 * (1 - narrow)
    for side in (1, -1):
        rings = [
            [(x + side * wide / 2 - side * shift * y / tall, y, z) for x, y, z in part]
            for part in (rail.vertices[:4], rail.vertices[4:])
        ]
        flight.append(("rail", loft(rings)))
    for y in (np.arange(count) + 0.6) / count * tall * 0.97:
        half = wide / 2 - shift * y / tall
        if kind == "straight":
            flight.append(("rung", rod((-half, y, 0), (half, y, 0), radius=size * 0.6, sides=8)))
        else:
            flight.append(("rung", box((2 * half, size * 0.8, size * 4), (0, y, 0))))
    for name, mesh in flight:
        build.add(name, mesh.turn("x", -lean))
    if kind != "straight":
        reach = 2 * tall * np.sin(np.deg2rad(lean))
        for name, mesh in flight:
            if kind == "double" or name == "rail":
                build.add("rail" if name == "rail" else "rung", mesh.turn("x", lean).at((0, 0, -reach)))
        build.add(
            "brace",
            rod(
                (wide * 0.4, tall * 0.4, -reach * 0.2), (wide * 0.4, tall * 0.4, -reach * 0.8), radius=0.008, sides=6
            ).mirrored(),
        )
        build.add("brace", box((wide * 0.8, 0.03, 0.16), (0, tall * np.cos(np.deg2rad(lean)), -reach / 2)))


@category("shaft", "jaw", "ring")
def wrench(rng: Rng, build: ShapeBuilder) -> None:
    """Open, ring, combination and adjustable wrenches, lying."""
    long, wide, thick = rng.uniform(0.6, 0.8), rng.uniform(0.05, 0.09), rng.uniform(0.02, 0.04)
    kind = pick(rng, "combination", "open", "ring", "adjustable")
    build.add("shaft", rounded_box((long, thick, wide), thick * 0.3))

    def jaw(size: float, mouth: float, turn: float) -> Mesh:
        around = circle(19, 40, stop=320, end=True) * size
        inside = [
            (mouth * 0.3, -mouth * 0.55),
            (-mouth * 0.5, -mouth * 0.5),
            (-mouth * 0.5, mouth * 0.5),
            (mouth * 0.3, mouth * 0.55),
        ]
        return extrude(np.concatenate((around, inside)), thick * 1.2).turn("x", 90).turn("y", turn)

    def ring(size: float) -> Mesh:
        sides = 18
        outer, inner = size, size * rng.uniform(0.55, 0.7)
        rings = [
            level(circle(sides) * r, y) for r, y in ((outer, 0), (outer, thick * 1.3), (inner, thick * 1.3), (inner, 0))
        ]
        return loft(rings, closed=True)

    size = wide * rng.uniform(1.0, 1.4)
    at = long / 2 + size * 0.6
    if kind == "ring":
        build.add("ring", ring(size).at((at, 0, 0)), ring(size * 0.85).at((-at, 0, 0)))
    elif kind == "adjustable":
        build.add(
            "jaw",
            box((size * 2.2, thick * 1.2, size * 0.6), (at, 0, size * 0.7)),
            box((size * 0.7, thick * 1.2, size * 2), (long / 2, 0, 0)),
        )
        build.add("jaw", box((size * 1.8, thick, size * 0.5), (at, 0, -size * rng.uniform(0.1, 0.7))))
        build.add(
            "ring",
            rod(
                (long / 2 - size * 0.2, thick * 0.5, -size * 0.4),
                (long / 2 + size * 0.3, thick * 0.5, -size * 0.4),
                radius=size * 0.25,
            ),
        )
    else:
        build.add("jaw", jaw(size, size * rng.uniform(0.7, 0.95), rng.uniform(-15, 15)).at((at, thick * 0.5, 0)))
        other = jaw(size * 0.85, size * 0.6, 180).at((-at, thick * 0.5, 0)) if kind == "open" else None
        build.add("jaw" if other else "ring", other or ring(size * 0.95).at((-at, 0, 0)))


@category("handle", "shaft", "tip")
def screwdriver(rng: Rng, build: ShapeBuilder) -> None:
    """Flat and cross-head screwdrivers with smooth, ribbed or stubby handles, lying along x."""
    grip, radius = rng.uniform(0.16, 0.32), rng.uniform(0.025, 0.055)
    long, thin = rng.uniform(0.1, 0.6), rng.uniform(0.007, 0.014)
    curve = [
        (radius * 0.6, 0),
        (radius, grip * 0.2),
        (radius * rng.uniform(0.75, 1), grip * 0.6),
        (radius * 0.9, grip * 0.85),
        (thin * 1.6, grip),
    ]
    if chance(rng):
        ribs = int(rng.integers(4, 9))
        rings = []
        for r, y in smooth(curve, 12):
            ring = circle(ribs * 4) * (r * (1 + 0.12 * np.cos(np.arange(ribs * 4) * np.pi / 2)))[:, None]
            rings.append(level(ring, y))
        handle = loft(rings)
    else:
        handle = lathe(smooth(curve, 14))
    build.add("handle", handle.turn("z", -90).at((0, radius, 0)))
    build.add("shaft", rod((grip * 0.95, radius, 0), (grip + long, radius, 0), radius=thin))
    end = grip + long
    if chance(rng):
        build.add(
            "tip",
            taper((thin * 2, thin * 3), (thin * 0.5, thin * 3.4), height=thin * 5).turn("z", -90).at((end, radius, 0)),
        )
    else:
        build.add("tip", rod((end, radius, 0), (end + thin * 3, radius, 0), radius=thin, end_radius=thin * 0.2))
        build.add(
            "tip",
            [
                box((thin * 3, thin * 2.2, thin * 0.4), (end + thin, radius - thin * 1.1, 0)),
                box((thin * 3, thin * 0.4, thin * 2.2), (end + thin, radius - thin * 0.2, 0)),
            ],
        )


@category("blade", "handle", "back")
def saw(rng: Rng, build: ShapeBuilder) -> None:
    """Hand saws with a tapered blade, back saws and bow saws, standing on the teeth."""
    long, wide, thick = rng.uniform(0.5, 0.75), rng.uniform(0.09, 0.18), 0.008
    kind, teeth = pick(rng, "hand", "back", "bow"), int(rng.integers(20, 50))
    if kind == "bow":
        wide = 0.03
    xs = np.linspace(0, long, 2 * teeth + 1)
    edge = np.stack((xs, np.where(np.arange(2 * teeth + 1) % 2, 0.0, 0.014)), 1)
    tip = wide * (rng.uniform(0.35, 0.7) if kind == "hand" else 1.0)
    build.add("blade", extrude(np.concatenate((edge, [(long, tip), (0, wide)])), thick))
    if kind == "back":
        build.add("back", box((long, 0.025, 0.02), (long / 2, wide - 0.01, 0)))
    if kind == "bow":
        high = rng.uniform(0.16, 0.28)
        build.add(
            "back",
            tube(
                [
                    (0.0, 0.02, 0),
                    (-0.02, high * 0.7, 0),
                    (0.06, high, 0),
                    (long - 0.06, high, 0),
                    (long + 0.02, high * 0.7, 0),
                    (long, 0.02, 0),
                ],
                0.012,
                sides=8,
            ),
        )
        build.add("handle", rod((-0.02, 0.0, 0), (-0.05, high * 0.75, 0), radius=0.02))
        return
    low = wide * rng.uniform(-0.1, 0.2)
    ring = np.array(
        [
            (0.02, low),
            (-0.05, low - 0.03),
            (-0.13, low),
            (-0.15, low + 0.06),
            (-0.12, low + 0.14),
            (-0.02, low + 0.15),
            (0.05, low + 0.1),
        ]
    )
    build.add(
        "handle",
        tube(
            np.column_stack((smooth(np.concatenate((ring, ring[:1])), 22)[:-1], np.zeros(21))),
            0.02,
            sides=8,
            closed=True,
        ),
    )


@category("blade", "shaft", "grip")
def shovel(rng: Rng, build: ShapeBuilder) -> None:
    """Spades, round shovels and rakes with a D grip, a T grip or a plain shaft."""
    long, wide, tall = rng.uniform(0.7, 1.2), rng.uniform(0.18, 0.32), rng.uniform(0.22, 0.36)
    kind = pick(rng, "spade", "round", "rake", "snow")
    if kind == "rake":
        build.add("blade", box((wide * 1.6, 0.03, 0.025), (0, 0.06, 0)))
        xs = np.linspace(-0.78, 0.78, int(rng.integers(7, 16))) * wide
        build.add("blade", [rod((x, 0.07, 0), (x, 0, 0.02), radius=0.008, sides=6) for x in xs])
        tall = 0.07
    else:
        if kind == "snow":
            wide *= 1.7
        rings, share = [], np.linspace(0, 1, 8)
        for y in share:
            half = wide / 2 * (np.sqrt(max(1 - (1 - y) ** 4, 0.02)) if kind == "round" else 1.0)
            xs = np.linspace(-half, half, 7)
            z = rng.uniform(0.03, 0.031) * (xs / (wide / 2)) ** 2 * 2 + 0.1 * (1 - y) ** 2
            front = np.stack((xs, np.full(7, tall * y), z + 0.006), 1)
            rings.append(np.concatenate((front, (front - (0, 0, 0.012))[::-1])))
        build.add("blade", loft(rings))
    build.add("shaft", rod((0, tall * 0.85, 0), (0, tall + long, 0), radius=rng.uniform(0.014, 0.024)))
    grip, top = pick(rng, "D", "T", "none"), tall + long
    if grip == "T":
        build.add("grip", rod((-0.08, top, 0), (0.08, top, 0), radius=0.022))
    elif grip == "D":
        path = np.array([(0, 0), (0.07, 0.05), (0.07, 0.13), (-0.07, 0.13), (-0.07, 0.05)])
        build.add("grip", tube(np.column_stack((np.add(path, (0, top)), np.zeros(5))), 0.014, sides=8, closed=True))


@category("pan", "handle", "lid")
def pan(rng: Rng, build: ShapeBuilder) -> None:
    """Frying pans, saucepans and pots with one long handle or two short ones, with or without a lid."""
    radius, tall, slope = rng.uniform(0.13, 0.2), rng.uniform(0.04, 0.2), rng.uniform(0.75, 1.0)
    build.add("pan", hollow([(radius * slope, 0), (radius * 0.98, tall * 0.7), (radius, tall)], 0.008, sides=28))
    if tall < 0.12 or chance(rng):
        rise, long = rng.uniform(0.0, 0.1), rng.uniform(0.15, 0.3)
        path = smooth(
            [
                (radius * 0.97, tall * 0.8, 0),
                (radius + long * 0.4, tall + rise * 0.6, 0),
                (radius + long, tall + rise, 0),
            ],
            8,
        )
        build.add("handle", tube(path, np.linspace(0.01, 0.018, 8)).scale((1, 1, 1.4)))
    else:
        path = circle(9, 90, stop=-90, end=True) * (0.05, 0.05)
        grip = tube(np.column_stack((path[:, 0], np.zeros(9), path[:, 1])), 0.01, sides=8)
        build.add("handle", grip.at((radius * 0.97, tall * 0.8, 0)).mirrored())
    if chance(rng, 0.4):
        lid = lathe([(radius * 1.02, 0), (radius * 0.7, 0.03), (0.02, 0.045)])
        slide = (rng.uniform(0, 0.12), tall, 0)
        build.add("lid", lid.at(slide), ellipsoid((0.022, 0.02, 0.022), np.add(slide, (0, 0.06, 0)).tolist(), sides=10))


@category("bowl", "handle", "prong")
def cutlery(rng: Rng, build: ShapeBuilder) -> None:
    """Spoons, ladles and forks, lying along x with a bent neck."""
    long, wide, thick = rng.uniform(0.5, 0.75), rng.uniform(0.05, 0.1), rng.uniform(0.008, 0.016)
    rise = rng.uniform(0.02, 0.12)
    path = smooth([(0, thick + rise, 0), (-long * 0.3, thick + rise * 1.1, 0), (-long, thick, 0)], 12)
    build.add(
        "handle", tube(path, np.linspace(thick, thick * rng.uniform(1, 1.8), 12)).scale((1, 1, rng.uniform(1, 2)))
    )
    if chance(rng, 0.45):
        count = int(rng.integers(3, 5))
        build.add("prong", ellipsoid((wide * 0.9, thick, wide), (wide * 0.6, rise * 0.8 + thick, 0), sides=14))
        for z in (np.arange(count) / (count - 1) - 0.5) * wide * 1.5:
            prong = [(wide, rise * 0.75 + thick, z), (wide * 2, thick, z), (wide * 3.2, rise * 0.5 + thick, z)]
            build.add("prong", tube(smooth(prong, 7), np.linspace(thick, thick * 0.5, 7), sides=8))
    else:
        depth, deep = rng.uniform(0.2, 1.0) * wide, rng.uniform(1.1, 1.9)
        curve = np.concatenate(
            (
                circle(8, -90, stop=0, end=True) * (wide, depth),
                circle(8, 0, stop=-85, end=True) * (wide * 0.9, depth * 0.85),
            )
        )
        build.add(
            "bowl",
            lathe(curve, 24, closed=True).scale((deep, 1, 1)).at((wide * deep * 0.9, thick + rise + depth * 0.2, 0)),
        )


@category("band", "cup", "cushion")
def headphones(rng: Rng, build: ShapeBuilder) -> None:
    """Headphones with a wide or thin band, round or oval cups, some with a microphone."""
    half, high = rng.uniform(0.13, 0.18), rng.uniform(0.16, 0.26)
    size, thick = rng.uniform(0.06, 0.11), rng.uniform(0.03, 0.06)
    arc = circle(19, 0, stop=180, end=True) * (half, high)
    wide = rng.uniform(1.0, 3.0)
    build.add("band", tube(np.column_stack((arc, np.zeros(19))), rng.uniform(0.008, 0.016)).scale((1, 1, wide)))
    stretch = (1, rng.uniform(1.0, 1.4), 1)
    cup = disc(size, thick).turn("z", 90).scale(stretch)
    pad = lathe(circle(10) * 0.022 + (size * 0.85, 0), 20, closed=True).turn("z", 90).scale(stretch)
    build.add("cup", cup.at((half + thick, 0, 0)).mirrored())
    build.add("cushion", pad.at((half - 0.01, 0, 0)).mirrored())
    if chance(rng, 0.3):
        build.add("band", tube(np.column_stack((arc * (0.95, 0.93), np.zeros(19))), 0.01).scale((1, 1, wide)))
    if chance(rng, 0.4):
        boom = smooth(
            [(half + thick * 0.5, -size * 0.6, 0.02), (half * 0.8, -size * 1.5, 0.12), (half * 0.3, -size * 1.7, 0.18)],
            8,
        )
        build.add("cup", tube(boom, 0.007, sides=6), ellipsoid((0.02, 0.016, 0.016), boom[-1], sides=8))


@category("post", "rail", "slat")
def fence(rng: Rng, build: ShapeBuilder) -> None:
    """Picket, ranch, board and iron fences with posts; some slats lean or are lost."""
    long, tall = rng.uniform(1.6, 2.6), rng.uniform(0.7, 1.3)
    kind, count = pick(rng, "picket", "ranch", "board", "iron"), int(rng.integers(2, 5))
    size = rng.uniform(0.05, 0.1)
    xs = np.linspace(-long / 2, long / 2, count)
    build.add("post", [box((size, tall * rng.uniform(1.0, 1.15), size), (x, 0, 0)) for x in xs])
    levels = np.linspace(0.18, 0.88, {"ranch": int(rng.integers(2, 5))}.get(kind, 2)) * tall
    build.add("rail", [box((long, size * (1.2 if kind == "ranch" else 0.6), size * 0.4), (0, y, 0)) for y in levels])
    if kind == "ranch":
        if chance(rng):
            build.add("slat", rod((-long / 2, levels[0], 0), (long / 2, levels[-1], 0), radius=size * 0.3))
        return
    wide = {"picket": rng.uniform(0.06, 0.1), "board": rng.uniform(0.1, 0.16), "iron": 0.02}[kind]
    places = np.arange(-long / 2 + wide, long / 2, wide * (1.06 if kind == "board" else rng.uniform(1.6, 5)))
    for x in places:
        if chance(rng, 0.04):
            continue
        high, lean = tall * rng.uniform(0.92, 0.98), rng.uniform(-4, 4) if chance(rng, 0.1) else 0.0
        if kind == "iron":
            build.add("slat", rod((x, 0.05, 0), (x, high, 0), radius=0.009, sides=6))
        else:
            point = 0.12 * tall if kind == "picket" else 0.0
            outline = [(-wide / 2, 0), (wide / 2, 0), (wide / 2, high - point), (0, high), (-wide / 2, high - point)]
            build.add(
                "slat",
                extrude(outline if point else [*outline[:3], outline[4]], 0.02)
                .turn("z", lean)
                .at((x, 0.04, size * 0.4)),
            )


@category("trunk", "crown", "branch")
def tree(rng: Rng, build: ShapeBuilder) -> None:
    """Firs in layers, round and columnar trees, palms and bare ones with branches."""
    kind, tall = pick(rng, "fir", "round", "column", "palm", "bare"), rng.uniform(1.0, 1.6)
    thick, bend = rng.uniform(0.03, 0.07), rng.uniform(-0.12, 0.12)
    stem = smooth([(0, 0, 0), (bend * 0.4, tall * 0.5, 0), (bend, tall, 0)], 8)
    build.add("trunk", tube(stem, np.linspace(thick * 1.3, thick * 0.5, 8)))
    if kind == "fir":
        layers, wide = int(rng.integers(2, 6)), rng.uniform(0.25, 0.45)
        for k in range(layers):
            low, size = tall * (0.25 + 0.65 * k / layers), wide * (1 - 0.7 * k / layers)
            build.add(
                "crown",
                lathe([(size, 0), (0, tall * 0.9 / layers + 0.1)], int(rng.integers(8, 20))).at(
                    (bend * low / tall, low, 0)
                ),
            )
    elif kind in ("round", "column"):
        for _ in range(int(rng.integers(1, 7))):
            stretch = np.array((1, 1.0 if kind == "round" else 1.9, 1)) * rng.uniform(0.8, 1.2, 3)
            x, y, z = (rng.uniform(0.2, 0.38) * stretch).tolist()
            spread = 0.0 if kind == "column" else 0.22
            at = (bend + rng.uniform(-spread, spread), tall * rng.uniform(0.85, 1.15), rng.uniform(-spread, spread))
            build.add("crown", ellipsoid((x, y, z), at, sides=12))
    elif kind == "palm":
        for k in range(int(rng.integers(6, 12))):
            lean, long = rng.uniform(-0.1, 0.35), rng.uniform(0.35, 0.6)
            frond = smooth([(0, 0), (long * 0.5, lean * 0.5), (long, lean - 0.35)], 7)
            blade = tube(
                np.column_stack((frond, np.zeros(7))), np.array([0.01, 0.05, 0.06, 0.06, 0.05, 0.03, 0.005]), sides=6
            )
            build.add("crown", blade.scale((1, 0.5, 1)).turn("y", 40 * k + rng.uniform(0, 30)).at((bend, tall, 0)))
    if kind == "bare" or chance(rng, 0.3):
        for _ in range(int(rng.integers(5, 14))):
            share, turn, long = rng.uniform(0.35, 0.95), rng.uniform(0, 6.28), rng.uniform(0.2, 0.5)
            start = np.array((bend * share, tall * share, 0))
            end = start + long * np.array((np.cos(turn), rng.uniform(0.3, 1.1), np.sin(turn)))
            build.add("branch", rod(start, end, radius=thick * 0.4, end_radius=0.006, sides=6))
            if chance(rng):
                build.add(
                    "branch",
                    rod(
                        (start + end) / 2,
                        (start + end) / 2 + (end - start)[[2, 1, 0]] * (0.5, 0.4, -0.5),
                        radius=thick * 0.25,
                        end_radius=0.005,
                        sides=6,
                    ),
                )
