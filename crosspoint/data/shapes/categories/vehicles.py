"""Things that drive and swim: car, ship, bicycle, skateboard. Their fronts point to +z."""

import numpy as np

from crosspoint.data.shapes.primitives import (
    Array,
    Mesh,
    box,
    circle,
    ellipsoid,
    extrude,
    loft,
    rod,
    rounded_box,
    smooth,
    taper,
    torus,
    tube,
    wheel,
)
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


@category("body", "window", "wheel", "light")
def car(rng: Rng, build: ShapeBuilder) -> None:
    """Saloons, hatchbacks, vans, pick-ups and open two-seaters."""
    long, wide = rng.uniform(0.9, 1.05), rng.uniform(0.38, 0.44)
    kind = pick(rng, "saloon", "hatch", "van", "pickup", "open")
    waist, roof = rng.uniform(0.19, 0.23), rng.uniform(0.33, 0.37)
    low, z = 0.07, long / 2
    body = [(-z, low + 0.02), (-z * 0.99, waist * 0.9), (-z * 0.92, waist), (z * 0.4, waist), (z * 0.9, waist * 0.85)]
    body += [(z, waist * 0.6), (z, low + 0.02), (z * 0.9, low), (-z * 0.9, low)]
    build.add("body", _side(body, wide))
    if kind == "van":
        roof *= rng.uniform(1.15, 1.35)
    roofs = {
        "saloon": [(-0.72, -0.42, 0.12, 0.5)],
        "hatch": [(-0.95, -0.75, 0.1, 0.5)],
        "van": [(-0.98, -0.95, 0.45, 0.85)],
        "pickup": [(-0.15, -0.08, 0.2, 0.5)],
        "open": [(0.12, 0.2, 0.22, 0.45)],
    }[kind]
    for back, top_back, top_front, front in roofs:
        top = waist + (roof - waist) * (0.75 if kind == "open" else 1)
        _cabin(build, [(back * z, waist), (front * z, waist), (top_front * z, top), (top_back * z, top)], wide, kind)
    if kind == "pickup":
        build.add("body", box((0.02, 0.07, z * 0.8), (wide / 2 - 0.01, waist, -z * 0.56)).mirrored())
        build.add("body", box((wide, 0.07, 0.02), (0, waist, -z * 0.95)))
    if kind == "open":
        build.add("body", [rounded_box((0.13, 0.11, 0.06), 0.02, at=(x, waist, -z * 0.12)) for x in (0.09, -0.09)])
    radius, base = rng.uniform(0.075, 0.1), rng.uniform(0.56, 0.64)
    for end in (base, -base):
        build.add("wheel", wheel(radius, 0.06, at=(wide / 2 - 0.02, radius, end * z)).mirrored())
    lamp = ellipsoid((0.035, 0.022, 0.02), (wide * 0.36, waist * 0.68, z), sides=10)
    build.add("light", lamp.mirrored(), box((0.07, 0.03, 0.02), (wide * 0.38, waist * 0.65, -z)).mirrored())
    if kind in ("saloon", "open") and chance(rng, 0.3):
        build.add("body", box((wide * 0.9, 0.012, 0.06), (0, waist + 0.06, -z * 0.93)))


def _side(profile: list[tuple[float, float]], wide: float) -> Mesh:
    """A side view (z, y) extruded over the width."""
    return extrude(profile, wide).turn("y", -90)


def _cabin(build: ShapeBuilder, corners: list[tuple[float, float]], wide: float, kind: str) -> None:
    """A cabin that narrows upwards, and its windows as thin panes on all sides."""
    low, high = wide * 0.97, wide * (0.93 if kind == "van" else 0.8)

    def ring(points: Array, widths: Array) -> list[Array]:
        left = np.column_stack((-widths / 2, points[:, 1], points[:, 0]))
        return [left, left * (-1, 1, 1)]

    outline, widths = np.array(corners), np.array([low, low, high, high])
    build.add("body" if kind != "open" else "window", loft(ring(outline, widths)))
    middle = outline.mean(axis=0)
    pane = middle + (outline - middle) * (0.86, 0.7)
    share = (pane[:, 1] - outline[0, 1]) / (outline[2, 1] - outline[0, 1])
    if kind != "open":
        build.add("window", loft(ring(pane, low + (high - low) * share + 0.012)))
        across = middle + (outline - middle) * (1.015, 0.7)
        build.add("window", loft(ring(across, (low + (high - low) * share) * 0.86)))


