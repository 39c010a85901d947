"""An object of a metre in UTM coordinates keeps its shape until it is centred, whatever file it comes in."""

import json
import struct

import numpy as np
import pytest

from crosspoint.data.io.files import read_points
from crosspoint.data.io.formats.ply import write_points
from crosspoint.data.io.hdf5 import read_files
from crosspoint.data.points import near_origin, normalise
from crosspoint.data.sources import find_sources, read_ahead

UTM = np.array([500000.0, 4999776.0, 1200.0])
NEAR = np.round(np.random.default_rng(0).normal(size=(64, 3)) / 4, 4)
FAR = NEAR + UTM
FACES = np.arange(63).reshape(-1, 3)
ROWS = "".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in FAR.tolist())
HEAD = "element vertex 64\nproperty double x\nproperty double y\nproperty double z\n"
LISTS = "element face 21\nproperty list uchar int vertex_indices\n"
PCD = "VERSION .7\nFIELDS x y z\nSIZE 8 8 8\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 64\nHEIGHT 1\nPOINTS 64\nDATA "


def glb():
    """Near coordinates in a node that is far away."""
    scene = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0, "translation": UTM.tolist()}],
        "scenes": [{"nodes": [0]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 64, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 768}],
        "buffers": [{"byteLength": 768}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    body = NEAR.astype("<f4").tobytes()
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def record(array):
    rows = np.zeros(64, [(axis, "f8") for axis in "xyz"])
    rows["x"], rows["y"], rows["z"] = array.T
    return rows


CLOUDS = {
    "a.xyz": lambda path: path.write_text(ROWS),
    "a.csv": lambda path: path.write_text("x,y,z\n" + ROWS.replace(" ", ",")),
    "ascii.ply": lambda path: path.write_text(f"ply\nformat ascii 1.0\n{HEAD}end_header\n{ROWS}"),
    "a.ply": lambda path: path.write_bytes(
        f"ply\nformat binary_little_endian 1.0\n{HEAD}end_header\n".encode() + FAR.tobytes()
    ),
    "ascii.pcd": lambda path: path.write_text(f"{PCD}ascii\n{ROWS}"),
    "a.pcd": lambda path: path.write_bytes(f"{PCD}binary\n".encode() + FAR.tobytes()),
    "a.npy": lambda path: np.save(path, FAR),
    "records.npy": lambda path: np.save(path, record(FAR)),
    "a.npz": lambda path: np.savez(path, points=FAR),
    "a.obj": lambda path: path.write_text("".join(f"v {row}\n" for row in ROWS.splitlines())),
    "a.glb": lambda path: path.write_bytes(glb()),
}
CORNERS = "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES.tolist())
MESHES = {
    "a.off": lambda path, rows: path.write_text(f"OFF\n64 21 0\n{rows}{CORNERS}"),
    "a.ply": lambda path, rows: path.write_text(f"ply\nformat ascii 1.0\n{HEAD}{LISTS}end_header\n{rows}{CORNERS}"),
    "a.obj": lambda path, rows: path.write_text(
        "".join(f"v {row}\n" for row in rows.splitlines())
        + "".join(f"f {a} {b} {c}\n" for a, b, c in (FACES + 1).tolist())
    ),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_clouds(name, tmp_path):
    CLOUDS[name](tmp_path / name)
    (loaded,) = read_ahead(find_sources([tmp_path / name], None, seed=0), 8)
    np.testing.assert_allclose(loaded.clouds[0], normalise(NEAR), atol=1e-6)


@pytest.mark.parametrize("name", MESHES)
def test_meshes(name, tmp_path):
    near = "".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in NEAR.tolist())
    found = []
    for folder, rows in (("near", near), ("far", ROWS)):
        (tmp_path / folder).mkdir()
        MESHES[name](tmp_path / folder / name, rows)
        found.append(read_points(tmp_path / folder / name, 100, seed=0))
    np.testing.assert_allclose(found[1] - UTM, found[0], atol=1e-4)
    np.testing.assert_allclose(normalise(found[1]), normalise(found[0]), atol=2e-4)


def test_what_is_stored_in_float32_is_moved_to_the_origin_first(tmp_path):
    write_points(tmp_path / "a.ply", FAR)
    np.testing.assert_allclose(read_points(tmp_path / "a.ply", None, seed=0)[0], NEAR - NEAR.mean(0), atol=1e-6)
    for points in (NEAR, NEAR + 5, NEAR.astype(np.float32) + np.float32(1e6)):  # near, or with nothing to lose
        np.testing.assert_array_equal(near_origin(points), points.astype(np.float32))


def test_sets_in_float64(tmp_path):
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["label"] = np.stack([FAR, NEAR]), np.zeros((2, 1), np.uint8)
    points = read_files([tmp_path / "a.h5"], None, classes=1).points
    np.testing.assert_allclose(points[0], NEAR - NEAR.mean(0), atol=1e-6)
    np.testing.assert_array_equal(points[1], NEAR.astype(np.float32))
