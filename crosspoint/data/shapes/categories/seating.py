"""Things to sit on: chair, stool, sofa, bench, toilet."""

import numpy as np

from crosspoint.data.shapes import supports
from crosspoint.data.shapes.primitives import (
    Mesh,
    box,
    circle,
    disc,
    level,
    loft,
    oval,
    rod,
    rounded_box,
    sheet,
    taper,
    torus,
    tube,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


@category("seat", "back", "leg", "arm")
def chair(rng: Rng, build: ShapeBuilder) -> None:
    """Dining, office, tulip, sled and cantilever chairs; backs of slats, rungs, panel, shell or spindles."""
    width, depth, height = rng.uniform(0.4, 0.56), rng.uniform(0.4, 0.52), rng.uniform(0.38, 0.5)
    kind = pick(rng, "four", "splayed", "star", "sled", "tulip", "cantilever")
    size, round_seat = rng.uniform(0.012, 0.024), kind != "four" and chance(rng, 0.4)
    if kind in ("four", "splayed"):
        reach = 0.74 if round_seat else 1.0  # the corners under a round seat
        splay = rng.uniform(0.05, 0.2) if kind == "splayed" else 0.0
        build.add(
            "leg",
            supports.legs(width * reach, depth * reach, height=height, size=size, round_=chance(rng), splay=splay),
        )
        if chance(rng, 0.4):
            rails = supports.stretchers(
                width * reach, depth * reach, y=height * 0.35, size=size, splay=splay * height * 0.65
            )
            build.add("leg", rails)
    elif kind == "star":
        arms, castors = int(rng.integers(4, 7)), chance(rng, 0.7)
        build.add("leg", supports.star(rng.uniform(0.24, 0.34), height, column=size * 1.4, arms=arms, castors=castors))
    elif kind == "tulip":
        build.add("leg", supports.tulip(width * rng.uniform(0.4, 0.55), height, waist=size * 1.6))
    elif kind == "sled":
        build.add("leg", supports.sled(width, depth, height=height, size=size))
    else:
        build.add("leg", supports.cantilever(width, depth, height=height, size=size))
    build.add("seat", _seat(rng, width, depth, height, round_seat))
    tall = rng.uniform(0.32, 0.62)
    back = _shell_back(rng, width, tall) if round_seat else _back(rng, width, tall)
    lean = rng.uniform(-16, -3)
    build.add("back", [mesh.turn("x", lean).at((0, height, -depth * 0.44 * (not round_seat))) for mesh in back])
    if chance(rng, 0.4):
        build.add("arm", _chair_arms(rng, width, depth, height, size))


def _seat(rng: Rng, width: float, depth: float, height: float, round_: bool) -> Mesh:
    thick = rng.uniform(0.02, 0.07)
    if round_:
        return disc(width / 2, thick, at=(0, height, 0))
    if chance(rng):
        return rounded_box((width, thick + 0.02, depth), 0.03, at=(0, height, 0))
    return loft([level(oval(width, depth, power=rng.uniform(4, 9)), y) for y in (height, height + thick)])


def _back(rng: Rng, width: float, tall: float) -> list[Mesh]:
    """A straight back, its foot at the origin."""
    size, kind = rng.uniform(0.012, 0.022), pick(rng, "slats", "rungs", "panel", "hoop", "gap")
    if kind == "panel":
        return [rounded_box((width * rng.uniform(0.8, 1), tall, rng.uniform(0.025, 0.06)), 0.02)]
    if kind == "gap":
        post = box((0.03, tall, 0.02), (width * 0.3, 0, 0))
        return [*post.mirrored(), rounded_box((width * 0.95, tall * 0.5, 0.04), 0.02, at=(0, tall * 0.5, 0.02))]
    x = width / 2 - size
    count = int(rng.integers(3, 8))
    if kind == "hoop":
        arch = circle(15, 180, stop=0, end=True) * (x, tall * 0.4) + (0, tall * 0.6)
        arch = np.concatenate(([(-x, 0)], arch, [(x, 0)]))
        spindles = [
            rod((t, 0, 0), (t, tall * (0.6 + 0.38 * np.sqrt(1 - (t / x) ** 2)), 0), radius=size * 0.5, sides=8)
            for t in np.linspace(-x, x, count + 2)[1:-1]
        ]
        return [tube(np.column_stack((arch, np.zeros(len(arch)))), size), *spindles]
    posts = list(box((2 * size, tall, 2 * size), (x, 0, 0)).mirrored())
    if kind == "slats":
        bars = [box((size * 1.2, tall * 0.8, size), (t, tall * 0.15, 0)) for t in np.linspace(-x, x, count + 2)[1:-1]]
        bars += [box((2 * x, tall * 0.12, size * 1.5), (0, y, 0)) for y in (tall * 0.88, tall * 0.12)]
        return posts + bars
    rungs = np.linspace(tall * 0.25, tall * 0.85, int(rng.integers(2, 5)))
    return posts + [box((2 * x, tall * rng.uniform(0.08, 0.14), size), (0, y, 0)) for y in rungs]


def _shell_back(rng: Rng, width: float, tall: float) -> list[Mesh]:
    """A curved wall around the back half of a round seat, or spindles under a bent rail."""
    spread = rng.uniform(60, 115)
    arc = circle(17, 270 - spread, stop=270 + spread, end=True) * (width / 2 - 0.015)
    if chance(rng, 0.6):
        return [sheet(arc, 0.025, height=tall * rng.uniform(0.6, 1))]
    rail = tube(np.insert(arc, 1, tall * 0.7, axis=1), 0.018)
    return [rail, *(rod((x, 0, z), (x, tall * 0.7, z), radius=0.009, sides=8) for x, z in arc[::2])]


def _chair_arms(rng: Rng, width: float, depth: float, height: float, size: float) -> list[Mesh]:
    x, rise = width / 2 + size, rng.uniform(0.17, 0.26)
    z = depth * rng.uniform(0.2, 0.4)
    if chance(rng):
        loop = [(x, height, z), (x, height + rise, z), (x, height + rise, -depth * 0.45), (x, height, -depth * 0.45)]
        return list(tube(loop, size).mirrored())
    post = rod((x, height, z * 0.3), (x, height + rise, z * 0.3), radius=size)
    pad = rounded_box((0.06, 0.03, depth * 0.75), 0.012, at=(x, height + rise, -depth * 0.1))
    return [*post.mirrored(), *pad.mirrored()]


@category("seat", "leg", "rung")
def stool(rng: Rng, build: ShapeBuilder) -> None:
    """Bar, milking and swivel stools, without a back."""
    width, height = rng.uniform(0.28, 0.4), rng.uniform(0.35, 0.8)
    thick, size = rng.uniform(0.03, 0.09), rng.uniform(0.014, 0.024)
    kind = pick(rng, "four", "three", "pedestal", "star")
    square = kind == "four" and chance(rng, 0.6)
    if kind == "four":
        splay, share, across = rng.uniform(0, 0.16), rng.uniform(0.2, 0.45), width * (1.0 if square else 0.74)
        build.add("leg", supports.legs(across, across, height=height, size=size, round_=not square, splay=splay))
        rungs = supports.stretchers(across, across, y=height * share, size=size, splay=splay * height * (1 - share))
        build.add("rung", rungs)
    elif kind == "three":
        foot, top = width * rng.uniform(0.55, 0.75), width * 0.32
        feet = [((foot * x, 0, foot * z), (top * x, height, top * z)) for x, z in circle(3, 90, stop=450)]
        build.add("leg", [rod(low, high, radius=size * 0.7, end_radius=size) for low, high in feet])
        if chance(rng):
            build.add("rung", torus(foot * 0.65 + top * 0.35 + size * 0.5, size * 0.5, at=(0, height * 0.35, 0)))
    elif kind == "pedestal":
        build.add("leg", supports.pedestal(width * rng.uniform(0.5, 0.65), height, column=size * 1.3))
        ring = torus(width * 0.4, size * 0.6, at=(0, height * 0.35, 0))
        build.add(
            "rung", ring, rod((-width * 0.4, height * 0.35, 0), (width * 0.4, height * 0.35, 0), radius=size * 0.6)
        )
    else:
        build.add(
            "leg",
            supports.star(
                width * rng.uniform(0.6, 0.8), height, column=size * 1.2, arms=int(rng.integers(4, 7)), castors=True
            ),
        )
    if square:
        build.add("seat", rounded_box((width, thick, width * rng.uniform(0.8, 1.1)), thick * 0.3, at=(0, height, 0)))
    else:
        rings = [(0.97, 0), (1, 0.3), (1, 0.8), (0.9, 1), (0.5, rng.uniform(0.75, 1.2))]
        build.add("seat", loft([level(circle(24) * width / 2 * r, height + thick * y) for r, y in rings]))


@category("seat", "back", "arm", "leg", "cushion")
def sofa(rng: Rng, build: ShapeBuilder) -> None:
    """Armchairs to four-seaters: box, rolled or no arms, loose cushions, chaise corners."""
    width, depth = rng.uniform(1.0, 2.5), rng.uniform(0.75, 1.0)
    height, tall = rng.uniform(0.34, 0.46), rng.uniform(0.7, 0.95)
    leg, thick = rng.uniform(0.03, 0.16), rng.uniform(0.14, 0.26)
    inner = width - 2 * thick
    build.add("leg", supports.feet(width * 0.96, depth * 0.9, height=leg, size=rng.uniform(0.02, 0.035)))
    build.add("seat", rounded_box((width, height * 0.72 - leg, depth), 0.03, at=(0, leg, 0)))
    back = rounded_box((width, tall - leg, thick), 0.06, at=(0, 0, 0))
    build.add("back", back.turn("x", rng.uniform(-9, 0)).at((0, leg, -depth / 2 + thick * 0.6)))
    arms = pick(rng, "box", "rolled", "low", "none")
    rise = height + rng.uniform(0.12, 0.26)
    if arms == "box":
        build.add("arm", rounded_box((thick, rise - leg, depth), 0.05, at=(width / 2 - thick / 2, leg, 0)).mirrored())
    elif arms == "rolled":
        radius, x = thick * rng.uniform(0.55, 0.7), width / 2 - thick * 0.4
        roll = rod((x, rise, -depth / 2), (x, rise, depth / 2), radius=radius, sides=18)
        build.add("arm", roll.mirrored(), box((thick * 0.7, rise - leg, depth * 0.98), (x, leg, 0)).mirrored())
    elif arms == "low":
        slope = taper(
            (thick, depth), (thick, depth * 0.55), height=rise - leg, at=(width / 2 - thick / 2, leg, -depth * 0.02)
        )
        build.add("arm", slope.mirrored())
    else:
        inner = width
    _sofa_cushions(rng, build, inner, depth, height, thick, tall)
    if width > 1.6 and chance(rng, 0.35):
        wide, long = inner / 3, depth * rng.uniform(0.5, 0.8)
        build.add(
            "seat",
            rounded_box((wide, height - leg, long + 0.1), 0.06, at=(inner / 3, leg, depth / 2 + long / 2 - 0.05)),
        )


def _sofa_cushions(
    rng: Rng, build: ShapeBuilder, inner: float, depth: float, height: float, thick: float, tall: float
) -> None:
    count = max(1, round(inner / rng.uniform(0.5, 0.9)))
    each, upright = inner / count, chance(rng, 0.7)
    for k in range(count):
        x = (k + 0.5) * each - inner / 2
        seat = rounded_box((each * 0.97, height * 0.34, depth - thick), 0.06, at=(x, height * 0.68, thick * 0.5))
        build.add("cushion", seat)
        if upright:
            rest = rounded_box((each * 0.95, (tall - height) * 0.95, 0.16), 0.07)
            build.add("cushion", rest.turn("x", -12).at((x, height, -depth / 2 + thick + 0.06)))


@category("seat", "back", "leg", "arm")
def bench(rng: Rng, build: ShapeBuilder) -> None:
    """Park benches with slats, garden slabs on blocks, long trestle seats; with or without a back."""
    width, depth, height = rng.uniform(1.1, 2.1), rng.uniform(0.34, 0.48), rng.uniform(0.38, 0.48)
    slats = int(rng.integers(3, 7)) if chance(rng, 0.7) else 1
    each = depth / slats
    thick = rng.uniform(0.03, 0.06) if slats > 1 else rng.uniform(0.05, 0.11)
    for k in range(slats):
        build.add(
            "seat", box((width, thick, each * (0.75 if slats > 1 else 1)), (0, height, (k + 0.5) * each - depth / 2))
        )
    kind, size, inset = pick(rng, "four", "panels", "curved", "trestle"), rng.uniform(0.025, 0.045), width * 0.92
    if kind == "four":
        build.add("leg", supports.legs(inset, depth, height=height, size=size, round_=False))
    elif kind == "panels":
        build.add("leg", supports.panels(inset, depth, height=height, size=size * rng.uniform(1.2, 2.5)))
    elif kind == "trestle":
        build.add("leg", supports.trestle(width * 1.1, depth * 1.1, height=height, size=size * 0.8))
    else:
        x, z = inset / 2 - size, depth / 2
        side = [
            (x, 0, z),
            (x, height * 0.5, z * 0.6),
            (x, height, z * 0.8),
            (x, height, -z),
            (x, height * 0.5, -z * 0.7),
        ]
        build.add("leg", tube([*side, (x, 0, -z * 1.2)], size * 0.8).mirrored())
    if kind == "trestle" or chance(rng, 0.35):
        return
    tall, lean, bars = rng.uniform(0.32, 0.48), rng.uniform(-18, -5), int(rng.integers(2, 5))
    post = box((size * 1.4, tall, size), (inset / 2 - size, 0, 0))
    back = [box((width, tall / bars * 0.6, 0.025), (0, (k + 0.4) * tall / bars, 0.02)) for k in range(bars)]
    if chance(rng, 0.3):
        back = [box((0.035, tall * 0.75, 0.02), (x, tall * 0.2, 0)) for x in np.linspace(-0.44, 0.44, 14) * width]
        back.append(box((width, tall * 0.14, 0.04), (0, tall * 0.9, 0)))
    build.add("back", [mesh.turn("x", lean).at((0, height, -depth / 2)) for mesh in (*post.mirrored(), *back)])
    if chance(rng, 0.6):
        x = inset / 2 - size
        arm = [(x, height, depth * 0.42), (x, height + 0.2, depth * 0.4), (x, height + 0.22, -depth * 0.5)]
        build.add("arm", tube(arm, size * 0.7).mirrored())


@category("bowl", "seat", "lid", "tank", "flush")
def toilet(rng: Rng, build: ShapeBuilder) -> None:
    """Close-coupled, high-tank and tankless wall toilets, the lid open or shut."""
    width, long, height = rng.uniform(0.34, 0.4), rng.uniform(0.44, 0.56), rng.uniform(0.36, 0.43)
    kind = pick(rng, "close", "high", "wall")
    waist = rng.uniform(0.4, 0.75)
    outside = [(waist * 1.1, 0.0), (waist, 0.25), (waist * 1.05, 0.5), (0.9, 0.8), (1, 1)]
    if kind == "wall":
        outside = [(0.3, 0.3), (0.75, 0.45), (0.95, 0.75), (1, 1)]
    inside = [(0.74, 1), (0.66, 0.75), (0.3, 0.5)]
    build.add("bowl", loft([level(oval(width * r, long * r, power=2.4), height * y) for r, y in outside + inside]))
    ring = oval(width, long, power=2.4)
    rim = [(1.03, 0.0), (1.03, 0.025), (0.68, 0.025), (0.68, 0.0)]
    build.add("seat", loft([level(ring * r, height + y) for r, y in rim], closed=True))
    lid = loft([level(ring * 1.02, y) for y in (0, 0.02)])
    if chance(rng, 0.75):
        build.add("lid", lid.at((0, 0, long / 2)).turn("x", -rng.uniform(74, 90)).at((0, height + 0.03, -long * 0.46)))
    else:
        build.add("lid", lid.at((0, height + 0.028, 0)))
    deep = rng.uniform(0.15, 0.2)
    z = -long / 2 - deep * rng.uniform(0.5, 0.7)
    if kind == "wall":
        build.add("tank", box((width * 1.5, height * rng.uniform(1.9, 2.6), 0.08), (0, 0, -long / 2 - 0.04)))
        build.add("flush", box((0.16, 0.1, 0.02), (0, height * 1.7, -long / 2)))
        return
    base = height * 0.98 if kind == "close" else height * rng.uniform(2.6, 3.4)
    tall, wide = rng.uniform(0.3, 0.4), width * rng.uniform(1.05, 1.35)
    build.add("bowl", taper((width * 0.6, deep), (width * 0.8, deep * 1.1), height=height, at=(0, 0, z + deep * 0.2)))
    build.add("tank", rounded_box((wide, tall, deep), rng.uniform(0.01, 0.05), at=(0, base, z)))
    build.add("tank", rounded_box((wide * 1.06, 0.035, deep * 1.1), 0.012, at=(0, base + tall, z)))
    if kind == "high":
        build.add("flush", rod((0, height * 0.8, z), (0, base, z), radius=0.03))
        build.add("flush", rod((wide * 0.45, base - 0.35, z + 0.08), (wide * 0.45, base + 0.1, z + 0.08), radius=0.008))
    elif chance(rng):
        build.add("flush", disc(0.025, 0.02, at=(0, base + tall + 0.03, z)))
    else:
        build.add(
            "flush",
            rod((wide * 0.3, base + tall * 0.8, z), (wide * 0.3, base + tall * 0.8, z + deep * 0.65), radius=0.012),
        )
        build.add("flush", box((0.09, 0.02, 0.015), (wide * 0.3 - 0.03, base + tall * 0.78, z + deep * 0.65)))
