"""glTF scenes as exporters write them, made here from their buffers up."""

import base64
import json
import struct

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.files import find_files, read_points, up_of
from crosspoint.data.io.meshes import areas, read_mesh

CORNERS = np.array([[0, 0, 0], [4, 0, 0], [4, 2, 0], [0, 2, 0]], float)  # of a rectangle
TYPES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}


class Builder:
    """Collects a buffer and what describes it."""

    def __init__(self):
        self.body, self.views, self.accessors = b"", [], []

    def view(self, content, **more):
        self.body += b"\0" * (-len(self.body) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.body), "byteLength": len(content), **more})
        self.body += content
        return len(self.views) - 1

    def accessor(self, values, kind, **more):
        values = np.asarray(values)
        width = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        view = {"bufferView": self.view(values.astype(f"<{kind}").tobytes())}
        self.accessors.append({**view, "componentType": TYPES[kind], "count": len(values), "type": width, **more})
        return len(self.accessors) - 1

    def scene(self, primitives, nodes=({"mesh": 0},), **more):
        return {
            "asset": {"version": "2.0"},
            "nodes": list(nodes),
            "scenes": [{"nodes": [0]}],
            "scene": 0,
            "meshes": [{"primitives": primitives}],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.body)}],
            **more,
        }


def glb(scene, body):
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    body += b"\0" * (-len(body) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


@pytest.fixture
def builder():
    return Builder()


def rectangle(builder, **more):
    position = builder.accessor(CORNERS, "f4")
    indices = builder.accessor([0, 1, 2, 2, 3, 0], "u2")
    return {"attributes": {"POSITION": position}, "indices": indices, **more}


def found(path, scene, builder):
    path.write_bytes(glb(scene, builder.body))
    mesh = read_mesh(path)
    return areas(mesh.vertices, mesh.faces).sum(), mesh.vertices


@pytest.mark.parametrize(
    ("mode", "corners"), [(4, [0, 1, 2, 2, 3, 0]), (5, [0, 1, 3, 2]), (6, [0, 1, 2, 3]), (4, None)]
)
def test_every_mode_of_triangles(mode, corners, builder, tmp_path):
    points = CORNERS if corners else CORNERS[[0, 1, 2, 2, 3, 0]]
    primitive = {"attributes": {"POSITION": builder.accessor(points, "f4")}, "mode": mode}
    if corners:
        primitive["indices"] = builder.accessor(corners, "u1")
    path = tmp_path / "a.glb"
    path.write_bytes(glb(builder.scene([primitive]), builder.body))
    mesh = read_mesh(path)
    assert areas(mesh.vertices, mesh.faces).sum() == pytest.approx(8)
    normals = np.cross(*(mesh.vertices[mesh.faces[:, i]] - mesh.vertices[mesh.faces[:, 0]] for i in (1, 2)))
    assert (normals[:, 2] > 0).all()
    assert up_of(path) == "y"


def test_points_alone_are_a_cloud_and_lines_are_nothing(builder, tmp_path):
    position = builder.accessor(CORNERS, "f4")
    lines = {"attributes": {"POSITION": position}, "mode": 1}
    scene = builder.scene([{**lines, "mode": 0}, lines], [{"mesh": 0, "translation": [1, 2, 3]}])
    (tmp_path / "a.glb").write_bytes(glb(scene, builder.body))
    np.testing.assert_allclose(read_points(tmp_path / "a.glb", None, seed=0)[0], CORNERS + np.array([1, 2, 3]))
    (tmp_path / "b.glb").write_bytes(glb(builder.scene([lines]), builder.body))
    with pytest.raises(InputError, match="no triangles and no points"):
        read_points(tmp_path / "b.glb", None, seed=0)


@pytest.mark.parametrize(("kind", "most"), [("i1", 127), ("u1", 255), ("i2", 32767), ("u2", 65535)])
@pytest.mark.parametrize("normalized", [True, False])
def test_quantised_positions(kind, most, normalized, builder, tmp_path):
    """KHR_mesh_quantization: whole numbers, of a normalised type as parts of the largest."""
    whole = np.array([[0, 0, 0], [most, 0, 0], [most, most // 2, 0], [0, most // 2, 0]])
    primitive = rectangle(builder)
    primitive["attributes"]["POSITION"] = builder.accessor(whole, kind, normalized=normalized)
    need = ["KHR_mesh_quantization"]
    scene = builder.scene([primitive], [{"mesh": 0, "scale": [4, 4, 4]}], extensionsUsed=need, extensionsRequired=need)
    area, vertices = found(tmp_path / "a.glb", scene, builder)
    expected = 4 * whole / (most if normalized else 1)
    np.testing.assert_allclose(vertices, expected)
    assert area == pytest.approx(expected[2, 0] * expected[2, 1])


def test_rows_with_gaps_and_sparse_changes(builder, tmp_path):
    padded = np.c_[CORNERS, np.full((4, 1), 9)].astype("<f4").tobytes()
    view = builder.view(padded, byteStride=16)
    where, what = (
        builder.view(np.array([1, 2], "<u2").tobytes()),
        builder.view(np.array([[6, 0, 0], [6, 2, 0]], "<f4").tobytes()),
    )
    sparse = {"count": 2, "indices": {"bufferView": where, "componentType": 5123}, "values": {"bufferView": what}}
    builder.accessors.append({"bufferView": view, "componentType": 5126, "count": 4, "type": "VEC3", "sparse": sparse})
    primitive = {"attributes": {"POSITION": 0}, "indices": builder.accessor([0, 1, 2, 2, 3, 0], "u4")}
    assert found(tmp_path / "a.glb", builder.scene([primitive]), builder)[0] == pytest.approx(12)


def test_nodes_move_turn_and_stretch_what_they_hold(builder, tmp_path):
    half = np.sqrt(0.5)
    matrix = [0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 10, 0, 0, 1]  # a quarter about z, then 10 along x; columns first
    nodes = [
        {"children": [1, 2], "translation": [0, 0, 100]},
        {"mesh": 0, "rotation": [0, 0, half, half], "scale": [2, 1, 1]},
        {"mesh": 0, "matrix": matrix},
    ]
    area, vertices = found(tmp_path / "a.glb", builder.scene([rectangle(builder)], nodes), builder)
    first = np.stack([-CORNERS[:, 1], 2 * CORNERS[:, 0], CORNERS[:, 2] + 100], axis=-1)
    second = np.stack([10 - CORNERS[:, 1], CORNERS[:, 0], CORNERS[:, 2] + 100], axis=-1)
    np.testing.assert_allclose(vertices, np.r_[first, second], atol=1e-12)
    assert area == pytest.approx(24)


def test_meshes_that_the_scene_does_not_show_are_not_read(builder, tmp_path):
    nodes = [{"mesh": 0}, {"mesh": 0, "translation": [50, 0, 0]}]
    assert found(tmp_path / "a.glb", builder.scene([rectangle(builder)], nodes), builder)[0] == pytest.approx(8)


def test_extensions_that_change_the_geometry_are_refused(builder, tmp_path):
    scene = builder.scene([rectangle(builder)], extensionsRequired=["EXT_meshopt_compression", "KHR_materials_unlit"])
    (tmp_path / "a.glb").write_bytes(glb(scene, builder.body))
    with pytest.raises(InputError, match="needs the extensions EXT_meshopt_compression, which are not read; export"):
        read_mesh(tmp_path / "a.glb")
    scene["extensionsRequired"] = ["KHR_materials_unlit", "KHR_texture_transform"]  # of its looks alone
    assert found(tmp_path / "a.glb", scene, builder)[0] == pytest.approx(8)


def test_a_gltf_with_its_buffer_beside_it_or_inside(builder, tmp_path):
    scene = builder.scene([rectangle(builder)])
    (tmp_path / "my mesh.bin").write_bytes(builder.body)
    for name, uri in (
        ("beside", "my%20mesh.bin"),
        ("inside", "data:application/octet-stream;base64," + base64.b64encode(builder.body).decode()),
    ):
        scene["buffers"][0]["uri"] = uri
        (tmp_path / f"{name}.gltf").write_text(json.dumps(scene))
        mesh = read_mesh(tmp_path / f"{name}.gltf")
        assert areas(mesh.vertices, mesh.faces).sum() == pytest.approx(8)
    assert [path.name for path in find_files([tmp_path])] == ["beside.gltf", "inside.gltf"]


@pytest.mark.parametrize(
    "uri", ["/etc/passwd", "../a.bin", "http://127.0.0.1:9/a", "file:///etc/passwd", "%2e%2e/a.bin"]
)
def test_buffers_elsewhere_are_not_opened(uri, builder, tmp_path):
    scene = builder.scene([rectangle(builder)])
    scene["buffers"][0]["uri"] = uri
    (tmp_path / "in").mkdir()
    (tmp_path / "a.bin").write_bytes(builder.body)
    (tmp_path / "in/a.gltf").write_text(json.dumps(scene))
    with pytest.raises(InputError, match="buffer elsewhere"):
        read_mesh(tmp_path / "in/a.gltf")
    scene["buffers"][0]["uri"] = "none.bin"
    (tmp_path / "in/a.gltf").write_text(json.dumps(scene))
    with pytest.raises(InputError, match=r"none\.bin: cannot be opened"):
        read_mesh(tmp_path / "in/a.gltf")


def test_a_scene_too_large_for_its_buffer_is_cut_off(builder, tmp_path):
    scene = builder.scene([rectangle(builder)])
    scene["accessors"][0]["count"] = 40
    (tmp_path / "a.glb").write_bytes(glb(scene, builder.body))
    with pytest.raises(InputError, match="cut off: 48 bytes cannot hold 40 values"):
        read_mesh(tmp_path / "a.glb")
