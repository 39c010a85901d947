"""Files whose headers ask for far more than there is: each ends in one line, within little memory and time."""

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from lzf import compress
from PIL import Image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is bounded as Linux does it")

DIGITS = "9" * 5000
XYZ = "property float x\nproperty float y\nproperty float z\n"
FACE = "property list uchar int vertex_indices\n"
TRIANGLE = "0 0 0\n1 0 0\n0 1 0\n"
FACET = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"


@pytest.fixture(scope="module")
def server():
    command = [sys.executable, str(Path(__file__).with_name("bounded.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def refused(server, tmp_path):
    """Checks that a file of this name and content is refused, for this reason, by the line of an InputError."""

    def check(name, content, reason):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        server.stdin.write(json.dumps(str(path)) + "\n")
        server.stdin.flush()
        kind, message = json.loads(server.stdout.readline())
        assert kind == "InputError", (kind, message)
        assert message.startswith(f"{path}: ")
        assert reason in message
        assert message.isprintable()
        assert len(message) < len(str(path)) + 600

    return check


def npy(shape, kind="<f4", version=1):
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode()


def npz(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("shape", "kind"), [((10**9, 3), "<f4"), ((10**18, 3), "<f8"), ((1, 3), "|S2000000000"), ((10**9,) * 40, "<f4")]
)
@pytest.mark.parametrize("version", [1, 2])
def test_npy_of_any_shape(shape, kind, version, refused):
    refused("a.npy", npy(shape, kind, version), "is cut off")
    refused("a.npz", npz({"points.npy": npy(shape, kind, version)}), "is cut off")


def test_npy_headers_that_nest_or_do_not_end(refused):
    for header in (b"(" * 9000, b"-" * 8999 + b"1", b"[" * 9000 + b"]" * 900):
        refused("a.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header, "damaged")
    refused("a.npy", b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b" " * 99, "damaged")
    refused("a.npy", npy((-1, 3)) + bytes(24), "shape -1, 3")
    refused("a.npy", npy((1, 3), version=3) + bytes(12), "version 3.0")


def test_npz_that_inflates(refused):
    count = 6 * 10**6
    refused("a.npz", npz({"points.npy": npy((count, 3)) + bytes(12 * count)}), "claims 72 MB of content in a file")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("points.npy", npy((2, 3)) + bytes(24))
    refused("a.npz", buffer.getvalue(), "uses a compression")


def test_npz_with_more_names_than_a_line_holds(refused):
    refused("a.npz", npz({f"{i:0300d}": b"" for i in range(300)}), "and 292 more")
    refused("a.npz", npz({"a\x1b[31m\n": b"", "b": b""}), r"\x1b[31m\n")


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        (f"element vertex {DIGITS}\n{XYZ}", "an invalid number of rows"),
        (f"element vertex 1\n{XYZ}element face {DIGITS}\n{FACE}", "an invalid number of rows"),
        (f"element vertex -5\n{XYZ}", "an invalid number of rows"),
        (f"element vertex 1000000000\n{XYZ}", "cannot hold 1000000000 vertex"),
        (f"element vertex 1000000000\n{XYZ}property list uint double more\n", "cannot hold"),
        (f"element vertex 1\n{XYZ}element face 1000000000\n{FACE}", "cannot hold"),
        (f"element other 1000000000\n{FACE}element vertex 1\n{XYZ}", "cannot hold"),
        (f"element other 10000000000\nelement vertex 1\n{XYZ}", "without a property"),
        (f"element vertex 1\n{XYZ.replace('float z', 'list uchar float z')}", "lists as coordinates"),
        (f"element vertex 1\n{XYZ.replace('float z', 'quaternion z')}", "an invalid property"),
        (f"property float x\nelement vertex 1\n{XYZ}", "an invalid property"),
    ],
    ids=range(11),
)
def test_ply_counts(form, elements, reason, refused):
    refused("a.ply", f"ply\nformat {form} 1.0\n{elements}end_header\n".encode() + b"0 0 0\n0 0 0\n", reason)


def test_ply_headers_that_do_not_end(refused):
    for line in (b"comment " + b"x" * 10_000_000, b"comment x\n" * 500_000):
        refused("a.ply", b"ply\nformat ascii 1.0\n" + line, "has no PLY header")


def test_ply_of_empty_lists(refused):
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex 3000000\n{XYZ.replace('float', 'uchar')}"
    lists = "".join(f"property list uchar uchar p{i}\n" for i in range(8))
    refused("a.ply", f"{header}{lists}end_header\n".encode() + bytes(3_000_000 * 11), "claims 3 GB of content")


def test_ply_of_blank_lines(refused):
    header = f"ply\nformat ascii 1.0\nelement vertex 3\n{XYZ}element face 1\n{FACE}end_header\n"
    refused("a.ply", (header + TRIANGLE + "3 0 1 2\n").encode() + b"\n" * 5_000_000, "far more lines")


def pcd(data="binary", body=bytes(12), points=1, count="1 1 1", width=None):
    lines = ["VERSION 0.7", "FIELDS x y z", "SIZE 4 4 4", "TYPE F F F", f"COUNT {count}", f"WIDTH {width or points}"]
    lines += ["HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {points}", f"DATA {data}"]
    return "\n".join(lines).encode() + b"\n" + body


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
def test_pcd_counts(data, refused):
    refused("a.pcd", pcd(data, count="1 1 10000000"), "10000000 values of z")
    for count in ("1 1 1 10000000", f"1 1 1 {10**17}"):
        wide = pcd(data, count=count).replace(b"x y z", b"x y z rgb").replace(b"4 4 4", b"4 4 4 4")
        refused("a.pcd", wide.replace(b"F F F", b"F F F F"), "" if data == "binary_compressed" else "cannot hold")
    refused("a.pcd", pcd(data, points=10**9), "" if data == "binary_compressed" else "cannot hold 1000000000 points")
    refused("a.pcd", pcd(data, points=DIGITS), "damaged")
    refused("a.pcd", pcd(data, points=-1), "damaged")


def test_pcd_that_inflates(refused):
    refused("a.pcd", pcd("binary_compressed", struct.pack("<II", 4, 0xFFFFFFFF) + bytes(4)), "claims 4 GB")
    plain = bytes(12 * 8_000_000)
    packed = compress(plain)
    body = struct.pack("<II", len(packed), len(plain)) + packed
    refused("a.pcd", pcd("binary_compressed", body, 8_000_000), "claims 96 MB")
    refused("a.pcd", pcd("binary_compressed", struct.pack("<II", 4, 12) + bytes(4), 10**9), "are not 1000000000 points")


def test_pcd_headers_that_do_not_end(refused):
    for content in (b"VERSION " + b"x" * 10_000_000, b"# x\n" * 3_000_000, b"VERSION 0.7\n" * 10 + bytes(100)):
        refused("a.pcd", content, "has no PCD header")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.xyz", ""),
        ("a.csv", "x,y,z\n0,0,0\n"),
        ("a.off", f"OFF\n3 1 0\n{TRIANGLE}3 0 1 2\n# "),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf "),
        (
            "a.ply",
            f"ply\nformat ascii 1.0\nelement vertex 3\n{XYZ}element face 2\n{FACE}end_header\n{TRIANGLE}3 0 1 2\n",
        ),
        ("a.stl", f"solid a\n{FACET}"),
    ],
    ids=["xyz", "csv", "off", "obj", "ply", "stl"],
)
def test_lines_without_an_end(name, start, refused):
    refused(name, start.encode() + b"1 " * 5_000_000 + (b"\nendsolid" if name == "a.stl" else b"\n"), "a line of more")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.xyz", f"{DIGITS}\n0 0 0\n", "has 1 columns"),
        ("a.off", f"OFF\n{DIGITS} {DIGITS} 0\n", "no numbers of vertices"),
        ("a.off", f"OFF\n{10**12} {10**12} 0\n{TRIANGLE}", "cut off"),
        ("a.off", f"OFF\n3 1 0\n{TRIANGLE}{10**9} 0 1 2\n", "cut off"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 999999999999\n", "vertex 999999999998"),
        ("a.obj", f"mtllib /dev/zero\n{TRIANGLE}", ""),
        ("a.stl", "x" * 80 + "\x7f\x7f\x7f\x7f", "cut off or is not"),
    ],
    ids=range(7),
)
def test_counts_in_text(name, content, reason, refused):
    refused(name, content.encode(), reason)


