"""Whether a GLB file is whole, a tree, and not far larger once it is read than on the disk."""

import importlib.util
import json
import struct
from typing import TypedDict

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced

DRACO = "KHR_draco_mesh_compression"
INSTANCES = 10_000  # meshes that nodes place, each counted as often as it is placed; 8 s of the library's time
STEPS = 100_000  # nodes between all instances and the root, which the library walks one by one in 3 s
DEPTH = 1000  # of a node
WIDER = 2  # times the bytes of a file: 64-bit coordinates and indices
JOIN = "save it as one mesh"
VALUES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}  # by the number of a component type


class Accessor(TypedDict):
    """Values in a buffer: how many, of which shape and type."""

    count: int
    type: str
    componentType: int


class BufferView(TypedDict):
    """A piece of a buffer."""

    byteLength: int


class Primitive(TypedDict, total=False):
    """A piece of a mesh; the numbers are those of accessors."""

    attributes: dict[str, int]
    indices: int


class GltfMesh(TypedDict):
    """A mesh in pieces."""

    primitives: list[Primitive]


class Node(TypedDict, total=False):
    """A place in the scene; the numbers are those of nodes and of a mesh."""

    children: list[int]
    mesh: int


class Scene(TypedDict, total=False):
    """The JSON part of a file, of which nothing is checked yet.

    See https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html.
    """

    accessors: list[Accessor]
    bufferViews: list[BufferView]
    extensionsRequired: list[str]
    meshes: list[GltfMesh]
    nodes: list[Node]


def check_glb(content: bytes) -> None:
    """Raise InputError if a GLB file is cut off, asks for far more memory than its size, or is no tree of nodes.

    What is damaged in its JSON part ends in an error of any type.
    """
    if len(content) < 20 or not content.startswith(b"glTF"):
        raise InputError(f"does not start as a GLB file does; {ADVICE}")
    length, header = struct.unpack_from("<II", content, 8)
    if len(content) < length:
        raise InputError(f"is cut off: {len(content)} of {length} bytes; {ADVICE}")
    scene: Scene = json.loads(content[20 : 20 + header].decode("utf-8"))
    if DRACO in scene.get("extensionsRequired", ()) and importlib.util.find_spec("DracoPy") is None:
        raise InputError("is compressed with Draco; pip install DracoPy, or export it without compression")
    sizes = [_size(accessor) for accessor in scene.get("accessors", ())]
    check_announced(sum(sizes), len(content))
    check_announced(sum(_natural(view["byteLength"]) for view in scene.get("bufferViews", ())), len(content))
    _check_instances(scene, sizes, len(content))


def _size(accessor: Accessor) -> int:
    """Bytes of the values of an accessor."""
    return _natural(accessor["count"]) * VALUES[accessor["type"]] * BYTES[accessor["componentType"]]


def _natural(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise InputError(f"has a size that is no natural number; {ADVICE}")
    return value


def _check_instances(scene: Scene, sizes: list[int], size: int) -> None:
    """Hold against the file's size what its nodes place, and see that they are a tree, as glTF asks."""
    nodes = scene.get("nodes", [])
    primitives = [mesh["primitives"] for mesh in scene.get("meshes", ())]
    if any("sparse" in scene["accessors"][i] for mesh in primitives for part in mesh for i in _accessors(part)):
        raise InputError("has sparse accessors, which cannot be read; export it without them")
    placed = [_bytes(mesh, sizes) for mesh in primitives]
    depths = _depths(nodes)
    instances = steps = total = 0
    for node, depth in zip(nodes, depths, strict=True):
        if "mesh" in node:
            count = len(primitives[node["mesh"]])
            instances, steps, total = instances + count, steps + count * depth, total + placed[node["mesh"]]
    instances, total = max(instances, sum(map(len, primitives))), max(total, sum(placed))
    if instances > INSTANCES:
        raise InputError(f"places {instances:,} meshes, more than the {INSTANCES:,} that can be joined; {JOIN}")
    if steps > STEPS or max(depths, default=0) > DEPTH:
        raise InputError(f"nests its nodes up to {max(depths):,} deep, which takes too long to follow; {JOIN}")
    check_announced(WIDER * total, size)


def _accessors(primitive: Primitive) -> list[int]:
    """The positions and indices of a primitive."""
    return [i for i in (primitive["attributes"].get("POSITION"), primitive.get("indices")) if i is not None]


def _bytes(mesh: list[Primitive], sizes: list[int]) -> int:
    return sum(sizes[i] for primitive in mesh for i in _accessors(primitive))


def _depths(nodes: list[Node]) -> list[int]:
    """How many nodes are above each node.

    Raises:
        InputError: A node has two parents, or is above itself.
    """
    parents: dict[int, int] = {}
    for i, node in enumerate(nodes):
        for child in node.get("children", ()):
            if parents.setdefault(child, i) != i:
                raise InputError(f"has a node with two parents; {ADVICE}")
    depths: dict[int, int] = {}
    for start in range(len(nodes)):
        path = [start]  # up to a node whose depth is known, or to a root
        while path[-1] not in depths and path[-1] in parents and len(path) <= len(nodes):
            path.append(parents[path[-1]])
        if len(path) > len(nodes):
            raise InputError(f"has a node that is above itself; {ADVICE}")
        depth = depths.get(path[-1], 0)
        for above, i in enumerate(reversed(path)):
            depths[i] = depth + above
    return [depths[i] for i in range(len(nodes))]
