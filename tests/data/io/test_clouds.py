"""Every format is written here byte by byte, independently of the libraries that read it."""

import io
import os
import struct

import lzf
import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.clouds import SUFFIXES, read_clouds

PNG = (
    bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c489".replace(" ", "")) + b"IDAT" * 30
)


def npy(points):
    buffer = io.BytesIO()
    np.save(buffer, points)
    return buffer.getvalue()


def npz(points):
    buffer = io.BytesIO()
    np.savez(buffer, points=points, labels=np.arange(3))
    return buffer.getvalue()


def ply_header(form, points):
    properties = "".join(f"property float {name}\n" for name in [*"xyz"[: points.shape[1]], "quality"])
    return f"ply\nformat {form} 1.0\ncomment ours\nelement vertex {len(points)}\n{properties}end_header\n".encode()


def ply_ascii(points):
    rows = "".join(" ".join(f"{value:.9g}" for value in point) + " 7\n" for point in points)
    return ply_header("ascii", points) + rows.encode()


def ply_binary(order):
    def write(points):
        form = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
        rows = b"".join(struct.pack(f"{order}{len(point) + 1}f", *point, 7.0) for point in points)
        return ply_header(form, points) + rows

    return write


def pcd_header(encoding, points):
    names = ["x", "y", "z"][: points.shape[1]]
    return (
        f"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS {' '.join(names)} intensity ring\n"
        f"SIZE {'4 ' * len(names)}4 2\nTYPE {'F ' * len(names)}F U\nCOUNT {'1 ' * len(names)}1 1\nWIDTH {len(points)}\n"
        f"HEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA {encoding}\n"
    ).encode()


def pcd_ascii(points):
    rows = "".join(" ".join(f"{value:.9g}" for value in point) + " 0.5 3\n" for point in points)
    return pcd_header("ascii", points) + rows.encode()


def pcd_binary(points):
    rows = b"".join(struct.pack(f"<{len(point) + 1}fH", *point, 0.5, 3) for point in points)
    return pcd_header("binary", points) + rows


def pcd_compressed(points):
    """Field after field, then LZF, after both lengths."""
    count = len(points)
    columns = [struct.pack(f"<{count}f", *points[:, axis]) for axis in range(points.shape[1])]
    plain = b"".join(columns) + struct.pack(f"<{count}f", *[0.5] * count) + struct.pack(f"<{count}H", *[3] * count)
    packed = lzf.compress(plain)
    assert packed is not None
    return pcd_header("binary_compressed", points) + struct.pack("<II", len(packed), len(plain)) + packed


def text(delimiter, header="", extra=()):
    def write(points):
        rows = [delimiter.join([*(f"{value:.9g}" for value in point), *extra]) for point in points]
        return (header.format(len(points)) + "\n".join(rows)).encode()

    return write


def kitti(points):
    return b"".join(struct.pack(f"<{len(point) + 1}f", *point, 0.25) for point in points)


WRITERS = {
    "npy": (".npy", npy),
    "npz": (".npz", npz),
    "ply-ascii": (".ply", ply_ascii),
    "ply-little": (".ply", ply_binary("<")),
    "ply-big": (".ply", ply_binary(">")),
    "pcd-ascii": (".pcd", pcd_ascii),
    "pcd-binary": (".pcd", pcd_binary),
    "pcd-compressed": (".pcd", pcd_compressed),
    "pts": (".pts", text(" ")),
    "pts-count": (".pts", text(" ", "{}\n", ("80", "255", "0", "0"))),
    "xyz": (".xyz", text("  ")),
    "asc-cloudcompare": (".asc", text(" ", "//X Y Z R G B\n", ("80", "255", "0"))),
    "txt-modelnet": (".txt", text(",", "", ("0.5", "0.5", "0.7"))),
    "txt-comment": (".txt", text("\t", "# x y z\n\n")),
    "csv": (".csv", text(", ", "x,y,z\n")),
    "csv-semicolon": (".csv", text(";", "﻿X;Y;Z;Intensity\n", ("1",))),
    "bin": (".bin", kitti),
}


