"""Small files of every format, made by the package's own writers where it has them."""

import io
import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from crosspoint.data.points import normalise
from fuzzer.cases import Files

POINTS = np.random.default_rng(0).uniform(-1, 1, (12, 3)).astype(np.float32)
CLOUDS = normalise(np.random.default_rng(1).uniform(-1, 1, (6, 16, 3)))


def folder(make: Callable[[Path], object]) -> Files:
    """The files that a function writes into a folder."""
    with TemporaryDirectory(prefix="crosspoint-fuzz-seed-") as name:
        root = Path(name)
        make(root)
        return {
            path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
        }


def to_bytes(write: Callable[[Any], object]) -> bytes:
    """What a function writes into a file in memory."""
    memory = io.BytesIO()
    write(memory)
    return memory.getvalue()


def ply() -> bytes:
    """A cloud, as the package writes it."""
    from crosspoint.data.io.formats.ply import write_points

    return next(
        content
        for content in folder(lambda root: write_points(root / "x.ply", POINTS)).values()
        if isinstance(content, bytes)
    )


def pcd(encoding: str) -> bytes:
    """A cloud with intensities, as PCL writes it."""
    import lzf

    rows = np.c_[POINTS, np.ones(len(POINTS), np.float32)]  # (N, 4)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\n"
        f"COUNT 1 1 1 1\nWIDTH {len(rows)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(rows)}\nDATA {encoding}\n"
    ).encode()
    if encoding == "ascii":
        return header + "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist()).encode()
    if encoding == "binary":
        return header + rows.tobytes()
    plain = rows.T.tobytes()
    packed = lzf.compress(plain)
    return header + struct.pack("<II", len(packed), len(plain)) + packed


def mesh(kind: str) -> bytes:
    """A box."""
    import trimesh

    content = trimesh.creation.box().export(file_type=kind)
    return content.encode() if isinstance(content, str) else bytes(content)


def las(suffix: str, form: int = 3) -> bytes:
    """A cloud as LAS or LAZ, in a point format; those from 6 on compress each value in layers of its own."""
    import laspy

    def write(root: Path) -> None:
        header = laspy.LasHeader(point_format=form, version="1.2" if form < 6 else "1.4")
        header.scales = [0.001] * 3
        data = laspy.LasData(header)
        data.xyz = POINTS.astype(np.float64)
        data.write(str(root / f"x.{suffix}"))

    return _only(write)


def e57() -> bytes:
    """A scan with a pose."""
    import pye57

    def write(root: Path) -> None:
        file = pye57.E57(str(root / "x.e57"), mode="w")
        axes = {f"cartesian{axis}": POINTS[:, i].astype(np.float64) for i, axis in enumerate("XYZ")}
        file.write_scan_raw(axes, translation=np.array([1.0, 2.0, 3.0]))
        file.close()

    return _only(write)


def bag(form: str, compression: str = "") -> bytes:
    """Two clouds in one topic, as `bag`, `mcap` or `db3`."""
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
    from rosbags.rosbag2 import Writer as Writer2
    from rosbags.typesys import Stores, get_typestore

    kind, first = "sensor_msgs/msg/PointCloud2", form == "bag"
    store = get_typestore(Stores.ROS1_NOETIC if first else Stores.ROS2_HUMBLE)
    types = store.types
    fields = [types["sensor_msgs/msg/PointField"](name, 4 * i, 7, 1) for i, name in enumerate("xyz")]
    number = {"seq": 0} if first else {}
    header = types["std_msgs/msg/Header"](stamp=types["builtin_interfaces/msg/Time"](0, 0), frame_id="a", **number)
    data = np.frombuffer(POINTS.astype("<f4").tobytes(), np.uint8)
    message = types[kind](header, 1, len(POINTS), fields, False, 12, len(data), data, True)

    def write(root: Path) -> None:
        if first:
            writer = Writer1(root / "x.bag")
            if compression:
                writer.set_compression(Writer1.CompressionFormat[compression])
        else:
            plugin = StoragePlugin.MCAP if form == "mcap" else StoragePlugin.SQLITE3
            writer = Writer2(root / "x", version=9, storage_plugin=plugin)
            if compression:
                writer.set_compression(CompressionMode.STORAGE, CompressionFormat[compression])
        with writer as opened:
            connection = opened.add_connection("/points", kind, typestore=store)
            for i in range(2):
                opened.write(connection, i, (store.serialize_ros1 if first else store.serialize_cdr)(message, kind))
        if not first:
            (root / "x" / "metadata.yaml").unlink()

    return _only(write)


def _only(write: Callable[[Path], None]) -> bytes:
    """The content of the one file that is written."""
    (content,) = (content for content in folder(write).values() if isinstance(content, bytes))
    return content


def picture(value: int = 0) -> bytes:
    """A PNG of 8×8."""
    from PIL import Image

    image = Image.new("RGBA", (8, 8), (value, 100, 200, 255))
    return to_bytes(lambda file: image.save(file, "PNG"))


def hdf5(**arrays: Any) -> bytes:
    """A file of these data sets."""
    import h5py

    def write(file: Any) -> None:
        with h5py.File(file, "w") as opened:
            for name, values in arrays.items():
                opened[name] = values

    return to_bytes(write)


