"""What furniture stands on. Every function gives the solids between the floor and the height `height`."""

import numpy as np

from crosspoint.data.shapes.primitives import Mesh, circle, disc, ellipsoid, lathe, rod, taper, tube

CORNERS = ((1, 1), (-1, 1), (-1, -1), (1, -1))


def legs(width: float, depth: float, *, height: float, size: float, round_: bool, splay: float = 0.0) -> list[Mesh]:
    """Four legs under the corners of a rectangle; `splay` moves the feet outward by that share of the height."""
    meshes = []
    for sx, sz in CORNERS:
        x, z = sx * (width / 2 - size), sz * (depth / 2 - size)
        if round_ or splay:
            foot = (x + sx * splay * height, 0.0, z + sz * splay * height)
            meshes.append(rod(foot, (x, height, z), radius=size * 0.6, end_radius=size))
        else:
            meshes.append(taper((size * 1.4, size * 1.4), (size * 2, size * 2), height=height, at=(x, 0, z)))
    return meshes


def stretchers(width: float, depth: float, *, y: float, size: float, splay: float = 0.0) -> list[Mesh]:
    """Rails between the feet of four legs, at the height y; `splay` widens the rectangle on each side."""
    x, z = width / 2 - size + splay, depth / 2 - size + splay
    ends = [((-x, y, z), (x, y, z)), ((-x, y, -z), (x, y, -z)), ((x, y, -z), (x, y, z)), ((-x, y, -z), (-x, y, z))]
    return [rod(start, end, radius=size * 0.5, sides=8) for start, end in ends]


def pedestal(radius: float, height: float, *, column: float) -> list[Mesh]:
    """A round foot with a column, as under a bar stool."""
    foot = lathe([(radius, 0), (radius, 0.02 * height), (column * 1.2, 0.08 * height), (column, 0.2 * height)])
    return [foot, rod((0, 0.15 * height, 0), (0, height, 0), radius=column)]


def tulip(radius: float, height: float, *, waist: float) -> list[Mesh]:
    """A trumpet-shaped foot in one piece."""
    share = np.linspace(0, 1, 12)
    curve = waist + (radius - waist) * (1 - share) ** 3 + 0.6 * (radius - waist) * share**5
    return [lathe(np.stack((curve, share * height), axis=1))]


def star(radius: float, height: float, *, column: float, arms: int, castors: bool) -> list[Mesh]:
    """A swivel base: arms that spread from a column, on castors or not."""
    meshes = [rod((0, 0.12 * height, 0), (0, height, 0), radius=column)]
    low = 0.12 * height if castors else 0.02 * height
    for x, z in circle(arms, 90, stop=450):
        meshes.append(
            rod(
                (0, 0.28 * height, 0),
                (radius * x, low + 0.04 * height, radius * z),
                radius=column,
                end_radius=column * 0.5,
            )
        )
        if castors:
            meshes.append(ellipsoid((0.06 * height,) * 3, at=(radius * x, 0.06 * height, radius * z), sides=10))
    return meshes


def sled(width: float, depth: float, *, height: float, size: float) -> list[Mesh]:
    """Two bent-tube runners, left and right, with a cross bar."""
    x, z = width / 2 - size, depth / 2 - size
    path = [
        (x, height, z),
        (x, 2 * size, z),
        (x, size, z - size),
        (x, size, size - z),
        (x, 2 * size, -z),
        (x, height, -z),
    ]
    return [*tube(path, size * 0.7).mirrored(), rod((-x, size, -z * 0.9), (x, size, -z * 0.9), radius=size * 0.6)]


def cantilever(width: float, depth: float, *, height: float, size: float) -> list[Mesh]:
    """One bent tube: from the back along the floor, up at the front, and under the seat; no back legs."""
    x, z = width / 2 - size, depth / 2
    side = [(x, size, -z), (x, size, z - 2 * size), (x, 3 * size, z), (x, height, z), (x, height, -z * 0.5)]
    return [*tube(side, size * 0.7).mirrored(), rod((-x, size, -z), (x, size, -z), radius=size * 0.7)]


def panels(width: float, depth: float, *, height: float, size: float) -> list[Mesh]:
    """Two upright boards, left and right."""
    return list(
        taper((size, depth * 0.9), (size, depth * 0.9), height=height, at=(width / 2 - 2 * size, 0, 0)).mirrored()
    )


def trestle(width: float, depth: float, *, height: float, size: float) -> list[Mesh]:
    """Two crossed pairs of legs, joined by a beam."""
    x, z = width * 0.36, depth * 0.42
    slopes = [rod((x, 0, s * z), (x, height, -s * z), radius=size) for s in (1, -1)]
    beam = rod((-x, height / 2, 0), (x, height / 2, 0), radius=size * 0.8)
    return [*slopes, *(mesh.scale((-1, 1, 1)) for mesh in slopes), beam]


def feet(width: float, depth: float, *, height: float, size: float) -> list[Mesh]:
    """Four short round feet."""
    return [
        disc(size, height, at=(sx * (width / 2 - size), 0, sz * (depth / 2 - size)), sides=12) for sx, sz in CORNERS
    ]
