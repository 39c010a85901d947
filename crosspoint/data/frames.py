"""Which axis of a cloud points up. The encoders are trained on y-up clouds; robots, LiDAR and much CAD are z-up.

Clouds are turned as they were read, before they are centred and scaled: coordinates change place and sign and are not
rounded, so that a turned cloud is embedded to the same bits as one that was stored y-up. Turned after scaling it would
be exact too, but the radius is a sum of three squares, whose last bit depends on their order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from crosspoint.core.console import announce_once
from crosspoint.core.errors import InputError

Up = Literal["x", "y", "z", "-x", "-y", "-z"]
UPS: tuple[Up, ...] = get_args(Up)
Known = Literal["given", "format", "assumed"]

# Rotation matrices R (3, 3), as in `points @ R.T`: rows are the new axes in the old ones. None is a mirror image, so
# left and right are kept.
TO_Y_UP: dict[Up, tuple[tuple[int, int, int], ...]] = {
    "x": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    "y": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-x": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "-y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "-z": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
}

BACK: dict[Up, Up] = {"x": "-x", "y": "y", "z": "-z", "-x": "x", "-y": "-y", "-z": "z"}  # whose rotation is the inverse


@dataclass(frozen=True)
class Frame:
    """Which axis points up in the inputs, and how that is known. The output made from them is y-up.

    Attributes:
        up: The axis. For files of several formats with different axes: y.
        known: `"given"` with `--up` or `up=`; `"format"`: stated by the file format or the data set; `"assumed"`:
            nothing states it; y then, and z of scans of many objects.
    """

    up: Up
    known: Known

    @property
    def given(self) -> Up | None:
        """The axis that the user gave for all inputs; None if each was read as its format states."""
        return self.up if self.known == "given" else None


ASSUMED = Frame("y", "assumed")


def find_frame(up: Up | None, own: Up | None, *, what: str, assumed: Up = "y") -> Frame:
    """The frame of an input. A line on standard error says, once a command, where it is assumed or overruled.

    Args:
        up: What the user gave; it counts before all else.
        own: What the format or the data set says; None where it does not.
        what: The input as the line names it, e.g. `".ply files"`.
        assumed: What is taken if neither says anything.
    """
    if up is not None:
        if own not in (None, up):
            announce_once(f"{what} are {own}-up by their format; they are taken to be {up}-up, as --up says")
        return Frame(up, "given")
    if own is not None:
        return Frame(own, "format")
    frame = Frame(assumed, "assumed")
    tell_frame(frame)
    return frame


def tell_frame(frame: Frame) -> None:
    """Say on standard error, once a command, that a frame is assumed."""
    if frame.known == "assumed":
        other = "z" if frame.up == "y" else "y"
        announce_once(
            f"{frame.up}-up is assumed, since the inputs do not say; give --up {other} (Python: up=) if {other} points "
            "up in them"
        )


def common_frame(frames: Iterable[Frame]) -> Frame:
    """The frame of several inputs together: assumed if that of any is; y if they have different axes."""
    found = list(dict.fromkeys(frames)) or [ASSUMED]
    if len(found) == 1:
        return found[0]
    ups = {frame.up for frame in found}
    return Frame(ups.pop() if len(ups) == 1 else "y", "assumed" if "assumed" in {f.known for f in found} else "format")


def parse_up(text: str) -> Up:
    """The axis that a text names.

    Raises:
        InputError: It names none.
    """
    for up in UPS:
        if text == up:
            return up
    raise InputError(f"{text!r} is no axis; give --up {', '.join(UPS[:-1])} or {UPS[-1]}")


def from_y_up(points: npt.NDArray[Any], up: Up) -> npt.NDArray[Any]:
    """Turn points (..., 3) back: the inverse of `to_y_up`, as exact."""
    return to_y_up(points, BACK[up])


def to_y_up(points: npt.NDArray[Any], up: Up) -> npt.NDArray[Any]:
    """Turn points (..., 3) to y-up. Coordinates change place and sign and are never rounded.

    Args:
        points: Signed numbers of any type, which is kept.
        up: The axis that points up in them; of `"y"` they are returned as they are.
    """
    if up == "y":
        return points
    rows = TO_Y_UP[up]
    axes = [next(axis for axis in range(3) if row[axis]) for row in rows]
    signs = np.array([row[axis] for row, axis in zip(rows, axes, strict=True)], dtype=points.dtype)
    return np.asarray(np.take(points, axes, axis=-1) * signs)