def test_meshes_of_many_pieces(refused):
    refused("a.stl", f"solid a\n{FACET}endsolid a\n".encode() * 9999, "has 9,999 pieces")


VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "<f4")
FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], "<u4")


BODY = VERTICES.tobytes() + FACES.tobytes()


def glb(header, body=BODY):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def scene(**changed):
    """One tetrahedron."""
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 12, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 48},
            {"buffer": 0, "byteOffset": 48, "byteLength": 48},
        ],
        "buffers": [{"byteLength": 96}],
        **changed,
    }


def chain(length, **node):
    nodes = [{"children": [i + 1], **node} for i in range(length)]
    return scene(nodes=[*nodes, {"mesh": 0}])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (scene(nodes=[{"mesh": 0}] * 20000, scenes=[{"nodes": list(range(20000))}]), "places 20,000 meshes"),
        (scene(meshes=[{"primitives": scene()["meshes"][0]["primitives"] * 20000}]), "places 20,000 meshes"),
        (chain(3000), "nests its nodes up to 3,000 deep"),
        (chain(700, mesh=0), "nests its nodes"),
        (scene(nodes=[{"mesh": 0, "children": [0]}]), "its own ancestor"),
        (scene(nodes=[{"mesh": 0, "children": [1]}, {"children": [0]}]), "its own ancestor"),
        (scene(nodes=[{"children": [1, 2]}, {"children": [2]}, {"mesh": 0}]), "two parents"),
        (
            scene(accessors=[*scene()["accessors"], {"componentType": 5126, "count": 10**9, "type": "MAT4"}]),
            "claims",
        ),
        (
            scene(accessors=[{"componentType": 5126, "count": 10**9, "type": "VEC3"}, scene()["accessors"][1]]),
            "claims",
        ),
        (scene(accessors=[{**scene()["accessors"][0], "count": -4}, scene()["accessors"][1]]), "not a whole number"),
        (scene(accessors=[{**scene()["accessors"][0], "count": 4e9}, scene()["accessors"][1]]), "not a whole number"),
        (scene(accessors=[{**scene()["accessors"][0], "sparse": {"count": 1}}, scene()["accessors"][1]]), "sparse"),
        (scene(bufferViews=scene()["bufferViews"] + [{"buffer": 0, "byteLength": 10**6}] * 100), "claims"),
        (scene(buffers=[{"uri": "/etc/passwd", "byteLength": 96}]), "buffer in another file (/etc/passwd)"),
        (scene(buffers=[{"uri": "http://127.0.0.1:9/a", "byteLength": 96}]), "buffer in another file"),
    ],
)
def test_glb(changed, reason, refused):
    refused("a.glb", glb(changed), reason)


