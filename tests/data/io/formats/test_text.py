"""Text as spreadsheets, scanners' software, pandas and ParaView write it."""

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.clouds import read_clouds
from crosspoint.data.io.formats.text import may_be_points, read_text

POINTS = np.round(np.random.default_rng(0).normal(size=(30, 3)), 4)


def table(header, row, points=POINTS, end="\n"):
    """A header and a line a point: `row` has {i}, {x}, {y} and {z}."""
    lines = [row.format(i=i, x=x, y=y, z=z) for i, (x, y, z) in enumerate(points.tolist())]
    return ((f"{header}{end}" if header is not None else "") + end.join(lines) + end).encode()


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("x,y,z", "{x},{y},{z}"),
        ("Z,X,Y", "{z},{x},{y}"),
        (",x,y,z", "{i},{x},{y},{z}"),
        ('"","x","y","z"', "{i},{x},{y},{z}"),
        ("timestamp,px,py,pz", "17{i:08},{x},{y},{z}"),
        ("id,x [m],y [m],z [m]", "{i},{x},{y},{z}"),
        ("id;X(mm);Y(mm);Z(mm)", "{i};{x};{y};{z}"),
        ("stamp pos_x pos_y pos_z", "17{i} {x} {y} {z}"),
        ("t [s] x [m] y [m] z [m]", "{i} {x} {y} {z}"),
        ("time\tPoint X\tPoint Y\tPoint Z", "{i}\t{x}\t{y}\t{z}"),
        ("intensity,Points_m_XYZ:0,Points_m_XYZ:1,Points_m_XYZ:2,azimuth", "{i},{x},{y},{z},7"),
        ('"colors:0","colors:1","colors:2","Points:0","Points:1","Points:2"', "1,2,3,{x},{y},{z}"),
        ("nx,ny,nz,x,y,z", "1,0,0,{x},{y},{z}"),
        ("vx,vy,vz,position.x,position.y,position.z", "1,0,0,{x},{y},{z}"),
        ("px,py,pz,x,y,z", "1,0,0,{x},{y},{z}"),
        ("label,x,y,z", "a tree,{x},{y},{z}"),
        ("name,x,y,z", '"a, tree",{x},{y},{z}'),
        ("//X Y Z R G B", "{x} {y} {z} 1 2 3"),
        ("# intensity x y z", "{i} {x} {y} {z}"),
        ("# written by hand", "{x} {y} {z}"),
        (None, "{x} {y} {z} 0.5 1 2 3"),
        (None, "  {x}\t{y} {z}  "),
        ("x,y,z,", "{x},{y},{z},"),
    ],
)
def test_coordinates_are_found_by_their_names(header, row):
    np.testing.assert_array_equal(read_text(table(header, row)), POINTS)
    np.testing.assert_array_equal(read_text(table(header, row, end="\r\n")), POINTS)
    assert may_be_points(table(header, row))


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("a,b,c,d", "{i},{x},{y},{z}", "columns named a, b, c, d, none of them x, y and z; say which"),
        ("id,label,split", "{i},1,0", "none of them x, y and z"),
        ("nx,ny,nz", "{x},{y},{z}", "none of them x, y and z"),
        ("azimuth,elevation,range", "{x},{y},{z}", "none of them x, y and z"),
        ("x,y", "{x},{y}", "none of them x, y and z"),
        ("x,y,z,x", "{x},{y},{z},1", "2 columns named x"),
        ("x y z", "{i} {x} {y} {z}", "names 3 columns .x, y, z. and has 4"),
        ("x,y,z", "0,1,0,2,0,3", "names 3 columns .x, y, z. and has 6"),
        (None, "1 0 0 {x} 0 1 0 {y} 0 0 1 {z}", "12 columns without names"),
        (None, "17000000{i:02} {x} {y} {z}", "time stamps in its first column"),
        (None, "{i} {x} {y} {z}", "the numbers of its rows"),
        (None, "17.5{i} {x} {y} {z} 0 0 0.6 0.8", "poses: a position and a quaternion"),
        (None, "{x} {y} {z} 0 1 0 0", "poses"),
        (None, "{x} {y}", "has 2 columns"),
        ("Licence of this", "Use as you like", "names 3 columns .Licence, of, this. and has 4"),
        ("P0: 7.1e+02 0.0 6.1e+02", "P1: {x} {y} {z}", "none of them x, y and z"),
    ],
)
def test_columns_that_are_not_said_to_be_coordinates_are_refused(header, row, message):
    with pytest.raises(InputError, match=message):
        read_text(table(header, row))
    assert not may_be_points(table(header, row))


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        ("a,b,c,d", "{i},{x},{y},{z}", "b,c,d"),
        ("a,b,c,d", "{i},{z},{x},{y}", "3,4,2"),
        ("a b c d", "{i} {x} {y} {z}", "B, C ,D"),
        (None, "17000000{i:02} {x} {y} {z}", "2,3,4"),
        (None, "1 0 0 {x} 0 1 0 {y} 0 0 1 {z}", "4,8,12"),
        ("x,y,z,px,py,pz", "0,0,0,{x},{y},{z}", "px,py,pz"),
        ("# a b c d", "{i} {x} {y} {z}", "b,c,d"),
    ],
)
def test_columns_that_the_user_names(header, row, columns):
    np.testing.assert_array_equal(read_text(table(header, row), columns), POINTS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("x,y", "text has three"),
        ("4", "text has three"),
        ("b,c,q", "has no columns b,c,q; it has a, b, c, d"),
        ("0,1,2", "has no"),
    ],
)
def test_columns_that_are_not_there(columns, message):
    with pytest.raises(InputError, match=message):
        read_text(table("a,b,c,d", "{i},{x},{y},{z}"), columns)


@pytest.mark.parametrize(("delimiter", "header"), [(";", "x;y;z"), ("\t", "x\ty\tz"), (" ", None), (";", None)])
def test_decimal_commas(delimiter, header):
    row = delimiter.join(["{x}", "{y}", "{z}"])
    points = np.r_[[[0.0, 1.0, 2.0]], POINTS]  # whole numbers first
    content = table(header, row, points).replace(b".0" + delimiter.encode(), delimiter.encode()).replace(b".", b",")
    np.testing.assert_array_equal(read_text(content), points)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("header", ["x,y,z", None])
def test_every_encoding(encoding, header):
    text = table(header, "{x},{y},{z}").decode()
    comment = "# Maße in Metern\n" if not encoding.startswith("utf-16-") else ""
    np.testing.assert_array_equal(read_text((comment + text).encode(encoding)), POINTS)


def test_a_count_before_the_names_is_checked():
    content = table("x y z", "{x} {y} {z}")
    np.testing.assert_array_equal(read_text(b"30\n" + content), POINTS)
    with pytest.raises(InputError, match="says 31 points but has 30"):
        read_text(b"31\n" + content)


def test_blank_lines_and_comments_between_the_points():
    rows = table(None, "{x},{y},{z}").splitlines(keepends=True)
    content = b"x,y,z\n" + b"  \n// far\n\n# near\n".join([b"".join(rows[:9]), b"".join(rows[9:])])
    np.testing.assert_array_equal(read_text(content), POINTS)


def test_the_file_is_named_and_columns_are_handed_on(tmp_path):
    (tmp_path / "a.csv").write_bytes(table("a,b,c,d", "{i},{x},{y},{z}"))
    with pytest.raises(InputError, match=r"a\.csv: has columns named a, b, c, d"):
        read_clouds(tmp_path / "a.csv")
    np.testing.assert_array_equal(read_clouds(tmp_path / "a.csv", "b,c,d")[0], POINTS)
