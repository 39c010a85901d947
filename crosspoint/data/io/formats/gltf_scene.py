"""The JSON part of a glTF file: the keys that are read.

The format: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html.
"""

from typing import TypedDict


class Buffer(TypedDict, total=False):
    """Bytes: in a file beside the scene, in a `data:` URI, or without `uri` in the GLB file itself."""

    uri: object


class BufferView(TypedDict, total=False):
    """A piece of a buffer."""

    buffer: int
    byteLength: int
    byteOffset: int
    byteStride: int


class ViewPlace(TypedDict, total=False):
    """Where in a view of a buffer something begins."""

    bufferView: int
    byteOffset: int


class SparseIndices(ViewPlace):
    """Which values of an accessor are replaced."""

    componentType: int


class Sparse(TypedDict):
    """Values that replace others of an accessor."""

    count: int
    indices: SparseIndices
    values: ViewPlace


class Accessor(ViewPlace, total=False):
    """Values in a buffer: how many, of which shape and type; zeros without a view."""

    count: int
    type: str
    componentType: int
    normalized: bool
    sparse: Sparse


class Primitive(TypedDict, total=False):
    """A piece of a mesh; the numbers are those of accessors."""

    attributes: dict[str, int]
    indices: int
    mode: int
    extensions: dict[str, ViewPlace]


class GltfMesh(TypedDict):
    """A mesh in pieces."""

    primitives: list[Primitive]


class Node(TypedDict, total=False):
    """A place in the scene; the numbers are those of nodes and of a mesh."""

    children: list[int]
    mesh: int
    matrix: list[float]
    translation: list[float]
    rotation: list[float]
    scale: list[float]


class Shown(TypedDict, total=False):
    """The nodes that one of a file's scenes shows."""

    nodes: list[int]


class Scene(TypedDict, total=False):
    """The JSON part of a file, of which nothing is checked yet."""

    accessors: list[Accessor]
    buffers: list[Buffer]
    bufferViews: list[BufferView]
    extensionsRequired: list[str]
    meshes: list[GltfMesh]
    nodes: list[Node]
    scene: int
    scenes: list[Shown]