@pytest.fixture
def points():
    """Repeated coordinates, so that the compressed form is really compressed."""
    return np.round(np.random.default_rng(0).normal(size=(40, 3)), 1).astype(np.float32)


@pytest.fixture(params=WRITERS)
def form(request):
    return WRITERS[request.param]


def put(folder, suffix, content):
    path = folder / f"cloud{suffix}"
    path.write_bytes(content)
    return path


def refused(path, message=None):
    with pytest.raises(InputError, match=message) as caught:
        read_clouds(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 300


def test_every_suffix_is_written_here():
    assert {suffix for suffix, _ in WRITERS.values()} == SUFFIXES


def test_points_come_back(form, points, tmp_path):
    suffix, write = form
    result = read_clouds(put(tmp_path, suffix, write(points)))
    assert result.dtype in (np.float32, np.float64)
    np.testing.assert_allclose(result, points[None], rtol=1e-6)


ANNOUNCING = [
    "npy",
    "npz",
    "ply-ascii",
    "ply-little",
    "ply-big",
    "pcd-ascii",
    "pcd-binary",
    "pcd-compressed",
    "pts-count",
]


@pytest.mark.parametrize("name", ANNOUNCING)
def test_every_loss_is_noticed_where_the_length_is_announced(name, points, tmp_path):
    suffix, write = WRITERS[name]
    whole = write(points)
    lines = write in (ply_ascii, pcd_ascii, WRITERS["pts-count"][1])
    end = whole.rstrip().rfind(b"\n") if lines else len(whole) - 1  # digits lost at the very end cannot be noticed
    for length in {1, end, *np.random.default_rng(0).integers(1, end, 40).tolist()}:
        refused(put(tmp_path, suffix, whole[:length]))


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"pcd-compressed"}))  # LZF does not shorten a single point
def test_single_point_comes_back(name, points, tmp_path):
    suffix, write = WRITERS[name]
    np.testing.assert_allclose(read_clouds(put(tmp_path, suffix, write(points[:1]))), points[None, :1], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_that_are_no_measurements_are_left_out_and_counted(form, bad, points, tmp_path, capfd):
    suffix, write = form
    points[[3, 7], [0, 2]] = bad
    path = put(tmp_path, suffix, write(points))
    np.testing.assert_allclose(read_clouds(path)[0], np.delete(points, [3, 7], axis=0), rtol=1e-6)
    assert capfd.readouterr() == ("", f"{path}: 2 of 40 points are NaN, infinite or too large, and are left out\n")
    points[:, 1] = bad
    refused(put(tmp_path, suffix, write(points)), "only points that are NaN, infinite or too large: 40")


@pytest.mark.parametrize("kind", ["empty", "truncated", "columns", "png", "folder", "missing"])
def test_damage_ends_in_one_line(form, kind, points, tmp_path, capfd):
    suffix, write = form
    path = tmp_path / f"cloud{suffix}"
    content = {
        "empty": b"",
        "truncated": write(points)[:-6],
        "columns": write(points[:13, :2].copy()),
        "png": PNG,
    }.get(kind)
    if suffix in (".asc", ".pts", ".xyz", ".txt", ".csv") and kind == "truncated":
        content = write(points).rsplit(b"\n", 1)[0] + b"\n1"  # a line cut within its second column
    if suffix in (".pts", ".txt", ".csv") and kind == "columns":
        content = text(" ")(points[:, :2])  # extra columns would stand in for the missing one
    if suffix == ".bin" and kind == "columns":
        content = bytes(4 * 7)
    if kind == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    message = {
        "empty": "is empty",
        "png": "PNG image",
        "folder": "is a folder",
        "missing": "cannot be opened",
    }
    refused(path, message.get(kind))
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_unreadable_file(points, tmp_path):
    path = put(tmp_path, ".npy", npy(points))
    path.chmod(0)
    refused(path, "Permission denied")


def test_path_through_a_file(points, tmp_path):
    refused(put(tmp_path, ".npy", npy(points)) / "cloud.npy", "cannot be opened")


def test_name_that_no_file_can_have():
    with pytest.raises(InputError, match="cannot be opened"):
        read_clouds("a\0b.npy")


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_gives_points_or_one_line(form, seed, points, tmp_path):
    suffix, write = form
    whole = write(points)
    rng = np.random.default_rng(seed)
    content = bytearray(whole)
    for position in rng.integers(0, len(content), rng.integers(1, 6)):
        content[position] = rng.integers(0, 256)
    content = bytes(content[: rng.integers(0, len(content))] if seed % 3 == 0 else content)
    path = put(tmp_path, suffix, content)
    try:
        result = read_clouds(path)
    except InputError:
        refused(path)
    else:
        assert result.dtype in (np.float32, np.float64)
        assert result.ndim == 3
        assert result.shape[2] == 3
        assert result.size
        assert np.isfinite(result).all()


@pytest.mark.parametrize("dtype", ["f2", ">f4", "f8", "i2", "u1"])
def test_arrays_of_numbers_of_any_type(dtype, tmp_path):
    array = np.arange(60).reshape(2, 10, 3).astype(dtype)
    np.testing.assert_array_equal(read_clouds(put(tmp_path, ".npy", npy(array))), array.astype(np.float32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((5, 6)), r"shape \(5, 6\); save \(N, 3\) or \(n, N, 3\)"),
        (np.zeros((2, 2, 5, 3)), "shape"),
        (np.zeros((0, 3)), "has no points"),
        (np.zeros((4, 0, 3)), "has no points"),
        (np.zeros((5, 3), bool), "holds bool"),
        (np.zeros((5, 3), complex), "holds complex128"),
        (np.full((5, 3), "a"), "not numbers"),
        (np.full((5, 3), 1e39), "only points that are .* too large"),
    ],
)
def test_other_arrays_are_refused(array, message, tmp_path):
    refused(put(tmp_path, ".npy", npy(array)), message)


