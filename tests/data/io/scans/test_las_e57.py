"""LAS, LAZ and E57 files, written with the libraries of those formats; a LAS file also byte by byte."""

import struct
import sys

import numpy as np
import pytest

from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.data.io.files import read_points, up_of
from crosspoint.data.io.scans.e57 import cartesian

UTM = np.array([500000.0, 4649776.0, 120.0])


@pytest.fixture
def points():
    """Near a place in UTM, in whole millimetres."""
    return np.round(np.random.default_rng(0).normal(size=(400, 3)), 3) + UTM


def las(points, scale=0.001):
    """LAS 1.2, point format 0: a header of 227 bytes, then 20 bytes a point."""
    whole = np.rint((points - UTM) / scale).astype(int)
    header = struct.pack("<4sHHIHH8sBB", b"LASF", 0, 0, 0, 0, 0, b"", 1, 2) + bytes(64)
    header += struct.pack("<HHHIIBHI5I", 1, 2026, 227, 227, 0, 0, 20, len(points), len(points), 0, 0, 0, 0)
    header += struct.pack("<6d", scale, scale, scale, *UTM)
    header += struct.pack("<6d", *np.stack([points.max(0), points.min(0)], -1).ravel())
    assert len(header) == 227
    return header + b"".join(struct.pack("<3i", *row) + bytes(8) for row in whole.tolist())


def test_las_byte_by_byte(points, tmp_path):
    pytest.importorskip("laspy")
    path = tmp_path / "a.las"
    path.write_bytes(las(points))
    np.testing.assert_allclose(read_points(path, None, seed=0)[0], points, atol=1e-6, rtol=0)
    assert up_of(path) == "z"


@pytest.mark.parametrize(("version", "form"), [("1.2", 3), ("1.4", 6), ("1.4", 8)])
@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_las_of_every_version_compressed_and_not(suffix, version, form, points, tmp_path):
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(point_format=form, version=version)
    header.scales, header.offsets = [0.001] * 3, UTM
    data = laspy.LasData(header)
    data.xyz = points
    data.write(str(tmp_path / f"a{suffix}"))
    np.testing.assert_allclose(read_points(tmp_path / f"a{suffix}", None, seed=0)[0], points, atol=1e-6, rtol=0)
    content = (tmp_path / f"a{suffix}").read_bytes()
    for length in (3, 200, len(content) // 2):
        (tmp_path / f"a{suffix}").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"^[^\n]*$"):
            read_points(tmp_path / f"a{suffix}", None, seed=0)


def test_las_that_announces_more_than_there_is(points, tmp_path):
    pytest.importorskip("laspy")
    content = bytearray(las(points))
    struct.pack_into("<I", content, 107, 2**32 - 1)
    (tmp_path / "a.las").write_bytes(content)
    with pytest.raises(InputError, match="cut off: 8227 bytes cannot hold 4294967295 points"):
        read_points(tmp_path / "a.las", None, seed=0)


def test_las_with_more_records_than_bytes_takes_no_memory_for_them(points, tmp_path):
    pytest.importorskip("laspy")
    content = bytearray(las(points))
    struct.pack_into("<I", content, 100, 2**32 - 1)
    (tmp_path / "a.las").write_bytes(content)
    with pytest.raises(InputError, match="damaged: 8227 bytes cannot hold 4294967295 records before the points"):
        read_points(tmp_path / "a.las", None, seed=0)


def write_e57(path, points, rotation=None, translation=None, kept=None):
    pye57 = pytest.importorskip("pye57")
    data = {"cartesianX": points[:, 0].copy(), "cartesianY": points[:, 1].copy(), "cartesianZ": points[:, 2].copy()}
    if kept is not None:
        data["cartesianInvalidState"] = (~kept).astype(np.int8)
    file = pye57.E57(str(path), mode="w")
    file.write_scan_raw(data, rotation=rotation, translation=translation)
    file.close()