@category("hull", "cabin", "mast", "sail", "funnel", "deck")
def ship(rng: Rng, build: ShapeBuilder) -> None:
    """Sailing yachts, square-riggers, steamers with funnels, freighters with containers."""
    kind = pick(rng, "yacht", "square", "steamer", "freighter")
    long, wide = rng.uniform(0.9, 1.1), rng.uniform(0.2, 0.28)
    if kind == "freighter":
        long *= 1.25
    deep = rng.uniform(0.12, 0.18)
    _ship_hull(build, long, wide, deep, 0.3 if kind == "freighter" else rng.uniform(0.4, 0.7))
    if kind == "yacht":
        mast = rng.uniform(0.8, 1.05)
        build.add(
            "mast",
            rod((0, deep, 0.08), (0, deep + mast, 0.08), radius=0.014),
            rod((0, deep + 0.08, 0.08), (0, deep + 0.08, -long * 0.42), radius=0.01),
        )
        main = extrude([(0.06, 0.1), (-long * 0.42, 0.1), (0.06, mast * 0.97)], 0.012).turn("y", -90)
        jib = extrude([(0.1, 0.05), (long * 0.46, 0.05), (0.1, mast * 0.85)], 0.012).turn("y", -90)
        build.add("sail", main.at((0, deep, 0)), jib.at((0, deep, 0)))
        build.add("cabin", rounded_box((wide * 0.5, 0.06, long * 0.3), 0.02, at=(0, deep, -0.05)))
    elif kind == "square":
        for z, tall in zip(
            np.linspace(-0.3, 0.3, int(rng.integers(2, 4))) * long, rng.uniform(0.6, 0.85, 3), strict=False
        ):
            build.add("mast", rod((0, deep, z), (0, deep + tall, z), radius=0.014, end_radius=0.008))
            for low, high, size in ((0.16, 0.52, 0.42), (0.56, 0.82, 0.32)):
                build.add(
                    "sail",
                    _billow(size * rng.uniform(0.9, 1.1), tall * (high - low)).at((0, deep + tall * low, z + 0.02)),
                )
                build.add(
                    "mast",
                    rod((-size / 2, deep + tall * high, z), (size / 2, deep + tall * high, z), radius=0.009, sides=8),
                )
        build.add("mast", rod((0, deep, long * 0.45), (0, deep + 0.12, long * 0.68), radius=0.012, end_radius=0.006))
        build.add("cabin", box((wide * 0.8, 0.09, long * 0.16), (0, deep, -long * 0.38)))
    elif kind == "steamer":
        floors = int(rng.integers(2, 4))
        for k in range(floors):
            size = 1 - 0.2 * k
            build.add(
                "cabin",
                rounded_box((wide * 0.72 * size, 0.075, long * 0.6 * size), 0.015, at=(0, deep + 0.07 * k, -0.02)),
            )
        top = deep + 0.07 * floors
        for z in np.linspace(-0.17, 0.17, int(rng.integers(1, 5))) * long:
            build.add("funnel", rod((0, top, z), (0, top + 0.17, z - 0.03), radius=0.04, sides=16))
        build.add("mast", [rod((0, deep, z), (0, deep + 0.4, z), radius=0.01) for z in (long * 0.38, -long * 0.36)])
    else:
        _freight(rng, build, long, wide, deep)


def _ship_hull(build: ShapeBuilder, long: float, wide: float, deep: float, keel: float) -> None:
    rings = []
    for share in np.linspace(0, 1, 15):
        half = wide / 2 * min(1.0, (0.72 + share), 2.6 * (1 - share) ** 0.75)
        top, low = deep * (1 + 0.3 * (2 * share - 0.9) ** 2), deep * max(0.0, share - 0.75) * 2
        z = (share - 0.5) * long
        points = [(half, top), (half * 0.92, (top + low) / 2), (half * keel, low), (-half * keel, low)]
        rings.append(
            [
                (x, y, z + (y / deep - 1) * 0.06 * share)
                for x, y in [*points, (-half * 0.92, (top + low) / 2), (-half, top)]
            ]
        )
    build.add("hull", loft(rings))
    build.add("deck", box((wide * 0.8, 0.012, long * 0.7), (0, deep * 1.03, -long * 0.08)))


