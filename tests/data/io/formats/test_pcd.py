"""PCD files as PCL and others write them, written here byte by byte."""

import struct

import lzf
import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.clouds import read_clouds
from crosspoint.data.io.formats.pcd import read_pcd

ENCODINGS = ("ascii", "binary", "binary_compressed")
TYPES = {"F4": "f", "F8": "d", "I1": "b", "I2": "h", "I4": "i", "I8": "q", "U1": "B", "U2": "H", "U4": "I", "U8": "Q"}


@pytest.fixture
def points():
    """Repeated coordinates, so that LZF shortens them; whole ones, so that every type holds them."""
    return np.random.default_rng(0).integers(0, 9, (60, 3)).astype(np.float64)


def write(points, encoding="ascii", fields="x:F4 y:F4 z:F4", separator=" ", leave_out=(), **changes):
    """A file with the given fields, each `name:type` or `name:type:count`; what is no coordinate is 7.

    Args:
        points: (N, 3).
        encoding: What DATA says.
        fields: The columns in their order.
        separator: Between the words of a line.
        leave_out: Lines of the header.
        changes: Lines of the header, instead of what would be right.
    """
    columns = [(*field.split(":"), "1")[:3] for field in fields.split()]
    header = {
        "VERSION": "0.7",
        "FIELDS": " ".join(name for name, _, _ in columns),
        "SIZE": " ".join(kind[1:] for _, kind, _ in columns),
        "TYPE": " ".join(kind[0] for _, kind, _ in columns),
        "COUNT": " ".join(count for _, _, count in columns),
        "WIDTH": str(len(points)),
        "HEIGHT": "1",
        "VIEWPOINT": "0 0 0 1 0 0 0",
        "POINTS": str(len(points)),
        "DATA": encoding,
    } | changes
    lines = [f"{key} {value}".replace(" ", separator) for key, value in header.items() if key not in leave_out]
    start = ("# .PCD v0.7 - Point Cloud Data file format\n" + "\n".join(lines) + "\n").encode("latin-1")
    columns = [(name.lower(), kind, int(count)) for name, kind, count in columns]
    values = {axis: points[:, i].tolist() for i, axis in enumerate("xyz")}
    if encoding == "ascii":
        rows = [
            [repr(values[name][i]) if name in values else "7" for name, _, count in columns for _ in range(count)]
            for i in range(len(points))
        ]
        return start + "".join(separator.join(row) + "\n" for row in rows).encode()

    def packed(name, kind, count, i):
        value = values[name][i] if name in values else 7
        return struct.pack(f"<{count}{TYPES[kind]}", *[value if TYPES[kind] in "fd" else int(value)] * count)

    if encoding == "binary":
        return start + b"".join(packed(*column, i) for i in range(len(points)) for column in columns)
    plain = b"".join(packed(*column, i) for column in columns for i in range(len(points)))
    small = lzf.compress(plain)
    return start + struct.pack("<II", len(small), len(plain)) + small


def replaced(content, key, value):
    """A file with another line in its header; the points stay as they are."""
    lines = content.split(b"\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(key.encode()))
    return b"\n".join([*lines[:at], f"{key} {value}".encode(), *lines[at + 1 :]])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "fields",
    [
        "x:F4 y:F4 z:F4",
        "X:F4 Y:F4 Z:F4",
        "x:F8 y:F8 z:F8",
        "x:I2 y:U1 z:I8",
        "x:U8 y:I4 z:F4",
        "rgb:U4 z:F4 normal:F4:3 y:F8 ring:U2 x:F4 intensity:F4",
        "x:F4 y:F4 z:F4 fpfh:F4:33",
        "x:F4 y:F4 z:F4 x:U1",  # the first of two
    ],
)
def test_fields_of_any_order_and_type(encoding, fields, points):
    np.testing.assert_array_equal(read_pcd(write(points, encoding, fields)), points)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("version", [".5", ".6", ".7", "0.7", "v.7", ""])
def test_every_version(encoding, version, points):
    np.testing.assert_array_equal(read_pcd(write(points, encoding, VERSION=version)), points)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line", ["VERSION", "COUNT", "SIZE", "TYPE", "VIEWPOINT", "WIDTH", "HEIGHT", "POINTS"])