def test_spherical_coordinates():
    """Of both axes by hand, and of any point back to its range and angles."""
    rows = np.array([[2, 0, 0], [2, np.pi / 2, 0], [2, 0, np.pi / 2], [3, -2, 0.7]])
    found = cartesian(rows)
    np.testing.assert_allclose(found[:3], [[2, 0, 0], [0, 2, 0], [0, 0, 2]], atol=1e-15)
    x, y, z = found[3]
    np.testing.assert_allclose([np.hypot(np.hypot(x, y), z), np.arctan2(y, x), np.arcsin(z / 3)], rows[3])


def test_e57(points, tmp_path):
    near = points - UTM
    write_e57(tmp_path / "a.e57", near)
    np.testing.assert_allclose(read_points(tmp_path / "a.e57", None, seed=0)[0], near, atol=1e-9)
    assert up_of(tmp_path / "a.e57") == "z"


def test_e57_is_turned_and_moved_by_its_pose(points, tmp_path):
    near = points - UTM
    quarter = np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])  # about z, w first
    write_e57(tmp_path / "a.e57", near, rotation=quarter, translation=UTM)
    expected = np.stack([-near[:, 1], near[:, 0], near[:, 2]], axis=-1) + UTM
    np.testing.assert_allclose(read_points(tmp_path / "a.e57", None, seed=0)[0], expected, atol=1e-6)


def test_e57_points_that_are_marked_invalid_are_left_out(points, tmp_path, capfd):
    kept = np.arange(400) % 4 > 0
    write_e57(tmp_path / "a.e57", points, kept=kept)
    np.testing.assert_allclose(read_points(tmp_path / "a.e57", None, seed=0)[0], points[kept], atol=1e-6)
    assert "100 of 400 points" in capfd.readouterr().err


def test_e57_that_was_cut_off_is_refused(points, tmp_path):
    write_e57(tmp_path / "a.e57", points)
    content = (tmp_path / "a.e57").read_bytes()
    for length in (1, 48, len(content) // 2, len(content) - 1024):
        (tmp_path / "a.e57").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"^[^\n]*$"):
            read_points(tmp_path / "a.e57", None, seed=0)


@pytest.mark.parametrize(
    ("suffix", "package", "extra"), [("las", "laspy", "las"), ("laz", "lazrs", "las"), ("e57", "pye57", "e57")]
)
def test_a_missing_package_is_named(suffix, package, extra, tmp_path, monkeypatch):
    (tmp_path / f"a.{suffix}").write_bytes(b"LASF" + bytes(300))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=rf"reading a\.{suffix} needs .*\[{extra}\]"):
        read_points(tmp_path / f"a.{suffix}", None, seed=0)


@pytest.mark.parametrize(
    ("form", "change", "reason"),
    [
        (3, "table", "cannot hold 2147483647 chunks"),
        (3, "no table", "its table of chunks would begin at byte 2147483647"),
        (3, "chunk of 16 million", "claims 570 MB of content"),
        (3, "chunk of none", "does not fit its points"),
        (3, "points behind the end", "would begin behind its"),
        (8, "layer", "layers of 4294967295 bytes|layers of [0-9]+ bytes in a chunk of"),
    ],
)
def test_a_laz_that_claims_more_than_there_is_takes_no_memory(form, change, reason, points, tmp_path):
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(point_format=form, version="1.2" if form < 6 else "1.4")
    header.scales, header.offsets = [0.001] * 3, UTM
    data, path = laspy.LasData(header), tmp_path / "a.laz"
    data.xyz = points
    data.write(str(path))
    content = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", content, 96)[0]  # of the points, which begin with the place of the table
    table, record = struct.unpack_from("<q", content, start)[0], content.index(struct.pack("<I", 50_000))
    row = struct.unpack_from("<H", content, 105)[0]
    place, value = {
        "table": (table + 4, 0x7FFFFFFF),
        "no table": (start, 0x7FFFFFFF),
        "chunk of 16 million": (record, 16_773_120),
        "chunk of none": (record, 0),
        "points behind the end": (96, 0xF0000000),
        "layer": (start + 8 + row + 4, 0xFFFFFFFF),
    }[change]
    struct.pack_into("<I", content, place, value)
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_points(path, None, seed=0)