def modelnet() -> Files:
    """Two classes, in ModelNet40's format."""
    labels = np.array([0, 1, 0, 1, 0, 1], np.uint8)[:, None]
    clouds = {f"ply_data_{split}0.h5": hdf5(data=CLOUDS, label=labels) for split in ("train", "test")}
    return {**clouds, "shape_names.txt": b"ball\nstick\n"}


def scanobjectnn() -> Files:
    """One class more, in ScanObjectNN's format."""
    labels = np.array([0, 1, 2, 0, 1, 2])
    return {f"{split}.h5": hdf5(data=CLOUDS, label=labels) for split in ("train", "test")}


def parts() -> Files:
    """Two categories of two parts each, in ShapeNetPart's format."""
    labels = np.array([0, 1, 0, 1, 0, 1], np.uint8)[:, None]
    pid = 2 * labels.astype(np.int64) + (CLOUDS[..., 1] > 0)
    taxonomy = {
        "categories": ["a", "b"],
        "parts": ["a/0", "a/1", "b/0", "b/1"],
        "category_parts": {"a": [0, 1], "b": [2, 3]},
    }
    files = {f"ply_data_{split}0.h5": hdf5(data=CLOUDS, label=labels, pid=pid) for split in ("train", "test")}
    return {**files, "taxonomy.json": json.dumps(taxonomy).encode()}


def renders() -> Files:
    """Two objects with two pictures each, in ShapeNetRender's format."""
    pictures = {
        f"ShapeNetRendering/c/{name}/rendering/{view:02d}.png": picture(view) for name in "ab" for view in range(2)
    }
    return {**{f"ShapeNet/c/{name}.ply": ply() for name in "ab"}, **pictures}


def place(files: Files, root: Path) -> Path:
    """Write files into a folder; returns it."""
    from fuzzer.cases import write

    write(files, root)
    return root


def small_weights(dim: int = 8) -> Any:
    """Deployed weights of a DGCNN with two EdgeConvs of a few channels."""
    from crosspoint.export.onnx.fold import DGCNNWeights, Edge, Linear

    rng = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    edges = tuple(Edge(3, array(a, b), Linear(array(a, b), array(b)), None) for a, b in ((3, 4), (4, 5)))
    return DGCNNWeights(edges, Linear(array(9, dim), array(dim)))


def small_onnx(points: int | None = None, about: dict[str, Any] | None = None) -> bytes:
    """The small DGCNN, as the exporter writes it."""
    from crosspoint.export.onnx.build import build
    from crosspoint.export.onnx.file import write_onnx

    provenance = {"model": {"architecture": "dgcnn", "k": 3}, "k": 3, "precision": "fp32", **(about or {})}
    files = folder(lambda root: write_onnx(root / "x.onnx", build(small_weights(), points), provenance=provenance))
    return next(content for content in files.values() if isinstance(content, bytes))


def small_segmenter() -> bytes:
    """A part segmenter of a few channels, as the exporter writes it."""
    from crosspoint.export.onnx.build import build
    from crosspoint.export.onnx.file import write_onnx
    from crosspoint.export.onnx.fold import BackboneWeights, Edge, Linear, SegmenterWeights, TransformWeights

    rng = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return 0.3 * rng.standard_normal(shape).astype(np.float32)

    def linear(a: int, b: int) -> Linear:
        return Linear(array(a, b), array(b))

    def edge(a: int, b: int, second: bool) -> Edge:
        return Edge(3, array(a, b), linear(a, b), linear(b, b) if second else None)

    transform = TransformWeights(edge(3, 4, True), linear(4, 6), (linear(6, 5), linear(5, 4)), linear(4, 9))
    backbone = BackboneWeights(transform, (edge(3, 4, True), edge(4, 4, True), edge(4, 4, False)), linear(12, 7))
    weights = SegmenterWeights(
        backbone, linear(2, 3), linear(10, 6), array(12, 6), (linear(6, 5), linear(5, 4)), array(4, 4)
    )
    about = {"model": {"architecture": "dgcnn_partseg", "k": 3, "parts": 4, "categories": 2}, "k": 3}
    files = folder(lambda root: write_onnx(root / "x.onnx", build(weights, None), provenance=about))
    return next(content for content in files.values() if isinstance(content, bytes))


@cache
def bundle() -> Files:
    """A bundle of the small DGCNN."""
    from crosspoint.export.engine.engine import file_entry

    def make(root: Path) -> None:
        (root / "encoder.onnx").write_bytes(small_onnx())
        manifest = {
            "schema": "crosspoint.manifest/1",
            "files": {"encoder.onnx": vars(file_entry(root / "encoder.onnx"))},
            "model": {"architecture": "dgcnn", "k": 3},
            "source": {"path": "encoder.safetensors", "sha256": "0" * 64},
            "versions": {"crosspoint": "1", "torch": "2"},
            "inputs": {"points": ["batch", "points", 3]},
            "outputs": {"embedding": ["batch", 8]},
            "profile": {"batch": [1, 2, 4], "points": [8, 16, 32]},
            "precision": {"asked": "fp32", "read_back": "fp32", "types": "fp32", "layers": {}, "kept": []},
            "preprocessing": "none",
            "parity": {"tier": "fp32", "relative_l2_max": 1e-6, "cosine_min": 1.0, "overlap_min": 1.0, "limits": {}},
            "engine": {
                "builder": "tensorrt-rtx",
                "version": "1.7",
                "targets": ["sm86"],
                "executed": False,
                "status": "built, not executed",
            },
        }
        (root / "manifest.json").write_text(json.dumps(manifest))

    return folder(make)
