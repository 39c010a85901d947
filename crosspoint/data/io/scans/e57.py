"""E57, the format of laser scanners' software, by pye57."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError, require
from crosspoint.core.reading import ADVICE, check_announced, readable

CHUNK = 1 << 18  # points that are decoded at once
CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")


def read_e57(path: Path) -> Iterator[npt.NDArray[np.float64]]:
    """The scans of an `.e57` file one after the other, each in the file's frame: turned and moved by its pose.

    Points that the file marks as invalid are NaN.

    Yields:
        (N, 3).

    Raises:
        InputError: It has no scans, or its header claims more points than it can hold.
        MissingDependency: pye57 is not installed.
    """
    pye57 = require("pye57", "e57", purpose=f"reading {path.name}")
    size = readable(path)
    file = pye57.E57(str(path))
    try:
        if file.scan_count == 0:
            raise InputError(f"has no scans; {ADVICE}")
        for index in range(file.scan_count):
            yield _read_scan(file, index, size)
    finally:
        file.close()


def _read_scan(file: Any, index: int, size: int) -> npt.NDArray[np.float64]:
    header = file.get_header(index)
    count, there = int(header.point_count), set(header.point_fields)
    kind, names = ("cartesian", CARTESIAN) if set(CARTESIAN) <= there else ("spherical", SPHERICAL)
    if not set(names) <= there:
        raise InputError(f"has a scan without coordinates; {ADVICE}")
    check_announced(24 * count, size)
    state = f"{kind}InvalidState"
    wanted = [*names, state] if state in there else list(names)
    pose = header.pose if header.has_pose() else None
    rotation = np.asarray(header.rotation_matrix) if pose is not None and pose.isDefined("rotation") else None
    translation = np.asarray(header.translation) if pose is not None and pose.isDefined("translation") else None
    points, done = np.empty((count, 3)), 0
    buffers, vector = file.make_buffers(wanted, min(CHUNK, max(count, 1)))
    reader = header.points.reader(vector)
    while found := reader.read():
        if done + found > count:
            raise InputError(f"has more than the {count} points in its header; {ADVICE}")
        block = np.stack([buffers[name][:found] for name in names], axis=-1)  # (n, 3)
        if kind == "spherical":
            block = cartesian(block)
        points[done : done + found] = block if rotation is None else block @ rotation.T
        if translation is not None:
            points[done : done + found] += translation
        if state in wanted:
            points[done : done + found][buffers[state][:found] != 0] = np.nan
        done += found
    reader.close()
    if done != count:
        raise InputError(f"is cut off: it has {done} of {count} points; {ADVICE}")
    return points


def cartesian(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of range r, azimuth θ and elevation φ: r cos φ cos θ, r cos φ sin θ, r sin φ; each (N, 3)."""
    distance, azimuth, elevation = points.T
    flat = distance * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)], axis=-1)
