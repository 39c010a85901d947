"""glTF 2.0, as `.glb` and as `.gltf` with its buffers: the triangles of the scene, or its points.

Points are read where there are no triangles. Lines, materials, skins and animations are not read.

The format: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html.
"""

import base64
import binascii
import importlib.util
import json
import struct
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced, read_bytes, readable, some
from crosspoint.data.io.columns import as_coordinates
from crosspoint.data.io.formats.gltf_limits import DRACO, check_scene
from crosspoint.data.io.formats.gltf_scene import Buffer, Node, Primitive, Scene, ViewPlace
from crosspoint.data.points import Coordinates

KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}  # by a component type's number
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
POINTS, TRIANGLES, STRIP, FAN = 0, 4, 5, 6  # modes of a primitive; those between are lines
LOOKS = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "KHR_lights_", "KHR_xmp", "MSFT_texture_", "KHR_animation_")
KNOWN = ("KHR_mesh_quantization", DRACO)
MOVES = {"matrix", "translation", "rotation", "scale"}
HERE = np.eye(4)
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942

Buffers = Callable[[int], "bytes | memoryview"]


def read_glb(content: bytes) -> tuple[Coordinates, npt.NDArray[np.int64]]:
    """Read a binary glTF.

    Returns:
        Coordinates (N, 3) in the scene's frame, y up, and triangles (F, 3); none of a scene of points alone.

    Raises:
        InputError: It is cut off, needs an extension that is not read, refers to another file, or would take far more
            memory than its size. What is damaged in its JSON part ends in an error of any type.
    """
    if len(content) < 20 or not content.startswith(b"glTF"):
        raise InputError(f"does not begin like a GLB file; {ADVICE}")
    version, length, header, kind = struct.unpack_from("<IIII", content, 4)
    if version != 2 or kind != JSON_CHUNK:
        raise InputError(f"is GLB of version {version}; save it as glTF 2.0")
    if len(content) < length:
        raise InputError(f"is cut off: {len(content)} of {length} bytes; {ADVICE}")
    scene: Scene = json.loads(content[20 : 20 + header].decode("utf-8"))
    body = memoryview(b"")
    if len(content) >= 28 + header:
        size, kind = struct.unpack_from("<II", content, 20 + header)
        body = memoryview(content)[28 + header : 28 + header + size] if kind == BINARY_CHUNK else body

    def buffer(i: int) -> bytes | memoryview:
        uri = scene["buffers"][i].get("uri")
        if uri is None and i == 0:
            return body
        return _embedded(uri)

    return _read_scene(scene, buffer, len(content))


def read_gltf(content: bytes, folder: Path) -> tuple[Coordinates, npt.NDArray[np.int64]]:
    """Read a glTF of JSON, with buffers inside it or in files beside it.

    Args:
        content: The JSON.
        folder: Where its buffers lie; none is opened outside it.

    Returns:
        As `read_glb`.

    Raises:
        InputError: As `read_glb`, or a buffer is missing or lies elsewhere.
    """
    scene: Scene = json.loads(content.decode("utf-8-sig"))
    entries = scene.get("buffers", [])
    files = [buffer_file(entry, folder) for entry in entries]
    opened: dict[Path | int, bytes] = {}

    def buffer(i: int) -> bytes:
        file = files[i]
        key = i if file is None else file
        if key not in opened:
            opened[key] = _embedded(entries[i].get("uri")) if file is None else read_bytes(file)
        return opened[key]

    return _read_scene(scene, buffer, len(content) + sum(readable(file) for file in set(files) if file is not None))


def buffer_file(entry: Buffer, folder: Path) -> Path | None:
    """The file of an entry of `buffers`; None of one that is in the JSON itself.

    Raises:
        InputError: It lies outside the folder.
    """
    uri = entry.get("uri")
    if not isinstance(uri, str) or uri.startswith("data:"):
        return None
    name = urllib.parse.unquote(uri)
    place = Path(name)
    if "://" in uri or place.is_absolute() or ".." in place.parts or "\0" in name:
        raise InputError(f"has its buffer elsewhere ({some([uri])}); put it beside the .gltf, or save it as .glb")
    return folder / place