def test_lines_that_may_be_missing(encoding, line, points):
    np.testing.assert_array_equal(read_pcd(write(points, encoding, leave_out=(line,))), points)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_header_of_the_oldest_files(encoding, points):
    content = write(points, encoding, leave_out=("VERSION", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT"))
    np.testing.assert_array_equal(read_pcd(content.replace(b"FIELDS", b"COLUMNS")), points)


@pytest.mark.parametrize("separator", ["  ", "\t", " \t "])
def test_spaces_and_tabs(separator, points):
    np.testing.assert_array_equal(read_pcd(write(points, separator=separator)), points)


def test_lines_that_end_as_on_windows(points):
    np.testing.assert_array_equal(read_pcd(write(points).replace(b"\n", b"\r\n")), points)


def test_blank_lines_and_comments_in_any_encoding(points):
    content = write(points, "binary").replace(b"FIELDS", "\n# Straße\n\nFIELDS".encode("latin-1"))
    np.testing.assert_array_equal(read_pcd(content), points)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_header_in_lower_case(encoding, points):
    head, data = write(points, encoding).split(b"\nDATA ", 1)
    content = head.replace(b"# .PCD v0.7 - Point Cloud Data file format\n", b"").lower() + b"\ndata " + data
    np.testing.assert_array_equal(read_pcd(content), points)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_organised_cloud_row_after_row(encoding, points):
    np.testing.assert_array_equal(read_pcd(write(points, encoding, WIDTH="12", HEIGHT="5")), points)
    only_sides = write(points, encoding, leave_out=("POINTS",), WIDTH="12", HEIGHT="5")
    np.testing.assert_array_equal(read_pcd(only_sides), points)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_padding_between_fields(encoding, points):
    fields = "x:F4 y:F4 _:U1:5 z:F4 _:U1:4 rgb:F4 _:U1:12"
    np.testing.assert_array_equal(read_pcd(write(points, encoding, fields)), points)


def test_padding_that_a_compressed_file_holds_or_leaves_out(points):
    """PCL leaves it out of the data; where it also stands in the header, the length tells."""
    padded = "x:F4 _:U1:4 y:F4 _:U1:12 z:F4"
    np.testing.assert_array_equal(read_pcd(write(points, "binary_compressed", padded)), points)
    content = write(
        points, "binary_compressed", FIELDS="x _ y _ z", SIZE="4 1 4 1 4", TYPE="F U F U F", COUNT="1 4 1 12 1"
    )
    np.testing.assert_array_equal(read_pcd(content), points)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_count_of_0_is_one_value_or_none_as_the_data_says(encoding, points):
    """Old converters of PCL wrote 0 for a single value."""
    np.testing.assert_array_equal(read_pcd(write(points, encoding, COUNT="0 0 0")), points)
    one = write(points, encoding, "x:F4 rgb:F4 y:F4 z:F4", COUNT="1 0 1 1")
    np.testing.assert_array_equal(read_pcd(one), points)
    none = write(points, encoding, "x:F4 rgb:F4:0 y:F4 z:F4")
    np.testing.assert_array_equal(read_pcd(none), points)


def test_coordinates_keep_their_digits():
    """A coordinate of UTM has seven digits before the point."""
    points = np.array([[500000.123456789, 4649776.987654321, -1e-9]] * 40)
    for encoding in ENCODINGS:
        np.testing.assert_array_equal(read_pcd(write(points, encoding, "x:F8 y:F8 z:F8")), points)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_points_without_a_measurement_are_nan(encoding, points):
    points[::3] = np.nan
    np.testing.assert_array_equal(read_pcd(write(points, encoding)), points)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WIDTH": "12", "HEIGHT": "6"}, "says 60 POINTS, but WIDTH times HEIGHT is 72"),
        ({"POINTS": "0", "WIDTH": "0"}, "has no points"),
        ({"POINTS": "-1"}, r"no valid POINTS \(-1\)"),
        ({"POINTS": "many"}, "no valid POINTS"),
        ({"POINTS": "9" * 5000}, "no valid POINTS"),
        ({"SIZE": "4 4"}, "no valid SIZE"),
        ({"SIZE": "4 4 3"}, "values of 4, 4, 3 bytes"),
        ({"TYPE": "F F"}, "3 FIELDS and 2 of TYPE"),
        ({"TYPE": "F F Q"}, "has z of type Q4"),
        ({"COUNT": "1 1 x"}, "no valid COUNT"),
        ({"COUNT": "1 1 2"}, "has 2 values of z a point"),
        ({"FIELDS": "x y w"}, "has no x, y and z, only x, y, w"),
        ({"DATA": "morse"}, "has DATA morse; save it as ascii, binary"),
    ],
)
def test_headers_that_are_refused(encoding, changes, message, points):
    content = write(points, encoding)
    for key, value in changes.items():
        content = replaced(content, key, value)
    with pytest.raises(InputError, match=message):
        read_pcd(content)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line", ["FIELDS", "DATA"])
def test_lines_that_must_be_there(encoding, line, points):
    with pytest.raises(InputError, match="no PCD header"):
        read_pcd(write(points, encoding, leave_out=(line,)))
    with pytest.raises(InputError, match="no number of POINTS"):
        read_pcd(write(points, encoding, leave_out=("POINTS", "WIDTH")))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_more_points_announced_than_there_are(encoding, points):
    content = write(points, encoding, POINTS="61", WIDTH="61")
    with pytest.raises(InputError, match=r"cut off|720 bytes are not 61 points"):
        read_pcd(content)


def test_rows_of_another_length_than_the_header_says(points):
    for fields, count, message in (("x:F4 y:F4 z:F4", 4, "3 values and not 4"), ("x:F4 y:F4 z:F4 a:F4", 3, "4 values")):
        words = {"FIELDS": "x y z a", "SIZE": "4 4 4 4", "TYPE": "F F F F", "COUNT": "1 1 1 1"}
        header = {key: " ".join(value.split()[:count]) for key, value in words.items()}
        with pytest.raises(InputError, match=message):
            read_pcd(write(points, "ascii", fields, **header))


def test_compressed_points_that_are_damaged(points, tmp_path):
    content = write(points, "binary_compressed")
    at = content.index(b"DATA binary_compressed\n") + 23
    plain = struct.unpack_from("<II", content, at)[1]
    path = tmp_path / "a.pcd"
    for body in (
        content[at + 8 :][:-3],  # cut off
        bytes([0xFF, 0xFF, 0xFF]) + content[at + 11 :],  # repeats what was never there
        bytes([31]) + bytes(32),  # 32 bytes and not 720
        lzf.compress(bytes(2000)),  # 2,000
        b"",
    ):
        path.write_bytes(content[:at] + struct.pack("<II", len(body), plain) + body)
        with pytest.raises(InputError, match=r"^[^\n]*(damaged|cut off)[^\n]*$"):
            read_clouds(path)