def _billow(width: float, tall: float) -> Mesh:
    """A square sail, bellied forwards."""
    rings = []
    for share in np.linspace(0, 1, 7):
        y, push = share * tall, 0.22 * tall * np.sin(np.pi * (0.15 + 0.7 * share))
        x = np.array([-1, -0.5, 0, 0.5, 1]) / 2 * width * (1 - 0.12 * share)
        belly = push * np.array([0.3, 0.85, 1, 0.85, 0.3])
        front, back = (np.column_stack((x, np.full(5, y), belly + dz)) for dz in (0.006, -0.006))
        rings.append(np.concatenate((front, back[::-1])))
    return loft(rings)


def _freight(rng: Rng, build: ShapeBuilder, long: float, wide: float, deep: float) -> None:
    build.add("cabin", box((wide * 0.85, rng.uniform(0.2, 0.28), long * 0.09), (0, deep, -long * 0.36)))
    build.add("cabin", box((wide * 1.02, 0.035, long * 0.06), (0, deep + 0.18, -long * 0.35)))
    build.add("funnel", rod((0, deep, -long * 0.43), (0, deep + 0.3, -long * 0.43), radius=0.03, sides=14))
    for z in np.arange(-0.27, 0.3, 0.085) * long:
        for x in (-0.28, 0.0, 0.28):
            for k in range(int(rng.integers(1, 4))):
                build.add("deck", box((wide * 0.26, 0.052, long * 0.078), (x * wide, deep + 0.055 * k, z)))


@category("wheel", "frame", "saddle", "handlebar", "pedal")
def bicycle(rng: Rng, build: ShapeBuilder) -> None:
    """Diamond-frame, step-through and high-wheel bicycles with straight, dropped or swept bars."""
    front = rear = rng.uniform(0.3, 0.36)
    kind = pick(rng, "diamond", "diamond", "step", "penny")
    if kind == "penny":
        front, rear = rng.uniform(0.5, 0.6), rng.uniform(0.15, 0.2)
    base = rng.uniform(0.95, 1.1) if kind != "penny" else front + rear * 1.2
    z = base / 2
    tyre, size = rng.uniform(0.016, 0.035), rng.uniform(0.014, 0.022)
    for radius, at in ((front, z), (rear, -z)):
        build.add("wheel", torus(radius - tyre, tyre, sides=28).turn("z", 90).at((0, radius, at)))
        spokes = [
            rod((0, 0, 0), (0, (radius - tyre) * c, (radius - tyre) * s), radius=0.004, sides=4) for c, s in circle(12)
        ]
        build.add("wheel", [spoke.at((0, radius, at)) for spoke in spokes])
        build.add("wheel", rod((-0.045, radius, at), (0.045, radius, at), radius=0.02))
    if kind == "penny":
        head, seat = (0.0, front * 2 + 0.08, z - 0.03), (0.0, front * 2 + 0.08, z - 0.2)
        spine = smooth([(0, front * 2 + 0.04, z), (0, front * 1.6, z - front * 0.72), (0, rear, -z)], 12)
        build.add("frame", tube(spine, size), _fork(head, front, z, size))
        crank = (0.0, front, z)
    else:
        crank = (0.0, front * 0.85, -z * 0.15)
        seat, head = (
            (0.0, front * 2 + rng.uniform(0.15, 0.28), -z * 0.38),
            (0.0, front * 2 + rng.uniform(0.1, 0.25), z * 0.6),
        )
        top = (0.0, front * 1.25, -z * 0.22) if kind == "step" else (0.0, front * 2 + 0.04, -z * 0.34)
        neck = (0.0, front * 1.95, z * 0.66)
        pairs = [(crank, seat), (crank, neck), (top, (0.0, front * 2.02, z * 0.65))]
        build.add("frame", [rod(start, end, radius=size) for start, end in pairs], _fork(head, front, z, size))
        for x in (0.04, -0.04):
            build.add(
                "frame", [rod((x, rear, -z), end, radius=size * 0.7) for end in (crank, (0.0, front * 1.9, -z * 0.33))]
            )
    build.add(
        "saddle",
        ellipsoid((0.075, 0.03, 0.13), (seat[0], seat[1], seat[2] - 0.02), sides=14),
        ellipsoid((0.03, 0.022, 0.16), (0, seat[1], seat[2] + 0.05), sides=10),
    )
    _handlebar(rng, build, head)
    build.add("pedal", wheel(0.09 if kind != "penny" else 0.03, 0.012, at=crank))
    for side in (1, -1):
        end = (side * 0.06, crank[1] + side * 0.13, crank[2] + side * 0.1)
        build.add(
            "pedal",
            rod((side * 0.05, crank[1], crank[2]), end, radius=0.01, sides=8),
            box((0.09, 0.018, 0.07), (side * 0.11, end[1], end[2])),
        )