def _embedded(uri: object) -> bytes:
    """The content of a `data:` URI."""
    if not isinstance(uri, str) or not uri.startswith("data:"):
        raise InputError(f"has a buffer in another file ({some([uri])}); save it with its buffers inside")
    head, _, data = uri.partition(",")
    try:
        return (
            base64.b64decode(data, validate=True) if head.endswith(";base64") else urllib.parse.unquote_to_bytes(data)
        )
    except binascii.Error as error:
        raise InputError(f"has a damaged buffer; {ADVICE}") from error


def _read_scene(scene: Scene, buffer: Buffers, size: int) -> tuple[Coordinates, npt.NDArray[np.int64]]:
    if DRACO in scene.get("extensionsRequired", ()) and importlib.util.find_spec("DracoPy") is None:
        raise InputError("is compressed with Draco; run pip install DracoPy, or export it without compression")
    needed = [name for name in scene.get("extensionsRequired", ()) if name not in KNOWN and not name.startswith(LOOKS)]
    if needed:
        raise InputError(f"needs the extensions {some(needed)}, which are not read; export it without them")
    check_scene(scene, size)
    primitives = _Primitives(scene, buffer, size)
    vertices, triangles, points = list[Any](), list[Any](), list[Any]()
    count = 0
    for mesh, matrix in _placed(scene):
        for primitive in scene["meshes"][mesh]["primitives"]:
            found, corners = primitives.read(primitive)
            if found is None:
                continue
            moved = found if matrix is HERE else found @ matrix[:3, :3].T + matrix[:3, 3]  # (N, 3)
            if corners is None:
                points.append(moved)
                continue
            if np.linalg.det(matrix[:3, :3]) < 0:
                corners = corners[:, ::-1]  # a mirror turns the way round
            vertices.append(moved)
            triangles.append(corners + count if count else corners)
            count += len(moved)
    if triangles:
        return _joined(vertices), _joined(triangles)
    if not points:
        raise InputError(f"has no triangles and no points; {ADVICE}")
    return _joined(points), np.empty((0, 3), np.int64)


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _placed(scene: Scene) -> list[tuple[int, npt.NDArray[np.float64]]]:
    """Each mesh that the scene shows, and the matrix (4, 4) that takes it there; all meshes where there is no scene."""
    nodes = scene.get("nodes", [])
    scenes = scene.get("scenes", [])
    shown = scenes[scene.get("scene", 0)].get("nodes", []) if scenes else range(len(nodes))
    children = {child for node in nodes for child in node.get("children", ())}
    roots = [i for i in dict.fromkeys(shown) if i not in children]
    placed, waiting = [], [(i, HERE) for i in reversed(roots)]
    while waiting:
        i, above = waiting.pop()
        matrix = above if MOVES.isdisjoint(nodes[i]) else above @ _matrix(nodes[i])
        if "mesh" in nodes[i]:
            placed.append((nodes[i]["mesh"], matrix))
        waiting += [(child, matrix) for child in reversed(nodes[i].get("children", ()))]
    if not nodes:
        placed = [(i, HERE) for i in range(len(scene.get("meshes", ())))]
    return placed


def _matrix(node: Node) -> npt.NDArray[np.float64]:
    """Of a node to its parent: its matrix, or translation · rotation · scale."""
    if "matrix" in node:
        given: npt.NDArray[np.float64] = np.array(node["matrix"], np.float64).reshape(4, 4).T  # columns first
        return given
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64).tolist()
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), np.float64).reshape(3)
    matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64).reshape(3)
    return matrix


