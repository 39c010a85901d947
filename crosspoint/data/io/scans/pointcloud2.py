"""The points of a PointCloud2, ROS's message for clouds, from its numbers and bytes alone.

The message: https://docs.ros.org/en/api/sensor_msgs/html/msg/PointCloud2.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import some
from crosspoint.data.io.columns import AXES, from_rows
from crosspoint.data.points import Coordinates

KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}  # by a PointField's datatype


@dataclass(frozen=True)
class PointField:
    """A column of the points: its name, its byte within a point, the number of its type, and values a point."""

    name: str
    offset: int
    datatype: int
    count: int = 1


def cloud_of_message(message: Any) -> Coordinates:
    """The coordinates of a PointCloud2 of `sensor_msgs`, of rclpy as of rosbags; see `points_of`."""
    fields = [PointField(field.name, field.offset, field.datatype, field.count) for field in message.fields]
    return points_of(
        message.data,
        fields,
        width=message.width,
        height=message.height,
        point_step=message.point_step,
        row_step=message.row_step,
        is_bigendian=message.is_bigendian,
    )


def points_of(
    data: "bytes | memoryview | npt.NDArray[np.uint8]",
    fields: Sequence[PointField],
    *,
    width: int,
    height: int,
    point_step: int,
    row_step: int,
    is_bigendian: bool = False,
) -> Coordinates:
    """The coordinates of a PointCloud2, row after row of an organised one.

    Args:
        data: The bytes of all points.
        fields: In any order, with gaps or without; `x`, `y` and `z` have to be among them.
        width: Points in a row.
        height: Rows; 1 of a cloud without order.
        point_step: Bytes from one point to the next.
        row_step: Bytes from one row to the next; rows may end with bytes of no point.
        is_bigendian: Whether numbers have their first byte first.

    Returns:
        (width · height, 3): float32 where x, y and z are that, else float64. NaN where a sensor had no return
        (`is_dense` false).

    Raises:
        InputError: There are no x, y and z of one number each, or the bytes are too few.
    """
    named = {field.name.lower(): field for field in fields}
    if not set(AXES) <= set(named):
        raise InputError(f"has points without x, y and z, only {some(named)}")
    axes = [named[axis] for axis in AXES]
    if any(field.datatype not in KINDS or field.count not in (0, 1) for field in axes):
        raise InputError("has x, y or z of an unknown type, or of several values a point")
    kinds = [(">" if is_bigendian else "<") + KINDS[field.datatype] for field in axes]
    ends = [field.offset + int(kind[-1]) for field, kind in zip(axes, kinds, strict=True)]
    plain = memoryview(cast("bytes", data)).cast("B")
    if height == 1 or row_step == 0:
        row_step = max(row_step, width * point_step)  # some drivers leave it 0
    if (
        min(width, height, *(field.offset for field in axes)) < 0
        or max(ends) > point_step
        or row_step < width * point_step
    ):
        raise InputError(f"has points of {point_step} bytes in rows of {row_step}, which do not hold {width} of them")
    needed = (height - 1) * row_step + width * point_step if width and height else 0
    if needed > len(plain):
        raise InputError(f"is cut off: {len(plain)} bytes cannot hold {width} x {height} points")
    if not needed:
        return np.empty((0, 3), np.float32)
    places = [(kind, field.offset) for kind, field in zip(kinds, axes, strict=True)]
    if height == 1 or row_step == width * point_step:
        return from_rows(plain, width * height, row=point_step, places=places)
    rows = [from_rows(plain[row * row_step :], width, row=point_step, places=places) for row in range(height)]
    return np.concatenate(rows)