def _fork(head: tuple[float, float, float], radius: float, z: float, size: float) -> list[Mesh]:
    crown = (0.0, radius * 2 + 0.03, z - (z - head[2]) * 0.85)
    blades = [rod((x * 0.8, crown[1], crown[2]), (x, radius, z), radius=size * 0.75) for x in (0.05, -0.05)]
    return [
        rod(crown, head, radius=size),
        rod((-0.05, crown[1], crown[2]), (0.05, crown[1], crown[2]), radius=size),
        *blades,
    ]


def _handlebar(rng: Rng, build: ShapeBuilder, head: tuple[float, float, float]) -> None:
    _, y, z = head
    half = rng.uniform(0.2, 0.29)
    kind = pick(rng, "straight", "drop", "swept")
    ends = {
        "straight": [(half, y + 0.02, z)],
        "drop": [(half, y, z), (half, y, z + 0.1), (half, y - 0.06, z + 0.14), (half, y - 0.13, z + 0.06)],
        "swept": [(half * 0.6, y + 0.09, z + 0.05), (half, y + 0.1, z - 0.06), (half, y + 0.09, z - 0.18)],
    }[kind]
    build.add("handlebar", tube([(0, y, z), *ends], 0.014).mirrored())


@category("deck", "wheel", "truck", "rail")
def skateboard(rng: Rng, build: ShapeBuilder) -> None:
    """Popsicle boards with kicks, pintails, fish tails and dropped decks; some with rails or riser pads."""
    long, wide, thick = rng.uniform(0.8, 1.1), rng.uniform(0.2, 0.27), rng.uniform(0.014, 0.025)
    kind = pick(rng, "popsicle", "pintail", "fish", "drop")
    radius, riser = rng.uniform(0.026, 0.045), rng.uniform(0.012, 0.03) if chance(rng, 0.4) else 0.0
    height = radius * 2 + riser + rng.uniform(0.02, 0.04)
    build.add("deck", _deck(rng, kind, long, wide, thick).at((0, height, 0)))
    apart, axle = long * 0.5 * rng.uniform(0.55, 0.66), wide * rng.uniform(0.4, 0.5)
    for z in (apart, -apart):
        build.add("truck", taper((0.09, 0.1), (0.07, 0.13), height=height - riser - radius, at=(0, radius, z)))
        build.add("truck", rod((-axle, radius, z), (axle, radius, z), radius=0.012))
        if riser:
            build.add("truck", box((0.08, riser, 0.15), (0, height - riser, z)))
        build.add("wheel", wheel(radius, rng.uniform(0.035, 0.05), at=(axle, radius, z), sides=16).mirrored())
    if kind != "drop" and chance(rng, 0.35):
        x, half = wide * 0.36, apart * rng.uniform(0.5, 0.75)
        build.add("rail", rod((x, height, -half), (x, height, half), radius=0.013, sides=8).mirrored())


def _deck(rng: Rng, kind: str, long: float, wide: float, thick: float) -> Mesh:
    """A board along z whose lower side lies at y = 0 between the trucks."""
    front = rng.uniform(0.05, 0.09) if kind in ("popsicle", "drop") else 0.0
    rear = rng.uniform(0.03, 0.07) if kind == "fish" else front
    rings = []
    for share in np.linspace(-1, 1, 33):
        half = wide / 2 * (1 - abs(share) ** (7 if kind != "pintail" else 2.5)) ** 0.5
        if kind == "pintail":
            half *= 1 - 0.25 * max(0.0, -share)
        y = max(0.0, (abs(share) - 0.68) / 0.32) * (front if share > 0 else rear)
        if kind == "drop" and abs(share) < 0.4:
            y -= 0.05 * min(1.0, (0.4 - abs(share)) * 8)
        z, half = share * long / 2, max(half, 0.002)
        rings.append([(half, y + thick, z), (half, y, z), (-half, y, z), (-half, y + thick, z)])
    return loft(rings)