def test_pickles_are_never_loaded(tmp_path):
    for suffix, save in ((".npy", np.save), (".npz", np.savez)):
        path = tmp_path / f"pickle{suffix}"
        save(path, np.array([{"a": 1}], dtype=object))  # as a pickle
        refused(path, "holds Python objects")


def test_archives(points, tmp_path):
    np.savez_compressed(tmp_path / "one.npz", anything=np.stack([points, points]))
    assert read_clouds(tmp_path / "one.npz").shape == (2, 40, 3)
    for names in (("other", "points"), ("points", "other")):
        np.savez(tmp_path / "named.npz", **{name: points if name == "points" else points + 1 for name in names})
        np.testing.assert_array_equal(read_clouds(tmp_path / "named.npz")[0], points)
    np.savez(tmp_path / "two.npz", a=points, b=points)
    refused(tmp_path / "two.npz", "arrays a, b; name one of them points")


def test_columns_are_found_by_name(points, tmp_path):
    rows = "".join(f"{i},label,{p[2]},{p[0]},{p[1]}\n" for i, p in enumerate(points))
    path = put(tmp_path, ".csv", f'id,name,"Z","X","Y"\n{rows}'.encode())
    np.testing.assert_allclose(read_clouds(path)[0], points, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("3\n0 0 0\n1 1 1\n", "says 3 points but has 2"),
        ("0 0 0\n1 1\n", "first line has 3 columns, its last 2"),
        ("0 0 0\n1 1\n2 2 2\n", "damaged"),
        ("x y z\n", "has no points"),
        ("# nothing\n\n", "has no points"),
        ("0,0,0\n1,,1\n", "damaged"),
        ("0 0 0\nlorem ipsum dolor\n", "damaged"),
    ],
)
def test_bad_text(content, message, tmp_path):
    refused(put(tmp_path, ".xyz", content.encode()), message)


def test_wrong_fields_are_named(points, tmp_path):
    content = pcd_binary(points).replace(b"FIELDS x y z", b"FIELDS a y z")
    refused(put(tmp_path, ".pcd", content), "has no x, y and z, only a, y, z, intensity, ring")
    content = ply_ascii(points).replace(b"element vertex", b"element corner")
    refused(put(tmp_path, ".ply", content), "no element named vertex")


def test_other_suffixes_are_refused(tmp_path):
    refused(put(tmp_path, ".docx", b"x"), r"give \.asc, \.bin, \.csv, ")