class _Primitives:
    """The primitives of a scene, each read once however often it is placed."""

    def __init__(self, scene: Scene, buffer: Buffers, size: int) -> None:
        self._scene, self._buffer, self._size = scene, buffer, size
        self._known: dict[int, tuple[Any, Any]] = {}

    def read(self, primitive: Primitive) -> tuple[Any, Any]:
        """Positions (N, 3) or None, and triangles (F, 3), or None of points."""
        if id(primitive) not in self._known:
            self._known[id(primitive)] = self._read(primitive)
        return self._known[id(primitive)]

    def _read(self, primitive: Primitive) -> tuple[Any, Any]:
        mode = primitive.get("mode", TRIANGLES)
        if "POSITION" not in primitive["attributes"] or mode not in (POINTS, TRIANGLES, STRIP, FAN):
            return None, None
        position = primitive["attributes"]["POSITION"]
        if DRACO in primitive.get("extensions", {}) and "bufferView" not in self._scene["accessors"][position]:
            return self._draco(primitive["extensions"][DRACO])
        positions = as_coordinates(self._accessor(position))
        if positions.shape[1] != 3:
            raise InputError(f"has positions of {positions.shape[1]} values; {ADVICE}")
        if mode == POINTS:
            return positions, None
        if "indices" in primitive:
            indices = self._accessor(primitive["indices"])[:, 0].astype(np.int64)
        else:
            indices = np.arange(len(positions))
        if len(indices) and int(indices.max()) >= len(positions):
            raise InputError(
                f"has a face that uses vertex {indices.max()}, but only {len(positions)} vertices; {ADVICE}"
            )
        return positions, _triangles(indices, mode)

    def _accessor(self, index: int) -> npt.NDArray[Any]:
        """Values (count, width); those of a normalised type between -1 and 1."""
        accessor = self._scene["accessors"][index]
        kind, width, count = np.dtype(KINDS[accessor["componentType"]]), WIDTHS[accessor["type"]], accessor["count"]
        values: npt.NDArray[Any] = np.zeros((count, width), kind)
        if "bufferView" in accessor:
            values = self._part(accessor, kind, width, count)
        if "sparse" in accessor:
            values, changed = values.copy(), accessor["sparse"]
            rows = self._part(
                changed["indices"], np.dtype(KINDS[changed["indices"]["componentType"]]), 1, changed["count"]
            )
            values[rows[:, 0]] = self._part(changed["values"], kind, width, changed["count"])
        if accessor.get("normalized") and kind.kind in "iu":
            values = np.maximum(values / np.float64(np.iinfo(kind).max), -1.0)
        return values

    def _part(self, place: ViewPlace, kind: np.dtype[Any], width: int, count: int) -> npt.NDArray[Any]:
        """Values (count, width) in a view of a buffer, without a copy."""
        view, offset = self._scene["bufferViews"][place["bufferView"]], place.get("byteOffset", 0)
        start, row = view.get("byteOffset", 0), view.get("byteStride", kind.itemsize * width)
        if min(offset, start, row, view["byteLength"]) < 0:
            raise InputError(f"has a size that is not a whole number of at least 0; {ADVICE}")
        rows = memoryview(self._buffer(view["buffer"]))[start : start + view["byteLength"]]
        if count and offset + row * (count - 1) + kind.itemsize * width > len(rows):
            raise InputError(f"is cut off: {len(rows)} bytes cannot hold {count} values; {ADVICE}")
        values: npt.NDArray[Any] = np.ndarray((count, width), kind, rows, offset, (row, kind.itemsize))
        return values

    def _draco(self, extension: ViewPlace) -> tuple[Any, Any]:
        import DracoPy

        view = self._scene["bufferViews"][extension["bufferView"]]
        start = view.get("byteOffset", 0)
        decoded = DracoPy.decode(bytes(self._buffer(view["buffer"])[start : start + view["byteLength"]]))
        points, faces = np.asarray(decoded.points, np.float64), getattr(decoded, "faces", None)
        check_announced(points.nbytes + (0 if faces is None else 8 * np.size(faces)), self._size)
        return points.reshape(-1, 3), None if faces is None else np.asarray(faces, np.int64).reshape(-1, 3)


def _triangles(indices: npt.NDArray[np.int64], mode: int) -> npt.NDArray[np.int64]:
    """Triangles (F, 3) of the corners of a primitive (n,)."""
    if mode == TRIANGLES:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    count = max(len(indices) - 2, 0)
    if mode == FAN:
        return np.stack([np.broadcast_to(indices[:1], count), indices[1 : 1 + count], indices[2 : 2 + count]], axis=-1)
    strip = np.stack([indices[:count], indices[1 : 1 + count], indices[2 : 2 + count]], axis=-1)
    strip[1::2] = strip[1::2, ::-1]  # every second triangle is drawn the other way round
    return strip
