"""Checks a glTF scene before it is parsed: a tree of nodes, and of bounded size in memory."""

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced
from crosspoint.data.io.formats.gltf_scene import Accessor, Node, Primitive, Scene

DRACO = "KHR_draco_mesh_compression"
INSTANCES = 10_000  # most meshes that nodes place
STEPS = 100_000  # most nodes between all instances and the root
DEPTH = 1000  # most levels of nodes
WIDER = 2  # memory per byte of the file: coordinates and indices become 64-bit
JOIN = "save it as one mesh"
VALUES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}  # by glTF component type


def check_scene(scene: Scene, size: int) -> None:
    """Raise InputError if a glTF scene needs far more memory than its files' size, or its nodes are not a tree.

    Damage can raise an error of any type.
    """
    sizes = [_size(accessor) for accessor in scene.get("accessors", ())]
    check_announced(sum(sizes), size)
    check_announced(sum(_natural(view["byteLength"]) for view in scene.get("bufferViews", ())), size)
    _check_instances(scene, sizes, size)


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
