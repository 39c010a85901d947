"""Every format is written here byte by byte, independently of the library that reads it."""

import base64
import importlib.util
import json
import struct
import subprocess
import sys

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.meshes import SUFFIXES, areas, read_mesh, sample_surface

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"IDAT" * 40

VERTICES = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0], [0, 0, 3], [2, 0, 3], [2, 1, 3], [0, 1, 3]], float)
FACES = np.array(
    [
        *([0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4]),
        *([3, 6, 2], [3, 7, 6], [0, 4, 7], [0, 7, 3], [1, 2, 6], [1, 6, 5]),
    ]
)
AREA = 2 * (2 * 1 + 2 * 3 + 1 * 3)  # of a box


def rows(vertices, faces):
    lines = [" ".join(map(str, vertex)) for vertex in vertices] + [f"3 {a} {b} {c}" for a, b, c in faces]
    return "\n".join(lines) + "\n"


def off(vertices, faces):
    return f"OFF\n# a box\n{len(vertices)} {len(faces)} 0\n{rows(vertices, faces)}".encode()


def off_glued(vertices, faces):
    return f"OFF{len(vertices)} {len(faces)} 0\n{rows(vertices, faces)}".encode()


def obj(vertices, faces):
    lines = ["mtllib box.mtl", *(f"v {x} {y} {z}" for x, y, z in vertices), "usemtl red"]
    return "\n".join([*lines, *(f"f {a + 1}//1 {b + 1}//1 {c + 1}//1" for a, b, c in faces), ""]).encode()


def stl_ascii(vertices, faces):
    facets = [
        "facet normal 0 0 0\nouter loop\n"
        + "".join("vertex " + " ".join(map(str, vertices[corner])) + "\n" for corner in face)
        + "endloop\nendfacet\n"
        for face in faces
    ]
    return f"solid box\n{''.join(facets)}endsolid box\n".encode()


def stl_binary(vertices, faces):
    facets = [struct.pack("<12fH", 0, 0, 0, *vertices[face].ravel(), 0) for face in faces]
    return b"solid in its first word, as many are".ljust(80, b" ") + struct.pack("<I", len(faces)) + b"".join(facets)


