"""Checks a GLB file before it is parsed: complete, a tree of nodes, and of bounded size in memory."""

import importlib.util
import json
import struct
from typing import TypedDict

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced

DRACO = "KHR_draco_mesh_compression"
INSTANCES = 10_000  # most meshes that nodes place; the library takes 8 s for them
STEPS = 100_000  # most nodes between all instances and the root; the library takes 3 s for them
DEPTH = 1000  # most levels of nodes
WIDER = 2  # memory per byte of the file: coordinates and indices become 64-bit
JOIN = "save it as one mesh"
VALUES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}  # by glTF component type


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
    """Raise InputError if a GLB file is cut off, needs far more memory than its size, or its nodes are not a tree.

    Damage in its JSON part can raise an error of any type.
    """
    if len(content) < 20 or not content.startswith(b"glTF"):
        raise InputError(f"does not begin like a GLB file; {ADVICE}")
    length, header = struct.unpack_from("<II", content, 8)
    if len(content) < length:
        raise InputError(f"is cut off: {len(content)} of {length} bytes; {ADVICE}")
    scene: Scene = json.loads(content[20 : 20 + header].decode("utf-8"))
    if DRACO in scene.get("extensionsRequired", ()) and importlib.util.find_spec("DracoPy") is None:
        raise InputError("is compressed with Draco; run pip install DracoPy, or export it without compression")
    sizes = [_size(accessor) for accessor in scene.get("accessors", ())]
    check_announced(sum(sizes), len(content))
    check_announced(sum(_natural(view["byteLength"]) for view in scene.get("bufferViews", ())), len(content))
    _check_instances(scene, sizes, len(content))


def _size(accessor: Accessor) -> int:
    """Size of an accessor's values in bytes."""
    return _natural(accessor["count"]) * VALUES[accessor["type"]] * BYTES[accessor["componentType"]]


def _natural(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise InputError(f"has a size that is not a whole number of at least 0; {ADVICE}")
    return value


def _check_instances(scene: Scene, sizes: list[int], size: int) -> None:
    """Check that the nodes are a tree, as glTF requires, and that what they place has a bounded size."""
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
    """Depth of each node, 0 for a root.

    Raises:
        InputError: A node has two parents, or is its own ancestor.
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
            raise InputError(f"has a node that is its own ancestor; {ADVICE}")
        depth = depths.get(path[-1], 0)
        for above, i in enumerate(reversed(path)):
            depths[i] = depth + above
    return [depths[i] for i in range(len(nodes))]