def test_glb_whose_json_is_something_else(refused):
    for text in (b"[" * 10**6, b'{"a":' * 10**6, b'{"a": ' + DIGITS.encode() + b"}", b"[]", b'{"nodes": [1, null]}'):
        refused("a.glb", glb(text), "is damaged or not a .glb mesh")


def test_glb_whose_instances_hold_more_than_the_file(refused):
    vertices = np.random.default_rng(0).random((20000, 3), "f4")
    faces = np.arange(60000, dtype="<u4") % 20000
    changed = scene(nodes=[{"mesh": 0}] * 1000, scenes=[{"nodes": list(range(1000))}])
    changed["accessors"][0]["count"], changed["accessors"][1]["count"] = 20000, 60000
    changed["bufferViews"] = [
        {"buffer": 0, "byteLength": 240000},
        {"buffer": 0, "byteOffset": 240000, "byteLength": 240000},
    ]
    changed["buffers"] = [{"byteLength": 480000}]
    refused("a.glb", glb(changed, vertices.tobytes() + faces.tobytes()), "claims 960 MB of content")


@pytest.fixture
def h5(tmp_path):
    """A file of four clouds, open to be changed, and another that holds the same."""
    for name in ("other", "a"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["data"], file["label"] = np.zeros((4, 8, 3), np.float32), np.zeros((4, 1), np.uint8)
    (tmp_path / "raw.bin").write_bytes(bytes(384))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["data"]
        yield file


def filtered(file, filters):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4, 8, 3))
    for number in filters:
        plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((4, 8, 3))
    h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_FLOAT, space, plist)


def bomb(file):
    """A chunk of 96 bytes, of which the deflate stream makes 128 MB."""
    data = file.create_dataset("data", (4, 8, 3), np.float32, chunks=(4, 8, 3), compression="gzip")
    data.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(128 << 20)))


