"""Standing, walking and sitting people, built of rounded limbs."""

import numpy as np

from crosspoint.data.shapes.primitives import Array, Mesh, box, ellipsoid, lathe, level, loft, oval, tube
from crosspoint.data.shapes.shape import Rng, ShapeBuilder, category, chance, pick


def _limb(points: list[Array], sizes: tuple[float, ...]) -> Mesh:
    return tube(np.stack(points), np.array(sizes), sides=10)


def _below(start: Array, long: float, forward: float, aside: float) -> Array:
    """The end of a limb that hangs from `start`, swung forward and aside by these degrees."""
    f, a = np.deg2rad((forward, aside))
    return start + long * np.array((np.sin(a), -np.cos(f) * np.cos(a), np.sin(f) * np.cos(a)))


@category("torso", "head", "arm", "leg", "dress")
def person(rng: Rng, build: ShapeBuilder) -> None:
    """People who stand, walk, stretch out their arms or sit, slim or stout, with hair, hat, skirt or bag."""
    pose = pick(rng, "stand", "stand", "walk", "arms", "sit")
    girth, hip = rng.uniform(0.85, 1.3), rng.uniform(0.82, 0.95)
    shoulder, wide = hip + rng.uniform(0.46, 0.56), rng.uniform(0.17, 0.23)
    rings = [
        (0.16, 0.12, hip - 0.06),
        (0.17, 0.12, hip + 0.05),
        (0.135, 0.1, hip + 0.2),
        (0.17, 0.125, shoulder - 0.12),
    ]
    rings += [(wide, 0.09, shoulder), (0.06, 0.055, shoulder + 0.06)]
    build.add("torso", loft([level(oval(2 * a * girth, 2 * b * girth, power=2.4, sides=18), y) for a, b, y in rings]))
    neck = shoulder + 0.04
    build.add("torso", tube([(0, neck, 0), (0, neck + 0.1, 0.01)], 0.055))
    head = np.array((0, neck + 0.21, 0.02))
    build.add("head", ellipsoid((0.08, rng.uniform(0.11, 0.13), 0.095), head, sides=16))
    cover = pick(rng, "none", "hair", "long", "hat")
    if cover == "hair":
        build.add("head", ellipsoid((0.092, 0.09, 0.1), head + np.array((0, 0.05, -0.015)), sides=14))
    elif cover == "long":
        build.add("head", ellipsoid((0.1, 0.19, 0.07), head + np.array((0, -0.06, -0.05)), sides=14))
    elif cover == "hat":
        build.add("head", lathe([(0.17, 0.06), (0.17, 0.07), (0.1, 0.075), (0.09, 0.17)], 18).at(head))
    for side in (1, -1):
        swing = side * rng.uniform(10, 30) if pose == "walk" else rng.uniform(-6, 6)
        bend = 0.0
        if pose == "sit":
            swing, bend = rng.uniform(80, 95), rng.uniform(-95, -80)
        start = np.array((side * 0.09 * girth, hip, 0.0))
        knee = _below(start, hip * 0.5, swing, side * rng.uniform(0, 8))
        foot = _below(knee, hip * 0.5, swing + bend - rng.uniform(0, 15), side * rng.uniform(0, 4))
        build.add("leg", _limb([start, knee, foot], (0.085 * girth, 0.06 * girth, 0.045)))
        build.add("leg", ellipsoid((0.045, 0.035, 0.12), foot + np.array((0, 0, 0.05)), sides=10))
        raised = {"arms": rng.uniform(60, 100), "stand": rng.uniform(3, 25)}.get(pose, rng.uniform(5, 15))
        ahead = -swing if pose == "walk" else rng.uniform(-5, 50) if chance(rng, 0.4) else rng.uniform(-8, 8)
        top = np.array((side * (wide * girth - 0.02), shoulder - 0.03, 0.0))
        elbow = _below(top, 0.29, ahead, side * raised)
        hand = _below(elbow, 0.26, ahead + rng.uniform(0, 70), side * raised)
        build.add("arm", _limb([top, elbow, hand], (0.055 * girth, 0.045, 0.03)))
        build.add("arm", ellipsoid((0.035, 0.05, 0.03), hand, sides=10))
    if pose != "sit" and chance(rng, 0.3):
        long, flare = rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.34)
        build.add("dress", lathe([(flare, hip - long), (0.17 * girth, hip), (0.15 * girth, hip + 0.12)], 20))
    elif chance(rng, 0.15):
        build.add("dress", box((0.28, 0.4, 0.16), (0, shoulder - 0.45, -0.19)))
    if pose == "sit" and chance(rng):
        build.add("dress", box((0.45, hip * 0.9, 0.45), (0, 0, 0.1)))
