"""PLY files as scanners, Blender and old converters write them, written here byte by byte."""

import struct

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.files import read_points
from crosspoint.data.io.meshes import areas, read_mesh

POINTS = np.array([[0, 0, 0], [2, 0, 0], [2, 3, 0], [0, 3, 0], [1, 5, 0]], float)
FACES = [[0, 1, 2, 3], [3, 2, 4]]  # a rectangle of 6, a triangle of 2
CODES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
FORMS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}


def ply(
    form,
    kind="float",
    length="uchar",
    index="int",
    names="xyz",
    first="vertex",
    name="vertex_indices",
    faces=FACES,
    before=(),
    after=(),
    comment=b"",
):
    """A mesh, its faces with numbers before and after their corners, its elements in either order."""
    order = FORMS[form]
    vertex = f"element vertex {len(POINTS)}\n" + "".join(f"property {kind} {axis}\n" for axis in names)
    face = f"element face {len(faces)}\n" + "".join(f"property {k} b{i}\n" for i, k in enumerate(before))
    face += f"property list {length} {index} {name}\n" + "".join(f"property {k} a{i}\n" for i, k in enumerate(after))
    parts = [vertex, face] if first == "vertex" else [face, vertex]
    head = f"ply\nformat {form} 1.0\n".encode() + comment + "".join(parts).encode() + b"end_header\n"

    def row(kinds, values):
        if order is None:
            return (
                " ".join(
                    repr(value) if k in ("float", "double") else str(int(value))
                    for k, value in zip(kinds, values, strict=True)
                )
                + "\n"
            ).encode()
        values = [value if CODES[k] in "fd" else int(value) for k, value in zip(kinds, values, strict=True)]
        return struct.pack(order + "".join(CODES[k] for k in kinds), *values)

    vertices = b"".join(
        row([kind] * 3, ["xyz".index(axis.lower()) for axis in names] and [p["xyz".index(a.lower())] for a in names])
        for p in POINTS.tolist()
    )
    corners = b"".join(
        row([*before, length, *[index] * len(f), *after], [*[7] * len(before), len(f), *f, *[9] * len(after)])
        for f in faces
    )
    return head + (vertices + corners if first == "vertex" else corners + vertices)


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"first": "face"},
        {"first": "face", "faces": [FACES[1]]},
        {"kind": "double"},
        {"names": "XYZ"},
        {"names": "zxy"},
        {"name": "vertex_index"},
        {"before": ("uchar", "float"), "after": ("float", "uchar")},
        {"comment": "comment grün\nobj_info x\n".encode("latin-1")},
        {"comment": "comment 緑\n".encode()},
        *(
            {"length": length, "index": index}
            for length in ("char", "ushort", "int", "uint")
            for index in ("uchar", "short", "uint")
        ),
    ],
    ids=str,
)
def test_the_mesh_comes_back(form, changes, tmp_path):
    (tmp_path / "a.ply").write_bytes(ply(form, **changes))
    mesh = read_mesh(tmp_path / "a.ply")
    np.testing.assert_array_equal(mesh.vertices, POINTS)
    faces = changes.get("faces", FACES)
    assert areas(mesh.vertices, mesh.faces).sum() == pytest.approx(8 if faces is FACES else 2)


@pytest.mark.parametrize("kind", ["float", "double", "short"])
def test_a_file_without_faces_is_a_cloud_in_its_own_precision(form, kind, tmp_path):
    content = ply(form, kind, faces=[])
    (tmp_path / "a.ply").write_bytes(content)
    found = read_points(tmp_path / "a.ply", None, seed=0)[0]
    np.testing.assert_array_equal(found, POINTS)
    assert found.dtype == (np.float32 if kind == "float" and form != "ascii" else np.float64)


def test_lists_of_vertices_are_passed_over(tmp_path):
    for form, order in FORMS.items():
        near, axes = "property list uchar int near\n", "".join(f"property float {axis}\n" for axis in "xyz")
        head = f"ply\nformat {form} 1.0\nelement vertex 2\n{axes + near if order is None else near + axes}end_header\n"
        rows = [([4, 5], POINTS[1]), ([6], POINTS[2])]
        if order is None:
            head = head.replace("property list uchar int near\n", "").replace(
                "end_", "property list uchar int near\nend_"
            )
            body = "".join(f"{x} {y} {z} {len(near)} {' '.join(map(str, near))}\n" for near, (x, y, z) in rows).encode()
        else:
            body = b"".join(struct.pack(f"{order}B{len(near)}i3f", len(near), *near, *p) for near, p in rows)
        (tmp_path / "a.ply").write_bytes(head.encode() + body)
        np.testing.assert_array_equal(read_points(tmp_path / "a.ply", None, seed=0)[0], POINTS[1:3])


@pytest.mark.parametrize("faces", [FACES, [FACES[1]] * 4, []])
@pytest.mark.parametrize("first", ["vertex", "face"])
def test_every_loss_is_noticed(form, faces, first, tmp_path):
    content = ply(form, faces=faces, first=first, after=("uchar",))
    end = len(content.rstrip()) if form == "ascii" else len(content)
    for length in range(1, end):
        (tmp_path / "a.ply").write_bytes(content[:length])
        if form == "ascii" and content[length - 1 : length] not in b" \n" and content.rfind(b"\n", 0, end) < length:
            continue  # digits lost at the very end cannot be noticed
        with pytest.raises(InputError, match=r"^[^\n]*$"):
            read_points(tmp_path / "a.ply", 1, seed=0)
