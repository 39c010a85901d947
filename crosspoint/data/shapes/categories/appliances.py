"""Things with a plug or a spring: radio, keyboard, console, microwave, washing machine, fan, clock."""

import numpy as np

from crosspoint.data.shapes import supports
from crosspoint.data.shapes.primitives import (
    Mesh,
    box,
    circle,
    disc,
    extrude,
    lathe,
    loft,
    rod,
    rounded_box,
    smooth,
    taper,
    torus,
    tube,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


@category("body", "speaker", "control", "antenna")
def radio(rng: Rng, build: ShapeBuilder) -> None:
    """Portable sets with handle and antenna, table sets, round-topped old ones and long recorders."""
    kind = pick(rng, "portable", "table", "old", "recorder", "alarm")
    width, tall, depth = rng.uniform(0.45, 0.8), rng.uniform(0.26, 0.42), rng.uniform(0.12, 0.24)
    if kind == "recorder":
        width *= 1.3
    if kind == "old":
        tall *= 1.6
        outline = np.concatenate(
            (
                [(-width / 2, 0), (width / 2, 0)],
                circle(15, 0, stop=180, end=True) * (width / 2, tall * 0.5) + (0, tall * 0.5),
            )
        )
        build.add("body", extrude(outline, depth))
    elif kind == "alarm":
        tall *= 0.5
        build.add("body", taper((width, depth * 1.3), (width * 0.9, depth * 0.9), height=tall))
    else:
        build.add("body", rounded_box((width, tall, depth), rng.uniform(0.01, 0.05)))
    front = depth / 2
    size = min(tall * 0.36, width * 0.2)
    places = {"portable": (-0.25,), "table": (0.25,), "old": (0.0,), "recorder": (-0.3, 0.3), "alarm": ()}[kind]
    for place in places:
        ring = disc(size, 0.03).turn("x", 90).at((place * width, tall * (0.62 if kind == "old" else 0.5), front - 0.01))
        build.add(
            "speaker",
            ring if chance(rng) else box((size * 2, size * 2, 0.03), (place * width, tall * 0.5 - size, front)),
        )
        build.add(
            "speaker",
            disc(size * 0.45, 0.045)
            .turn("x", 90)
            .at((place * width, tall * (0.62 if kind == "old" else 0.5), front - 0.01)),
        )
    knobs = int(rng.integers(1, 5))
    xs = np.linspace(-0.3, 0.3, knobs) * width if knobs > 1 else [width * 0.3]
    build.add("control", [disc(0.03, 0.04).turn("x", 90).at((x, tall * 0.15, front - 0.005)) for x in xs])
    build.add("control", box((width * rng.uniform(0.25, 0.6), tall * 0.14, 0.015), (0, tall * 0.75, front)))
    if kind in ("portable", "recorder"):
        grip = [
            (-width * 0.4, tall * 0.9, 0),
            (-width * 0.4, tall * 1.3, 0),
            (width * 0.4, tall * 1.3, 0),
            (width * 0.4, tall * 0.9, 0),
        ]
        build.add("control", tube(grip, 0.016, sides=8))
    if kind != "old" and chance(rng, 0.75):
        lean, long = np.deg2rad(rng.uniform(-60, 60)), rng.uniform(0.3, 0.8)
        x = width * rng.uniform(-0.45, 0.45)
        build.add(
            "antenna",
            rod(
                (x, tall * 0.95, -depth * 0.35),
                (x + long * np.sin(lean), tall + long * np.cos(lean), -depth * 0.35),
                radius=0.012,
                end_radius=0.006,
            ),
        )


@category("case", "key", "rest")
def keyboard(rng: Rng, build: ShapeBuilder) -> None:
    """Computer keyboards with blocks of keys, flat or stepped, split or curved, with or without a palm rest."""
    width, depth, thick = rng.uniform(0.85, 1.1), rng.uniform(0.26, 0.42), rng.uniform(0.015, 0.06)
    block = pick(rng, ("main",), ("main", "pad"), ("main", "arrows", "pad"))
    slope = rng.uniform(0, 8)
    parts: list[tuple[str, Mesh]] = [("case", rounded_box((width, thick, depth), min(0.02, thick * 0.4)))]
    shares = {"main": 0.64, "arrows": 0.13, "pad": 0.2}
    total = sum(shares[name] for name in block)
    x, rows = -width * 0.47, int(rng.integers(4, 7))
    deep, high = depth * 0.84 / rows, rng.uniform(0.008, 0.03)
    slab = chance(rng, 0.2)
    for name in block:
        span = width * 0.94 * shares[name] / total
        columns = max(2, round({"main": 14, "arrows": 3, "pad": 4}[name] * rng.uniform(0.85, 1.1)))
        wide = span * 0.96 / columns
        if slab:
            parts.append(("key", box((span * 0.95, high, depth * 0.8), (x + span / 2, thick, 0))))
        else:
            for row in range(rows):
                z = (row + 0.5 - rows / 2) * deep
                keys = [(k + 0.5) * wide for k in range(columns)]
                if name == "main" and row == rows - 1:
                    keys = [k for k in keys if abs(k - span / 2) > wide * 2.6]
                    parts.append(
                        (
                            "key",
                            taper(
                                (wide * 5, deep * 0.85),
                                (wide * 4.8, deep * 0.7),
                                height=high,
                                at=(x + span / 2, thick, z),
                            ),
                        )
                    )
                parts += [
                    (
                        "key",
                        taper((wide * 0.9, deep * 0.88), (wide * 0.7, deep * 0.7), height=high, at=(x + k, thick, z)),
                    )
                    for k in keys
                ]
        x += span
    for name, mesh in parts:
        build.add(name, mesh.turn("x", slope))
    if chance(rng, 0.3):
        build.add(
            "rest",
            taper(
                (width, 0.1),
                (width * 0.96, 0.06),
                height=thick * 0.8,
                at=(0, -depth / 2 * np.sin(np.deg2rad(slope)), depth * 0.62),
            ),
        )
    if chance(rng, 0.4):
        build.add("rest", box((0.06, 0.05, 0.03), (width * 0.42, -0.03, -depth * 0.45)).mirrored())


@category("body", "front", "controller")
def xbox(rng: Rng, build: ShapeBuilder) -> None:
    """Game consoles lying or upright, boxes, waisted boxes and slabs, with slots, and sometimes a controller."""
    wide, thick, deep = rng.uniform(0.8, 1.0), rng.uniform(0.18, 0.34), rng.uniform(0.7, 0.95)
    kind = pick(rng, "box", "waisted", "ridged", "slab", "tower")
    parts: list[tuple[str, Mesh]] = []
    if kind == "waisted":
        pinch = rng.uniform(0.75, 0.9)
        shares = [(1.0, -0.5), (pinch, 0.0), (1.0, 0.5)]
        curve = smooth(np.array(shares), 11)
        rings = [
            [
                (wide * s, thick * r * (0.5 + v), deep * u)
                for u, v in ((-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5))
            ]
            for r, s in curve
        ]
        parts.append(("body", loft(rings)))
    elif kind == "tower":
        deep, thick = thick * rng.uniform(1.6, 2.2), thick * rng.uniform(1.6, 2.2)
        parts.append(("body", rounded_box((wide, thick, deep), 0.02)))
    else:
        parts.append(
            ("body", rounded_box((wide, thick * (0.5 if kind == "slab" else 1), deep), rng.uniform(0.005, 0.06)))
        )
    high = thick * (0.5 if kind == "slab" else 1)
    if kind == "ridged":
        parts += [
            ("body", box((wide * 0.96, high * 0.1, deep * 0.05), (0, high, z * deep)))
            for z in np.linspace(-0.4, 0.4, 7)
        ]
        parts.append(("body", disc(min(wide, deep) * 0.2, high * 0.15, at=(0, high * 0.97, 0))))
    parts.append(("front", box((wide * 0.6, high * 0.1, 0.02), (-wide * 0.1, high * 0.6, deep / 2))))
    for x in np.linspace(0.2, 0.42, int(rng.integers(1, 4))):
        parts.append(("front", disc(high * 0.12, 0.02).turn("x", 90).at((wide * x, high * 0.3, deep / 2 - 0.005))))
    upright = chance(rng, 0.75)
    for name, mesh in parts:
        build.add(name, mesh.turn("z", 90) if upright else mesh)
    if chance(rng, 0.35):
        size, z = rng.uniform(0.16, 0.24), deep * rng.uniform(0.75, 1.0)
        grip = rounded_box((size * 1.6, size * 0.4, size), size * 0.15, at=(0, 0, z))
        horn = rod(
            (size * 0.6, size * 0.2, z),
            (size * 0.95, size * 0.12, z + size * 0.9),
            radius=size * 0.28,
            end_radius=size * 0.18,
        )
        build.add("controller", grip, horn.mirrored())
        build.add(
            "controller",
            [rod((x, size * 0.3, z), (x, size * 0.65, z), radius=size * 0.1) for x in (-size * 0.4, size * 0.4)],
        )


@category("body", "door", "control")
def microwave(rng: Rng, build: ShapeBuilder) -> None:
    """Ovens on feet with a door at the left, which may stand open, and buttons or knobs at the right."""
    width, tall, depth = rng.uniform(0.8, 1.0), rng.uniform(0.42, 0.58), rng.uniform(0.5, 0.75)
    wall, share = 0.03, rng.uniform(0.68, 0.78)
    room = width * share
    x = -width / 2 + room / 2
    for y in (0.0, tall - wall):
        build.add("body", box((width, wall, depth), (0, y, 0)))
    build.add(
        "body", box((wall, tall, depth), (-width / 2 + wall / 2, 0, 0)), box((width, tall, wall), (0, 0, -depth / 2))
    )
    build.add("body", box((width - room, tall, depth), (width / 2 - (width - room) / 2, 0, 0)))
    build.add(
        "body", [mesh.at((0, -0.03, 0)) for mesh in supports.feet(width * 0.9, depth * 0.9, height=0.04, size=0.025)]
    )
    leaf = [
        box((room, tall * 0.98, 0.035), (room / 2, 0, 0)),
        box((0.02, tall * 0.7, 0.03), (room - 0.04, tall * 0.14, 0.04)),
    ]
    swing = -rng.uniform(40, 110) if chance(rng, 0.3) else 0.0
    build.add("door", [mesh.turn("y", swing).at((x - room / 2, 0.005, depth / 2)) for mesh in leaf])
    spot = width / 2 - (width - room) / 2
    if chance(rng):
        build.add(
            "control",
            [disc(0.05, 0.04, sides=16).turn("x", 90).at((spot, tall * y, depth / 2 - 0.005)) for y in (0.25, 0.6)],
        )
    else:
        keys = [
            box((0.035, 0.035, 0.015), (spot + (c - 1) * 0.05, tall * 0.12 + r * 0.055, depth / 2))
            for c in range(3)
            for r in range(4)
        ]
        build.add("control", keys)
    if chance(rng):
        build.add("control", box((0.14, 0.06, 0.012), (spot, tall * 0.82, depth / 2)))


@category("body", "door", "control")
def washing_machine(rng: Rng, build: ShapeBuilder) -> None:
    """Front and top loaders with a round door or a lid, and a strip with knobs."""
    width, tall, depth = rng.uniform(0.55, 0.65), rng.uniform(0.8, 0.95), rng.uniform(0.45, 0.65)
    build.add("body", rounded_box((width, tall, depth), rng.uniform(0.005, 0.03)))
    front, strip = depth / 2, rng.uniform(0.08, 0.13)
    if chance(rng, 0.7):
        size, y = rng.uniform(0.15, 0.22), tall * rng.uniform(0.42, 0.5)
        ring = torus(size, 0.03).turn("x", 90).at((0, y, front))
        build.add(
            "door",
            ring,
            lathe([(size, 0), (size * 0.9, 0.03), (size * 0.5, 0.06)]).turn("x", 90).at((0, y, front - 0.01)),
        )
        build.add("control", box((width * 0.94, strip, 0.02), (0, tall - strip - 0.03, front)))
        build.add(
            "control",
            disc(strip * 0.35, 0.05).turn("x", 90).at((width * rng.uniform(-0.2, 0.4), tall - strip / 2 - 0.03, front)),
        )
    else:
        build.add("control", box((width, strip * 1.4, 0.1), (0, tall, -depth / 2 + 0.05)))
        lid = box((width * 0.8, 0.03, depth * 0.6), (0, 0, depth * 0.3)).turn(
            "x", -rng.uniform(0, 100) if chance(rng, 0.4) else 0
        )
        build.add("door", lid.at((0, tall, -depth * 0.2)))
        build.add(
            "control",
            [
                disc(0.03, 0.03).turn("x", 90).at((x * width, tall + strip * 0.6, -depth / 2 + 0.1))
                for x in (-0.3, 0.1, 0.3)
            ],
        )
    if chance(rng, 0.6):
        build.add(
            "body", [mesh.at((0, -0.04, 0)) for mesh in supports.feet(width * 0.9, depth * 0.9, height=0.05, size=0.03)]
        )


@category("blade", "guard", "stand", "motor")
def fan(rng: Rng, build: ShapeBuilder) -> None:
    """Table and floor fans with a wire guard and three to five blades, and ceiling fans."""
    size, count = rng.uniform(0.18, 0.28), int(rng.integers(3, 6))
    ceiling = chance(rng, 0.3)
    reach = size * (1.8 if ceiling else 0.92)
    blade = extrude([(0.04, -0.03), (reach * 0.4, -0.06), (reach, -0.05), (reach, 0.05), (0.04, 0.03)], 0.012).turn(
        "x", rng.uniform(15, 40)
    )
    blades = [blade.turn("z", 360 * k / count) for k in range(count)]
    if ceiling:
        drop = rng.uniform(0.15, 0.5)
        build.add("blade", [mesh.turn("x", 90) for mesh in blades])
        build.add("motor", lathe([(0.05, -0.05), (0.09, -0.03), (0.09, 0.04), (0.03, 0.07)]))
        build.add("stand", rod((0, 0.05, 0), (0, drop, 0), radius=0.012), lathe([(0.02, drop - 0.05), (0.07, drop)]))
        return
    high = pick(rng, rng.uniform(0.28, 0.4), rng.uniform(0.8, 1.2))
    lean = rng.uniform(-15, 15)
    build.add("blade", [mesh.turn("x", lean).at((0, high, 0.06)) for mesh in blades])
    rings = [
        torus(size * r, 0.006, sides=20).turn("x", 90).at((0, 0, z)) for r, z in ((1.0, 0), (0.6, 0.05), (0.6, -0.05))
    ]
    spokes = [
        tube([(0.03 * c, 0.03 * s, z), (size * 0.6 * c, size * 0.6 * s, z), (size * c, size * s, 0)], 0.004, sides=5)
        for c, s in circle(int(rng.integers(8, 17)))
        for z in (0.05, -0.05)
    ]
    build.add("guard", [mesh.turn("x", lean).at((0, high, 0.06)) for mesh in (*rings, *spokes)])
    build.add(
        "motor", lathe([(0.03, 0), (0.06, 0.03), (0.06, 0.12), (0.03, 0.15)]).turn("x", -90 + lean).at((0, high, 0.04))
    )
    build.add("stand", rod((0, 0, -0.03), (0, high - 0.03, -0.03), radius=0.015))
    build.add("stand", lathe([(rng.uniform(0.12, 0.22), 0), (0.1, 0.03), (0.02, 0.05)], at=(0, 0, -0.03)))


@category("case", "face", "hand")
def clock(rng: Rng, build: ShapeBuilder) -> None:
    """Round and square wall clocks, alarm clocks with bells and tall case clocks."""
    kind = pick(rng, "round", "square", "alarm", "tall")
    size, thick = rng.uniform(0.2, 0.3), rng.uniform(0.03, 0.1)
    middle = size
    if kind == "tall":
        tall, wide = rng.uniform(1.3, 1.9), size * 1.5
        build.add("case", box((wide, tall, 0.2), (0, 0, -0.1)), box((wide * 1.3, 0.2, 0.26), (0, 0, -0.1)))
        build.add("case", taper((wide * 1.3, 0.26), (wide * 0.9, 0.2), height=0.15, at=(0, tall, -0.1)))
        build.add(
            "hand",
            rod((0, tall * 0.35, 0.02), (0, tall * 0.7, 0.02), radius=0.01),
            disc(0.07, 0.02).turn("x", 90).at((0, tall * 0.33, 0.01)),
        )
        middle, size = tall - size * 0.8, size * 0.6
    elif kind == "square":
        build.add("case", box((2.1 * size, 2.1 * size, thick), (0, middle - 1.05 * size, -thick / 2)))
    else:
        build.add("case", disc(size * 1.06, thick).turn("x", 90).at((0, middle, -thick)))
        build.add("case", torus(size * 1.05, 0.02).turn("x", 90).at((0, middle, 0)))
    if kind == "alarm":
        build.add(
            "case",
            rod(
                (size * 0.5, middle - size * 0.8, -thick / 2), (size * 0.7, -size * 0.3, -thick / 2), radius=0.018
            ).mirrored(),
        )
        bell = lathe(np.concatenate((circle(8, 0, stop=90, end=True) * size * 0.4, [(0, 0)])), 16)
        build.add("case", bell.turn("z", -35).at((size * 0.55, middle + size * 0.95, -thick / 2)).mirrored())
    build.add("face", disc(size, 0.015).turn("x", 90).at((0, middle, -0.005)))
    marks = [
        box((0.012, size * 0.12, 0.02), (0, size * 0.82, 0)).turn("z", 30 * k).at((0, middle, 0.01)) for k in range(12)
    ]
    build.add("face", marks)
    for long, wide in ((0.75, 0.015), (0.5, 0.025)):
        build.add("hand", box((wide, size * long, 0.01)).turn("z", rng.uniform(0, 360)).at((0, middle, 0.025)))
