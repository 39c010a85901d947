"""Which axis of a cloud points up. The encoders are trained on y-up clouds; robots, LiDAR and much CAD are z-up."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError

Up = Literal["x", "y", "z", "-x", "-y", "-z"]
UPS: tuple[Up, ...] = get_args(Up)

# Rows are the new axes in the old ones. All are rotations, so left and right are kept: no row is a mirror image.
TO_Y_UP: dict[Up, tuple[tuple[int, int, int], ...]] = {
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}


def parse_up(text: str) -> Up:
    """The axis that a text names.

    Raises:
        InputError: It names none.
    """
    for up in UPS:
        if text == up:
            return up
    raise InputError(f"{text!r} is no axis; give --up {', '.join(UPS[:-1])} or {UPS[-1]}")


def rotation_to_y_up(up: Up) -> npt.NDArray[np.float64]:
    """The rotation matrix R (3, 3) that turns a cloud whose `up` axis points up to y-up: `points @ R.T`."""
    return np.array(TO_Y_UP[up], dtype=np.float64)


def to_y_up(points: npt.NDArray[Any], up: Up) -> npt.NDArray[Any]:
    """Turn points (..., 3) to y-up. Coordinates change place and sign and are never rounded."""
    rows = TO_Y_UP[up]
    axes = [next(axis for axis in range(3) if row[axis]) for row in rows]
    signs = np.array([row[axis] for row, axis in zip(rows, axes, strict=True)], dtype=points.dtype)
    return np.asarray(points[..., axes] * signs)