def virtual(file):
    layout = h5py.VirtualLayout((4, 8, 3), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "data", (4, 8, 3))
    file.create_virtual_dataset("data", layout)


def linked_group(file):
    file["group"], file["data"] = h5py.ExternalLink("other.h5", "/"), h5py.SoftLink("/group/data")


def set_data(value):
    return lambda file: file.__setitem__("data", value)


def create(shape, **options):
    def change(file):
        file.create_dataset("data", shape, np.float32, **options)
        del file["label"]
        file.create_dataset("label", (shape[0], 1), np.uint8, chunks=(min(shape[0], 1000), 1))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_data(h5py.ExternalLink("other.h5", "/data")), "has no data of its own"),
        (set_data(h5py.ExternalLink("/dev/zero", "/data")), "has no data of its own"),
        (linked_group, "has no data of its own"),
        (create((4, 8, 3), external=[("raw.bin", 0, 384)]), "has data in another file"),
        (virtual, "has data in another file"),
        (lambda file: filtered(file, [32004]), "compressed by the filters [32004]"),
        (lambda file: filtered(file, [1, 1]), "compressed by the filters [1, 1]"),
        (lambda file: filtered(file, [6]), "compressed by the filters [6]"),
        (bomb, "has data in chunks that inflate to more than their size"),
        (create((500_000, 1024, 3)), "claims 6 GB of content in a file"),
        (create((500_000, 1024, 3), chunks=(1, 1024, 3)), "claims 6 GB of content in a file"),
        (create((4, 8, 3), chunks=(20000, 5000, 3), maxshape=(None, None, 3)), "claims 1 GB of content"),
        (lambda file: [file.create_group(f"{i}\x1b[31m\n" + "x" * 300) for i in range(300)], "more"),
    ],
)
def test_hdf5(change, reason, h5, refused):
    change(h5)
    h5.close()
    refused("a.h5", None, reason)


def test_an_hdf5_chunk_that_asks_for_more_memory_than_it_has_bytes(h5, tmp_path, refused):
    h5.create_dataset("data", (4, 8, 3), np.float32, chunks=(4, 8, 3), compression="lzf")
    h5.close()
    content = (tmp_path / "a.h5").read_bytes()
    size = struct.pack("<II", 261, 4 * 8 * 3 * 4)  # the version of LZF, and what it allocates
    assert content.count(size) == 1
    refused("a.h5", content.replace(size, struct.pack("<II", 261, 0xFFFFFFFF)), "chunks whose size differs")


def test_polygons_that_cross_themselves_throughout(refused):
    corners = 30_000
    turn = np.arange(corners) * 2.4
    rows = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * (1 + np.arange(corners)[:, None] / corners)
    vertices = "".join(f"{x:.5f} {y:.5f} 0\n" for x, y in rows.tolist())
    face = f"{corners}\n" + "\n".join(map(str, range(corners)))
    refused("a.off", f"OFF\n{corners} 1 0\n{vertices}{face}\n".encode(), "too many corners to divide")


def test_a_gltf_that_shows_a_mesh_more_often_than_it_has_nodes(refused):
    content = scene(scenes=[{"nodes": [0] * 200_000}], accessors=scene()["accessors"][:1])
    refused("a.glb", glb(content), "damaged")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height):
    """A picture of one colour, cut off after its first rows, which inflate from a thousandth of their size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    rows = zlib.compress(bytes(10**6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_pictures_with_more_pixels_than_bytes(refused):
    refused("a.png", png(9000, 9000), "claims 324 MB of content")
    refused("a.png", png(2**31 - 1, 2**31 - 1), "")


@pytest.mark.parametrize("kind", ["EPS", "GIF", "BMP", "TIFF", "PPM", "PDF", "ICO"])
def test_other_kinds_of_pictures_are_not_opened_by_the_name_of_png(kind, refused):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    refused("a.png", buffer.getvalue(), "not a PNG or JPEG picture")


def test_sparse_files(tmp_path, refused):
    for name in ("a.bin", "a.npy", "a.xyz", "a.pcd", "a.ply", "a.off", "a.h5"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(100 << 30)
        refused(name, None, "is a sparse file, 0 bytes stored of 107 GB")
