"""Points come back from whatever layout, text or polygon they are written in."""

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crosspoint.data.io.formats.text import read_text
from crosspoint.data.io.meshes import areas
from crosspoint.data.io.polygons import triangulate
from crosspoint.data.io.rows import Rows
from crosspoint.data.io.scans.pointcloud2 import PointField, points_of
from crosspoint.data.points import drop_missing, near_origin, normalise

CODES = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 8: "d"}
WHOLE = arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(0, 100))
FINITE = st.floats(-1e6, 1e6, allow_nan=False)
CLOUDS = arrays.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=FINITE)


@given(
    points=WHOLE,
    kinds=st.tuples(*[st.sampled_from(list(CODES))] * 3),
    order=st.permutations("xyzi"),
    gaps=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    end=st.integers(0, 9),
    height=st.integers(1, 3),
    padding=st.integers(0, 9),
    big=st.booleans(),
)
def test_a_pointcloud2_of_any_layout(points, kinds, order, gaps, end, height, padding, big):
    kind, fields, at = {**dict(zip("xyz", kinds, strict=True)), "i": 4}, [], 0
    for name, gap in zip(order, gaps, strict=True):
        fields.append(PointField(name, at + gap, kind[name], 1))
        at += gap + struct.calcsize(CODES[kind[name]])
    step, rows = at + end, []
    for _ in range(height):
        for point in points.tolist():
            content = bytearray(step)
            for field in fields:
                value = point["xyz".index(field.name)] if field.name in "xyz" else 7
                code = CODES[field.datatype]
                struct.pack_into(
                    (">" if big else "<") + code, content, field.offset, value if code in "fd" else int(value)
                )
            rows.append(bytes(content))
        rows.append(bytes(padding))
    found = points_of(
        b"".join(rows),
        fields[::-1],
        width=len(points),
        height=height,
        point_step=step,
        row_step=len(points) * step + padding,
        is_bigendian=big,
    )
    np.testing.assert_array_equal(found, np.concatenate([points] * height))


@given(
    points=CLOUDS,
    delimiter=st.sampled_from([",", ";", "\t", " ", "  "]),
    comma=st.booleans(),
    names=st.sampled_from(
        [
            ("x", "y", "z"),
            ("X [m]", "Y [m]", "Z [m]"),
            ("pos_x", "pos_y", "pos_z"),
            ("Points:0", "Points:1", "Points:2"),
        ]
    ),
    order=st.permutations(range(4)),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_text_of_any_form(points, delimiter, comma, names, order, encoding, end):
    comma = comma and delimiter != ","
    header = [(*names, "time")[i] for i in order]
    lines = [delimiter.join(header)]
    for i, point in enumerate(points.tolist()):
        words = [repr(value) for value in (*point, 0.5 + i)]
        lines.append(delimiter.join(words[k] for k in order).replace(".", "," if comma else "."))
    np.testing.assert_array_equal(read_text((end.join(lines) + end).encode(encoding)), points)


@given(
    radii=st.lists(st.floats(0.1, 10), min_size=3, max_size=40),
    start=st.integers(0, 39),
    back=st.booleans(),
    offset=st.sampled_from([0.0, 1e6]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_star_of_any_form_is_covered_once(radii, start, back, offset, seed):
    """A polygon around the origin: its area is the sum of the triangles from there."""
    count = len(radii)
    turn = 2 * np.pi * np.arange(count) / count
    flat = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * np.array(radii)[:, None]  # (k, 2)
    frame = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    vertices = np.c_[flat, np.zeros(count)] @ frame + offset
    corners = np.roll(np.arange(count)[:: -1 if back else 1], start)
    faces = triangulate(vertices, Rows(corners, np.array([count])))
    area = sum(radii[i - 1] * radii[i] for i in range(count)) * np.sin(2 * np.pi / count) / 2
    np.testing.assert_allclose(areas(vertices, faces).sum(), area, rtol=1e-6)


@given(points=arrays.arrays(np.float32, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(width=32)))
def test_what_is_left_of_a_cloud_is_what_is_finite(points):
    np.testing.assert_array_equal(
        drop_missing(points), [point for point in points if np.isfinite(point).all()] or points[:0]
    )


@given(points=CLOUDS, offset=st.sampled_from([0.0, 5e5, 4.6e6, -1e8]))
def test_a_cloud_that_was_moved_to_the_origin_is_the_same_object(points, offset):
    far = points + np.array([offset, -offset, offset])
    assert near_origin(far).dtype == np.float32
    if np.ptp(far, axis=0).max() > 1:
        np.testing.assert_allclose(normalise(near_origin(far)), normalise(far), atol=2e-4)
