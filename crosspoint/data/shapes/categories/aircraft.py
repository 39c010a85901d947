"""Things that fly: aeroplane, helicopter, rocket. Noses point to +z, that of a rocket up."""

import numpy as np

from crosspoint.data.shapes.primitives import (
    Mesh,
    box,
    circle,
    disc,
    ellipsoid,
    extrude,
    fin,
    lathe,
    loft,
    oval,
    rod,
    rounded_box,
    smooth,
    taper,
    torus,
    tube,
    wheel,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


def hull(
    stations: list[tuple[float, float, float, float]], power: float = 2.0, *, sides: int = 20, count: int = 18
) -> Mesh:
    """A body along z through smooth cross-sections.

    Args:
        stations: (z, width, height, y of the middle) of each cross-section, from the back to the nose.
        power: Exponent of the superellipse of every section.
        sides: Corners of a section.
        count: Sections of the smooth body.
    """
    rings = []
    for z, width, height, y in smooth(stations, count):
        section = oval(width, height, power=power, sides=sides)
        rings.append(np.column_stack((section[:, 0], section[:, 1] + y, np.full(sides, z))))
    return loft(rings)


@category("body", "wing", "tail", "engine", "gear")
def airplane(rng: Rng, build: ShapeBuilder) -> None:
    """Airliners, propeller planes, jet fighters and biplanes."""
    kind = pick(rng, "airliner", "propeller", "fighter", "biplane")
    {"airliner": _airliner, "propeller": _propeller, "fighter": _fighter, "biplane": _biplane}[kind](rng, build)


def _tail(build: ShapeBuilder, z: float, y: float, chord: float, span: float, sweep: float, high: float) -> None:
    """Tailplane and rudder; the tailplane sits at the share `high` of the rudder."""
    rudder = fin(chord * 1.2, chord * 0.6, span=span * 0.75, sweep=sweep * 0.8, thickness=chord * 0.12).turn("z", 90)
    build.add("tail", rudder.at((0, y, z)))
    plane = fin(chord, chord * 0.55, span=span, sweep=sweep * 0.6, thickness=chord * 0.1)
    build.add("tail", plane.at((0, y + high * span * 0.7, z - high * sweep * 0.7)).mirrored())


def _airliner(rng: Rng, build: ShapeBuilder) -> None:
    size, long = rng.uniform(0.09, 0.14), rng.uniform(0.9, 1.15)
    z = long / 2
    stations = [(-z, size * 0.15, size * 0.2, size * 0.35), (-z * 0.5, size * 0.9, size * 0.9, size * 0.08)]
    stations += [(-z * 0.2, size, size, 0), (z * 0.7, size, size, 0), (z * 0.92, size * 0.65, size * 0.6, -size * 0.08)]
    build.add("body", hull([*stations, (z, 0.012, 0.012, -size * 0.12)], count=26))
    span, sweep, root = rng.uniform(0.42, 0.6), rng.uniform(0.12, 0.32), rng.uniform(0.2, 0.28)
    low = chance(rng, 0.75)
    y, rise = (-size * 0.3, rng.uniform(3, 8)) if low else (size * 0.42, -3)
    wing = fin(root, root * 0.28, span=span, sweep=sweep, thickness=0.025, power=1.0).turn("z", rise).at((0, y, 0.05))
    build.add("wing", wing.mirrored())
    _tail(build, -z * 0.86, size * 0.3, 0.13, rng.uniform(0.16, 0.22), 0.12, pick(rng, 0.0, 0.0, 0.95))
    if low and chance(rng, 0.25):
        build.add("engine", wheel(0.035, 0.17).turn("y", 90).at((size * 0.75, size * 0.2, -z * 0.55)).mirrored())
        return
    spots = (0.35,) if chance(rng, 0.6) else (0.28, 0.55)
    for share in spots:
        drop = y + np.tan(np.deg2rad(rise)) * share * span - 0.04
        nacelle = rod((0, 0, -0.06), (0, 0, 0.07), radius=0.025, end_radius=rng.uniform(0.03, 0.04), sides=16)
        build.add("engine", nacelle.at((share * span, drop, 0.12 - sweep * share)).mirrored())


def _blades(z: float, y: float, radius: float, count: int) -> list[Mesh]:
    """A propeller that turns about the z axis."""
    blades = [box((radius * 0.14, radius, 0.012)).turn("z", 360 / count * k + 20).at((0, y, z)) for k in range(count)]
    return [*blades, ellipsoid((radius * 0.16, radius * 0.16, radius * 0.24), (0, y, z), sides=12)]


def _gear(build: ShapeBuilder, x: float, y: float, z: float, drop: float, size: float) -> None:
    build.add("gear", rod((x * 0.4, y, z), (x, y - drop, z), radius=size * 0.3, sides=8).mirrored())
    build.add("gear", wheel(size, size * 0.7, at=(x, y - drop, z), sides=14).mirrored())


def _propeller(rng: Rng, build: ShapeBuilder) -> None:
    size, long = rng.uniform(0.11, 0.15), rng.uniform(0.7, 0.9)
    z = long / 2
    stations = [(-z, size * 0.2, size * 0.3, size * 0.25), (-z * 0.3, size * 0.7, size * 0.8, size * 0.1)]
    stations += [
        (z * 0.2, size, size * 1.15, 0.02),
        (z * 0.8, size * 0.8, size * 0.75, 0),
        (z, size * 0.5, size * 0.5, 0),
    ]
    build.add("body", hull(stations, 2.6, count=22))
    build.add("body", ellipsoid((size * 0.4, size * 0.45, long * 0.17), (0, size * 0.55, z * 0.2)))
    high, span, root = chance(rng), rng.uniform(0.45, 0.6), rng.uniform(0.15, 0.2)
    y = size * 0.85 if high else -size * 0.25
    build.add(
        "wing",
        fin(root, root * rng.uniform(0.6, 1), span=span, sweep=0.03, thickness=0.03)
        .turn("z", 2)
        .at((0, y, z * 0.3))
        .mirrored(),
    )
    if high:
        build.add(
            "wing", rod((size * 0.4, -size * 0.2, z * 0.3), (span * 0.45, y, z * 0.3), radius=0.008, sides=8).mirrored()
        )
    build.add("engine", _blades(z + 0.02, 0, rng.uniform(0.13, 0.18), int(rng.integers(2, 5))))
    _tail(build, -z * 0.9, size * 0.3, 0.12, rng.uniform(0.16, 0.2), 0.06, 0.0)
    _gear(build, rng.uniform(0.1, 0.14), -size * 0.3, z * 0.4, rng.uniform(0.09, 0.13), 0.035)
    build.add("gear", wheel(0.02, 0.015, at=(0, -size * 0.2, -z * 0.9), sides=12))


def _fighter(rng: Rng, build: ShapeBuilder) -> None:
    size, long = rng.uniform(0.09, 0.12), rng.uniform(0.95, 1.15)
    z = long / 2
    stations = [(-z, size, size * 0.8, 0), (-z * 0.2, size * 1.3, size, 0), (z * 0.4, size * 0.9, size, 0)]
    build.add("body", hull([*stations, (z * 0.8, size * 0.4, size * 0.45, -0.01), (z, 0.01, 0.01, -0.015)], count=20))
    build.add("body", ellipsoid((size * 0.32, size * 0.4, long * 0.13), (0, size * 0.45, z * 0.42)))
    span, root = rng.uniform(0.26, 0.4), rng.uniform(0.4, 0.55)
    delta = fin(root, root * 0.15, span=span, sweep=root * rng.uniform(0.5, 0.75), thickness=0.02, power=1.0)
    build.add("wing", delta.at((size * 0.3, -size * 0.1, -z * 0.1)).mirrored())
    rudder = fin(0.2, 0.08, span=rng.uniform(0.17, 0.22), sweep=0.12, thickness=0.02).turn("z", 90)
    if chance(rng):
        build.add("tail", rudder.turn("z", -18).at((size * 0.5, size * 0.3, -z * 0.75)).mirrored())
    else:
        build.add("tail", rudder.at((0, size * 0.35, -z * 0.75)))
    build.add("tail", fin(0.15, 0.06, span=0.18, sweep=0.1, thickness=0.015).at((size * 0.4, 0, -z * 0.9)).mirrored())
    inlet = taper((size * 0.5, size * 0.9), (size * 0.5, size * 0.9), height=long * 0.4).turn("x", 90)
    build.add("engine", inlet.at((size * 0.75, -size * 0.05, -z * 0.35)).mirrored())
    for x in (0.3,) if chance(rng) else (0.0,):
        nozzle = rod(
            (x * size, 0, -z * 1.08), (x * size, 0, -z * 0.9), radius=size * 0.3, end_radius=size * 0.42, sides=16
        )
        build.add("engine", nozzle.mirrored() if x else nozzle)


def _biplane(rng: Rng, build: ShapeBuilder) -> None:
    size, z = rng.uniform(0.12, 0.15), rng.uniform(0.32, 0.4)
    build.add(
        "body",
        hull(
            [(-z, 0.03, 0.05, 0.04), (z * 0.3, size, size, 0), (z * 0.9, size, size, 0), (z, size * 0.8, size * 0.8, 0)]
        ),
    )
    build.add("body", torus(size * 0.3, 0.012, at=(0, size * 0.47, 0)))
    span, root, gap = rng.uniform(0.42, 0.55), rng.uniform(0.15, 0.19), rng.uniform(0.2, 0.26)
    stagger = rng.uniform(0, 0.06)
    low, high = -size * 0.3, gap - size * 0.3
    for y, shift in ((low, 0.0), (high, stagger)):
        build.add(
            "wing", fin(root, root * 0.9, span=span, sweep=0.0, thickness=0.02).at((0, y, z * 0.45 + shift)).mirrored()
        )
    for x in (span * 0.3, span * 0.8):
        for dz in (0.04, -0.04):
            start, end = (x, low, z * 0.45 + dz), (x, high, z * 0.45 + stagger + dz)
            build.add("wing", rod(start, end, radius=0.007, sides=6).mirrored())
    build.add("engine", _blades(z + 0.02, 0, rng.uniform(0.14, 0.18), 2))
    _tail(build, -z * 0.9, 0.05, 0.12, rng.uniform(0.15, 0.19), 0.03, 0.0)
    _gear(build, 0.11, -size * 0.3, z * 0.6, 0.13, 0.045)


@category("cabin", "boom", "rotor", "tail", "skid")
def helicopter(rng: Rng, build: ShapeBuilder) -> None:
    """Light, transport and attack helicopters on skids or wheels."""
    wide, tall, long = rng.uniform(0.17, 0.26), rng.uniform(0.2, 0.28), rng.uniform(0.32, 0.5)
    nose = rng.uniform(0.2, 0.7)
    z = long / 2
    stations = [(-z, wide * 0.45, tall * 0.5, tall * 0.15), (-z * 0.4, wide, tall, 0), (z * 0.4, wide, tall, 0)]
    build.add(
        "cabin",
        hull(
            [*stations, (z * 0.85, wide * 0.75, tall * 0.65, -tall * 0.12), (z, 0.03, 0.03, -tall * 0.2)],
            rng.uniform(2, 3),
        ),
    )
    build.add("cabin", rounded_box((wide * 0.5, tall * 0.28, long * nose), 0.03, at=(0, tall * 0.4, -z * 0.25)))
    boom, lift = rng.uniform(0.4, 0.55), tall * 0.2
    end = -z - boom
    build.add("boom", rod((0, lift, -z * 0.6), (0, lift + 0.03, end), radius=wide * 0.22, end_radius=0.022))
    build.add(
        "tail",
        fin(0.12, 0.07, span=rng.uniform(0.13, 0.2), sweep=0.08, thickness=0.02)
        .turn("z", 90)
        .at((0, lift + 0.02, end)),
    )
    build.add(
        "tail", fin(0.07, 0.05, span=0.12, sweep=0.02, thickness=0.012).at((0, lift + 0.02, end + 0.1)).mirrored()
    )
    small = rng.uniform(0.07, 0.1)
    if chance(rng, 0.3):
        build.add("tail", torus(small, 0.02).turn("z", 90).at((0, lift + 0.05, end - 0.05)))
    blades = [
        box((0.008, small * 2, 0.02), (0, -small, 0)).turn("x", a).at((0.03, lift + 0.05, end - 0.04))
        for a in (25, 115)
    ]
    build.add("tail", blades)
    top, radius, count = tall * rng.uniform(0.82, 0.98), rng.uniform(0.5, 0.7), int(rng.integers(2, 6))
    build.add(
        "rotor",
        rod((0, tall * 0.4, -z * 0.15), (0, top, -z * 0.15), radius=0.02),
        disc(0.045, 0.03, at=(0, top - 0.01, -z * 0.15), sides=14),
    )
    start = rng.uniform(0, 360)
    for k in range(count):
        blade = box((0.045, 0.01, radius), (0, 0, radius / 2)).turn("x", 2).turn("y", start + 360 / count * k)
        build.add("rotor", blade.at((0, top, -z * 0.15)))
    low, x = -tall * rng.uniform(0.75, 0.9), wide * rng.uniform(0.55, 0.75)
    if chance(rng, 0.7):
        runner = [(x, low, -z * 0.9), (x, low, z * 0.8), (x, low + 0.04, z * 1.05)]
        build.add("skid", tube(runner, 0.013).mirrored())
        struts = [
            rod((wide * 0.3, -tall * 0.4, s * z * 0.5), (x, low, s * z * 0.5), radius=0.011, sides=8) for s in (1, -1)
        ]
        build.add("skid", *(strut.mirrored() for strut in struts))
    else:
        build.add("skid", rod((wide * 0.3, -tall * 0.3, -z * 0.4), (x, low + 0.04, -z * 0.4), radius=0.014).mirrored())
        build.add(
            "skid",
            wheel(0.05, 0.035, at=(x, low + 0.04, -z * 0.4)).mirrored(),
            wheel(0.04, 0.03, at=(0, low + 0.04, z * 0.6)),
        )


@category("body", "nose", "fin", "nozzle", "booster")
def rocket(rng: Rng, build: ShapeBuilder) -> None:
    """Cartoon rockets, slim launchers with strap-on boosters, missiles."""
    kind = pick(rng, "cartoon", "launcher", "missile")
    tall = rng.uniform(0.8, 1.0)
    radius = {
        "cartoon": rng.uniform(0.13, 0.19),
        "launcher": rng.uniform(0.06, 0.1),
        "missile": rng.uniform(0.045, 0.07),
    }[kind]
    base, high = rng.uniform(0.05, 0.12), tall * rng.uniform(0.6, 0.75)
    if kind == "cartoon":
        body = smooth([(radius * 0.55, base), (radius, base + high * 0.45), (radius * 0.7, high + base)], 14)
        build.add(
            "nose", lathe(smooth([(radius * 0.7, high + base), (radius * 0.35, tall * 0.92), (0, tall * 1.05)], 8))
        )
        build.add("body", torus(radius * 0.4, 0.018).turn("x", 90).at((0, base + high * 0.62, radius * 0.9)))
    else:
        step = rng.uniform(0.65, 1.0)
        body = np.array(
            [(radius, base), (radius, high * 0.6), (radius * step, high * 0.66), (radius * step, high + base)]
        )
        tip = [(radius * step, high + base), (radius * step * 0.6, (tall + high) / 2), (0.0, tall)]
        build.add("nose", lathe(smooth(tip, 8) if chance(rng) else tip[::2]))
    build.add("body", lathe(body))
    build.add("nozzle", lathe([(radius * 0.6, 0), (radius * 0.3, base * 1.02)], 16))
    if kind == "launcher" and chance(rng, 0.7):
        for x, z in circle(pick(rng, 2, 4)) * radius * 1.75:
            small, up = radius * 0.7, high * rng.uniform(0.45, 0.6)
            build.add("booster", lathe([(small, 0.02), (small, up), (0, up + small * 2.5)], 16, at=(x, 0.02, z)))
        return
    count, reach = int(rng.integers(3, 5)), rng.uniform(0.1, 0.19)
    low = -0.06 if kind == "cartoon" else 0.0
    outline = [
        (radius * 0.4, base),
        (radius * 0.5, base + 0.3 * high),
        (radius + reach, base * 0.6),
        (radius + reach * 1.05, low),
    ]
    plate = extrude([*outline, (radius + reach * 0.6, base * 0.6)], 0.022)
    build.add("fin", [plate.turn("y", 360 / count * k + 45) for k in range(count)])