def ply_header(form, vertices, faces):
    return (
        f"ply\nformat {form} 1.0\nelement vertex {len(vertices)}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )


def ply_ascii(vertices, faces):
    return (ply_header("ascii", vertices, faces) + rows(vertices, faces)).encode()


def ply_binary(order):
    def write(vertices, faces):
        form = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
        body = b"".join(struct.pack(f"{order}3f", *vertex) for vertex in vertices)
        body += b"".join(struct.pack(f"{order}B3i", 3, *face) for face in faces)
        return ply_header(form, vertices, faces).encode() + body

    return write


def glb(vertices, faces):
    """Two nodes with one mesh each, the second moved: a scene."""
    first, second = faces[: len(faces) // 2], faces[len(faces) // 2 :]
    positions = np.asarray(vertices, "<f4").tobytes()
    moved = (np.asarray(vertices, "<f4") - [10, 0, 0]).astype("<f4").tobytes()
    indices = [np.asarray(half, "<u4").tobytes() for half in (first, second)]
    parts = [positions, indices[0], moved, indices[1]]
    starts = np.cumsum([0, *map(len, parts)])
    bounds = {"min": [-10] * 3, "max": [10] * 3}
    header = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [{"mesh": 0}, {"mesh": 1, "translation": [10, 0, 0]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 2 * i}, "indices": 2 * i + 1}]} for i in range(2)],
        "accessors": [
            {"bufferView": i, "componentType": 5126, "count": len(vertices), "type": "VEC3", **bounds}
            if i % 2 == 0
            else {"bufferView": i, "componentType": 5125, "count": 3 * len([first, second][i // 2]), "type": "SCALAR"}
            for i in range(4)
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": int(start), "byteLength": len(part)}
            for start, part in zip(starts, parts, strict=False)
        ],
        "buffers": [{"byteLength": int(starts[-1])}],
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(parts)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def gltf(vertices, faces):
    """The same scene as JSON, with its buffer inside."""
    content = glb(vertices, faces)
    length = struct.unpack_from("<I", content, 12)[0]
    scene = json.loads(content[20 : 20 + length])
    body = content[28 + length :]
    scene["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(body).decode()
    return json.dumps(scene).encode()


WRITERS = {
    "off": (".off", off),
    "off-glued": (".off", off_glued),
    "obj": (".obj", obj),
    "stl-ascii": (".stl", stl_ascii),
    "stl-binary": (".stl", stl_binary),
    "ply-ascii": (".ply", ply_ascii),
    "ply-little": (".ply", ply_binary("<")),
    "ply-big": (".ply", ply_binary(">")),
    "glb": (".glb", glb),
    "gltf": (".gltf", gltf),
}


@pytest.fixture(params=WRITERS)
def form(request):
    return WRITERS[request.param]


def put(folder, suffix, content):
    path = folder / f"mesh{suffix}"
    path.write_bytes(content)
    return path


def refused(path, message=None):
    with pytest.raises(InputError, match=message) as caught:
        read_mesh(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 300


def test_every_suffix_is_written_here():
    assert {suffix for suffix, _ in WRITERS.values()} == SUFFIXES


def test_the_box_comes_back(form, tmp_path, capfd):
    suffix, write = form
    mesh = read_mesh(put(tmp_path, suffix, write(VERTICES, FACES)))
    assert areas(mesh.vertices, mesh.faces).sum() == pytest.approx(AREA)
    np.testing.assert_allclose([mesh.vertices.min(0), mesh.vertices.max(0)], [[0, 0, 0], [2, 1, 3]], atol=1e-6)
    triangles = np.sort(mesh.vertices[mesh.faces].round(4).reshape(len(FACES), 9), axis=0)
    np.testing.assert_allclose(triangles, np.sort(VERTICES[FACES].reshape(len(FACES), 9), axis=0), atol=1e-4)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "kind", ["empty", "truncated", "nan", "inf", "zero area", "no faces", "png", "folder", "missing"]
)
def test_damage_ends_in_one_line(form, kind, tmp_path, capfd):
    suffix, write = form
    vertices, faces = VERTICES.copy(), FACES.copy()
    if kind in ("nan", "inf"):
        vertices[5, 1] = float(kind)
    if kind == "zero area":
        vertices[:, 1:] = 0
    if kind == "no faces":
        faces = faces[:0]
    path = tmp_path / f"mesh{suffix}"
    if kind == "folder":
        path.mkdir()
    elif kind == "truncated":
        path.write_bytes(write(vertices, faces)[: -40 if suffix != ".obj" else 100])
    elif kind != "missing":
        path.write_bytes({"empty": b"", "png": PNG}.get(kind, write(vertices, faces)))
    message = {"empty": "is empty", "png": "PNG image", "folder": "is a folder", "missing": "cannot be opened"}
    refused(path, {**message, "zero area": "without area"}.get(kind))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "name", sorted(name for name in WRITERS if not name.startswith("stl"))
)  # these have no indices
def test_a_face_without_its_vertex_ends_in_one_line(name, tmp_path):
    suffix, write = WRITERS[name]
    faces = FACES.copy()
    faces[3, 1] = 99
    refused(put(tmp_path, suffix, write(VERTICES, faces)))


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_gives_a_mesh_or_one_line(form, seed, tmp_path, capfd):
    suffix, write = form
    rng = np.random.default_rng(seed)
    content = bytearray(write(VERTICES, FACES))
    for position in rng.integers(0, len(content), rng.integers(1, 6)):
        content[position] = rng.integers(0, 256)
    content = bytes(content[: rng.integers(0, len(content))] if seed % 3 == 0 else content)
    path = put(tmp_path, suffix, content)
    try:
        mesh = read_mesh(path)
    except InputError:
        refused(path)
    else:
        points, _ = sample_surface(mesh.vertices, mesh.faces, count=8, rng=rng)
        assert np.isfinite(points).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", sorted(set(WRITERS) - {"obj"}))
def test_every_loss_is_noticed_where_the_length_is_announced(name, tmp_path):
    suffix, write = WRITERS[name]
    whole = write(VERTICES, FACES)
    end = len(whole) - 3 if suffix == ".off" or write is ply_ascii else len(whole) - 1
    if write is stl_ascii:
        end = whole.rfind(b"endsolid")
    for length in {1, end, *np.random.default_rng(0).integers(1, end, 40).tolist()}:
        refused(put(tmp_path, suffix, whole[:length]))


def test_polygons_become_triangles(tmp_path):
    content = "OFF\n8 2 0\n" + rows(VERTICES, []) + "4 0 1 2 3\n4 4 5 6 7\n"
    mesh = read_mesh(put(tmp_path, ".off", content.encode()))
    assert mesh.faces.shape == (4, 3)
    assert mesh.area == pytest.approx(4)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("suffix", "write"), [(".obj", obj), (".off", off)])
def test_comments_in_any_encoding(suffix, write, encoding, tmp_path):
    text = write(VERTICES, FACES).decode().replace("\n", "\n# Stühle für alle\n", 1)
    mesh = read_mesh(put(tmp_path, suffix, text.encode(encoding)))
    assert areas(mesh.vertices, mesh.faces).sum() == pytest.approx(AREA)


def test_draco_is_named(tmp_path):
    if importlib.util.find_spec("DracoPy"):
        pytest.skip("DracoPy is installed")
    text = b'{"asset": {"version": "2.0"}, "extensionsRequired": ["KHR_draco_mesh_compression"]}'.ljust(88)
    chunk = struct.pack("<I4s", len(text), b"JSON") + text
    refused(put(tmp_path, ".glb", struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk), "Draco; run pip install")


def test_nothing_is_printed_where_logging_is_not_set_up(tmp_path):
    """The test runner sets up logging, so this runs outside it."""
    content = stl_ascii(VERTICES, FACES).replace(b"normal 0 0 0", b"normal 0 0 x", 1)
    path = put(tmp_path, ".stl", content)
    code = f"from crosspoint.data.io.meshes import read_mesh; read_mesh({str(path)!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")


def test_other_suffixes_are_refused(tmp_path):
    refused(put(tmp_path, ".fbx", b"Kaydara"), r"give \.glb, \.gltf, \.obj, \.off, \.ply, \.stl")


def test_areas_equal_herons_formula():
    vertices = np.random.default_rng(0).normal(size=(9, 3))
    faces = np.random.default_rng(1).integers(0, 9, (20, 3))
    for (a, b, c), area in zip(vertices[faces], areas(vertices, faces), strict=True):
        x, y, z = (np.linalg.norm(side) for side in (a - b, b - c, c - a))
        half = (x + y + z) / 2
        assert area == pytest.approx(max(half * (half - x) * (half - y) * (half - z), 0) ** 0.5, abs=1e-7)


def test_points_are_spread_by_area_and_lie_on_their_faces():
    """Chi-squared over faces, then over quarters of each face, with a bound passed by chance in 1 of 10⁵ runs."""
    from scipy import stats

    vertices, faces = VERTICES, np.concatenate([FACES, [[0, 0, 1]]])
    points, index = sample_surface(vertices, faces, count=60_000, rng=np.random.default_rng(0))
    assert points.shape == (60_000, 3)
    assert points.dtype == np.float64
    found = np.bincount(index, minlength=13)
    assert found[12] == 0  # no area
    expected = 60_000 * areas(vertices, faces)[:12] / AREA
    assert stats.chisquare(found[:12], expected).pvalue > 1e-5
    a, b, c = vertices[faces[index]].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    assert np.abs(((points - a) * normal).sum(1)).max() < 1e-5
    u, v = np.linalg.lstsq(np.stack([(b - a)[0], (c - a)[0]], 1), (points - a)[index == index[0]].T, rcond=None)[0]
    assert min(u.min(), v.min()) > -1e-6
    assert (u + v).max() < 1 + 1e-6
    quarters = np.bincount(np.where(u > 0.5, 0, np.where(v > 0.5, 1, np.where(u + v < 0.5, 2, 3))), minlength=4)
    assert stats.chisquare(quarters).pvalue > 1e-5


def test_sampling_repeats_with_its_seed():
    first, second, other = (
        sample_surface(VERTICES, FACES, count=50, rng=np.random.default_rng(s))[0] for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_sampling_refuses_what_it_cannot_use():
    rng = np.random.default_rng(0)
    for vertices, faces, count, message in (
        (VERTICES, FACES, 0, "at least 1"),
        (VERTICES, FACES[:0], 5, "no faces"),
        (VERTICES * 0, FACES, 5, "without area"),
        (VERTICES, FACES - 1, 5, "a face"),
        (VERTICES * 1e39, FACES, 5, "too large"),
    ):
        with pytest.raises(InputError, match=message):
            sample_surface(vertices, faces, count=count, rng=rng)
