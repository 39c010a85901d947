"""Messages as drivers lay them out, written here byte by byte."""

import struct

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.scans.pointcloud2 import PointField, points_of

F4, F8, U1, U2, I4 = 7, 8, 2, 4, 5  # numbers of PointField
POINTS = np.random.default_rng(0).integers(-50, 50, (12, 3)).astype(np.float64) / 4
CODES = {F4: "f", F8: "d", I4: "i", U1: "B", U2: "H"}


def data(columns, step, order="<", row=0, width=12, points=POINTS):
    """Columns (name, byte, type) of points of `step` bytes; what is no coordinate is 9, and gaps are 0xAA."""
    rows = []
    for i, point in enumerate(points):
        content = bytearray(b"\xaa" * step)
        for name, offset, kind in columns:
            value = point["xyz".index(name)] if name in "xyz" else 9
            struct.pack_into(order + CODES[kind], content, offset, int(value) if kind in (U1, U2, I4) else value)
        rows.append(bytes(content) + (b"\xaa" * (row - width * step) if row and (i + 1) % width == 0 else b""))
    return b"".join(rows)


LAYOUTS = {  # by a driver that writes it: columns, bytes a point
    "velodyne": (
        (("x", 0, F4), ("y", 4, F4), ("z", 8, F4), ("intensity", 12, F4), ("ring", 16, U2), ("time", 18, F4)),
        22,
    ),
    "ouster": ((("x", 0, F4), ("y", 4, F4), ("z", 8, F4), ("intensity", 16, F4), ("t", 20, I4), ("range", 32, I4)), 48),
    "depth camera": ((("x", 0, F4), ("y", 4, F4), ("z", 8, F4), ("rgb", 16, F4)), 32),
    "livox": ((("x", 0, F4), ("y", 4, F4), ("z", 8, F4), ("intensity", 12, F4), ("tag", 16, U1), ("line", 17, U1)), 18),
    "double": ((("x", 0, F8), ("y", 8, F8), ("z", 16, F8)), 24),
    "z first": ((("z", 0, F4), ("intensity", 4, F4), ("y", 8, F4), ("x", 12, F4)), 16),
    "apart": ((("ring", 0, U2), ("x", 2, F4), ("y", 11, F4), ("z", 23, F4)), 30),
    "mixed": ((("x", 0, F8), ("y", 8, F4), ("z", 12, F4)), 16),
}


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


@pytest.mark.parametrize("order", ["<", ">"])
def test_coordinates_of_every_layout(layout, order):
    columns, step = layout
    fields = [PointField(*column) for column in columns]
    points = points_of(
        data(columns, step, order),
        fields,
        width=12,
        height=1,
        point_step=step,
        row_step=12 * step,
        is_bigendian=order == ">",
    )
    np.testing.assert_array_equal(points, POINTS)
    single = all(kind == F4 for name, _, kind in columns if name in "xyz")
    assert points.dtype == (np.float32 if single else np.float64)


def test_fields_in_any_order_of_the_message(layout):
    columns, step = layout
    fields = [PointField(*column) for column in reversed(columns)]
    np.testing.assert_array_equal(
        points_of(data(columns, step), fields, width=12, height=1, point_step=step, row_step=12 * step), POINTS
    )


def test_organised_clouds_whose_rows_end_with_bytes_of_no_point(layout):
    columns, step = layout
    content = data(columns, step, row=4 * step + 7, width=4)
    fields = [PointField(*column) for column in columns]
    np.testing.assert_array_equal(
        points_of(content, fields, width=4, height=3, point_step=step, row_step=4 * step + 7), POINTS
    )


def test_points_without_a_return_are_nan():
    columns, step = LAYOUTS["velodyne"]
    points = POINTS.copy()
    points[::2] = np.nan
    fields = [PointField(*column) for column in columns]
    np.testing.assert_array_equal(
        points_of(data(columns, step, points=points), fields, width=12, height=1, point_step=step, row_step=12 * step),
        points,
    )


def test_whole_numbers_and_rows_whose_step_is_left_out():
    columns = (("x", 0, I4), ("y", 4, I4), ("z", 8, I4))
    fields = [PointField(*column, 0) for column in columns]  # a count of 0, as some drivers have it
    np.testing.assert_array_equal(
        points_of(data(columns, 12), fields, width=12, height=1, point_step=12, row_step=0), POINTS.astype(int)
    )


def test_the_bytes_may_be_an_array_and_no_points_are_none():
    columns, step = LAYOUTS["double"]
    fields = [PointField(*column) for column in columns]
    array = np.frombuffer(data(columns, step), np.uint8)
    np.testing.assert_array_equal(
        points_of(array, fields, width=12, height=1, point_step=step, row_step=12 * step), POINTS
    )
    assert points_of(b"", fields, width=0, height=1, point_step=step, row_step=0).shape == (0, 3)


XYZ = [PointField("x", 0, F4), PointField("y", 4, F4), PointField("z", 8, F4)]


@pytest.mark.parametrize(
    ("fields", "width", "height", "step", "row", "message"),
    [
        (XYZ[:2], 3, 1, 12, 36, "without x, y and z, only x, y"),
        ([*XYZ[:2], PointField("z", 8, 99)], 3, 1, 12, 36, "unknown type"),
        ([*XYZ[:2], PointField("z", 8, F4, 3)], 3, 1, 20, 60, "several values"),
        ([*XYZ[:2], PointField("z", 9, F4)], 3, 1, 12, 36, "do not hold"),
        (XYZ, 4, 1, 12, 48, "cut off: 36 bytes cannot hold 4 x 1"),
        (XYZ, 2**32 - 1, 2**32 - 1, 12, 12, "do not hold"),
        (XYZ, 1, 2**32 - 1, 12, 12, "cut off"),
        (XYZ, 3, 1, 0, 36, "do not hold"),
    ],
)
def test_messages_that_are_refused(fields, width, height, step, row, message):
    with pytest.raises(InputError, match=message):
        points_of(bytes(36), fields, width=width, height=height, point_step=step, row_step=row)
