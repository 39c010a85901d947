"""Targets of `crosspoint.data`: files of points and meshes, data sets, packs."""

import base64
import gzip
import hashlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fuzzer import made
from fuzzer.cases import Files, Target
from fuzzer.made import CLOUDS, POINTS, to_bytes
from fuzzer.mutate import EPS, LONG
from fuzzer.run import is_line

TEXT = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in POINTS)


def _file(
    suffix: str, *seeds: Callable[[], bytes], name: str = "", attacks: Callable[[], dict[str, bytes]] = dict
) -> Target:
    """A reader of single files of points or meshes."""
    place = f"cloud.{suffix}"

    def read(folder: Path) -> None:
        from crosspoint.data.io.files import read_points

        points = read_points(folder / place, None, seed=0)
        assert points.ndim == 3
        assert points.shape[2] == 3
        assert np.isfinite(points).all()

    return Target(
        name or suffix,
        lambda: [{place: seed()} for seed in seeds],
        read,
        lambda: {label: {place: content} for label, content in attacks().items()} | _places(place),
    )


def _places(name: str) -> dict[str, Files]:
    """What no reader of a file may open."""
    return {f"is {place}": {name: place} for place in ("folder", "pipe", "sparse", "link /dev/zero", "link nowhere")}


def _npz_bomb() -> bytes:
    return to_bytes(lambda file: np.savez_compressed(file, points=np.zeros((30_000_000, 3), np.float32)))


def _pcd(**changes: str) -> bytes:
    """A cloud of one point, with changes to its header."""
    fields = {"VERSION": ".7", "FIELDS": "x y z", "SIZE": "4 4 4", "TYPE": "F F F", "COUNT": "1 1 1", "WIDTH": "1"}
    fields |= {"HEIGHT": "1", "VIEWPOINT": "0 0 0 1 0 0 0", "POINTS": "1", "DATA": "ascii"}
    lines = [f"{name} {value}" for name, value in (fields | changes).items()]
    return "\n".join([*lines, "0 0 0", ""]).encode()


def _ply(
    count: str, rest: str = "0 0 0\n", vertex: str = "property float x\nproperty float y\nproperty float z\n"
) -> bytes:
    return f"ply\nformat ascii 1.0\nelement vertex {count}\n{vertex}end_header\n{rest}".encode()


def _ply_mesh(count: str) -> bytes:
    faces = f"element face {count}\nproperty list uchar int vertex_indices\n"
    vertex = f"property float x\nproperty float y\nproperty float z\n{faces}"
    return _ply("3", "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", vertex)


def _glb_instances(count: int) -> bytes:
    """Many nodes that all show the same large mesh."""
    content = made.mesh("glb")
    size = struct.unpack_from("<I", content, 12)[0]
    scene = json.loads(content[20 : 20 + size])
    scene["nodes"] = [{"mesh": 0}] * count
    scene["scenes"] = [{"nodes": list(range(count))}]
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    return b"glTF" + struct.pack("<IIII", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def _gltf() -> bytes:
    """A box as JSON with its buffer inside."""
    content = made.mesh("glb")
    size = struct.unpack_from("<I", content, 12)[0]
    scene = json.loads(content[20 : 20 + size])
    data = base64.b64encode(content[28 + size :]).decode()
    scene["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{data}"
    return json.dumps(scene).encode()


def _ascii_stl() -> bytes:
    import trimesh

    return bytes(trimesh.exchange.stl.export_stl_ascii(trimesh.creation.box()).encode())


FILES = (
    _file("npy", lambda: to_bytes(lambda f: np.save(f, POINTS)), lambda: to_bytes(lambda f: np.save(f, CLOUDS))),
    _file(
        "npz",
        lambda: to_bytes(lambda f: np.savez(f, points=POINTS)),
        lambda: to_bytes(lambda f: np.savez_compressed(f, points=CLOUDS, other=POINTS)),
        attacks=lambda: {"bomb": _npz_bomb()},
    ),
    _file(
        "ply",
        made.ply,
        lambda: _ply("2", "0 0 0\n1 1 1\n"),
        attacks=lambda: {
            "a count of 5,000 digits": _ply(LONG),
            "a count that is no ASCII digit": _ply("٣"),
            "a huge count": _ply("4000000000"),
            "a huge list": _ply(
                "1", "3000000000 1\n", "property list uint float x\nproperty float y\nproperty float z\n"
            ),
        },
    ),
    _file(
        "pcd",
        *(lambda e=encoding: made.pcd(e) for encoding in ("ascii", "binary", "binary_compressed")),
        attacks=lambda: {
            "COUNT 10000000": _pcd(COUNT="1 1 10000000"),
            "many points": _pcd(POINTS="4000000000", WIDTH="4000000000", DATA="binary"),
            "an organised cloud": _pcd(POINTS="", WIDTH="4000000000", HEIGHT="4000000000", DATA="binary"),
            "a size of 5,000 digits": _pcd(SIZE=f"4 4 {LONG}"),
            "compressed to nothing": _pcd(DATA="binary_compressed")[:-7] + struct.pack("<II", 4, 2**31 - 1) + b"\0" * 4,
        },
    ),
    *(
        _file(suffix, lambda: TEXT.encode(), lambda: f"{len(POINTS)}\n{TEXT}\n".encode())
        for suffix in ("asc", "txt", "xyz", "pts")
    ),
    _file("csv", lambda: ("x,y,z\n" + TEXT.replace(" ", ",")).encode(), lambda: TEXT.replace(" ", ";").encode()),
    _file("bin", lambda: np.c_[POINTS, np.ones(len(POINTS))].astype("<f4").tobytes()),
    _file(
        "off",
        lambda: made.mesh("off"),
        attacks=lambda: {
            "many": f"OFF\n{LONG} 1 0\n".encode(),
            "faces": b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n1000000000 0 1 2\n",
        },
    ),
    _file(
        "obj", lambda: made.mesh("obj"), attacks=lambda: {"index": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 999999999999\n"}
    ),
    _file("stl", lambda: made.mesh("stl"), _ascii_stl, attacks=lambda: {"count": b"\0" * 80 + b"\xff" * 4}),
    _file(
        "ply",
        lambda: made.mesh("ply"),
        lambda: _ply_mesh("1"),
        name="ply-mesh",
        attacks=lambda: {"a count of 5,000 digits": _ply_mesh(LONG), "a huge count": _ply_mesh("4000000000")},
    ),
    _file("glb", lambda: made.mesh("glb"), attacks=lambda: {"20,000 instances": _glb_instances(20_000)}),
    _file(
        "gltf",
        _gltf,
        attacks=lambda: {
            "a buffer elsewhere": b'{"buffers": [{"uri": "/etc/passwd", "byteLength": 9}]}',
            "deep": b"[" * 200_000,
        },
    ),
    *(
        _file(
            f"{suffix}.gz",
            lambda content=content: gzip.compress(content()),
            attacks=lambda: {
                "bomb": gzip.compress(b"0 0 0\n" * 12_000_000),
                "no end": gzip.compress(TEXT.encode())[:-9],
            },
        )
        for suffix, content in (("xyz", TEXT.encode), ("ply", made.ply), ("pcd", lambda: made.pcd("ascii")))
    ),
    _file("las", lambda: made.las("las")),
    _file("laz", lambda: made.las("laz"), lambda: made.las("laz", 8)),
    _file("e57", made.e57),
    _file("bag", lambda: made.bag("bag"), lambda: made.bag("bag", "LZ4"), lambda: made.bag("bag", "BZ2")),
    _file("mcap", lambda: made.bag("mcap"), lambda: made.bag("mcap", "ZSTD")),
    _file("db3", lambda: made.bag("db3")),
)


def _read_classification(folder: Path) -> None:
    from crosspoint.data.sets.datasets import load_classification
    from crosspoint.data.sets.verify import verify

    _one_line(verify(folder).problems)
    load_classification(folder, 8)


def _read_parts(folder: Path) -> None:
    from crosspoint.data.sets.datasets import load_parts
    from crosspoint.data.sets.verify import verify

    _one_line(verify(folder).problems)
    load_parts(folder, None)


def _one_line(texts: list[str]) -> None:
    assert all(map(is_line, texts)), texts


def _hdf5_attacks() -> dict[str, Files]:
    import h5py

    def with_data(make: Callable[[h5py.File], object]) -> Files:
        memory = io.BytesIO(made.hdf5(label=np.zeros((6, 1), np.uint8)))
        with h5py.File(memory, "r+") as file:
            make(file)
        return {**made.modelnet(), "ply_data_train0.h5": memory.getvalue()}

    elsewhere = [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
    return {
        "asks for 6 GB": with_data(lambda f: f.create_dataset("data", (6, 85_000_000, 3), "f4", chunks=(1, 1000, 3))),
        "external storage": with_data(lambda f: f.create_dataset("data", (6, 16, 3), "f4", external=elsewhere)),
        "external link": with_data(lambda f: f.__setitem__("data", h5py.ExternalLink("other.h5", "/data"))),
        "a file is a pipe": {**made.modelnet(), "ply_data_train0.h5": "pipe"},
        "a file is a device": {**made.modelnet(), "ply_data_train0.h5": "link /dev/zero"},
        "names are a device": {**made.modelnet(), "shape_names.txt": "link /dev/zero"},
        "names are a pipe": {**made.modelnet(), "shape_names.txt": "pipe"},
    }


def _parts_attacks() -> dict[str, Files]:
    def taxonomy(content: bytes | str) -> Files:
        return {**made.parts(), "taxonomy.json": content}

    return {
        "deep": taxonomy(b"[" * 200_000),
        "no UTF-8": taxonomy(b"\xff\xfe{}"),
        "a pipe": taxonomy("pipe"),
        "a device": taxonomy("link /dev/zero"),
        "a list": taxonomy(b"[]"),
        "a surrogate": taxonomy(made.parts()["taxonomy.json"].replace(b'"a"', b'"\\ud800"')),  # type: ignore[union-attr]
        "a huge number": taxonomy(made.parts()["taxonomy.json"].replace(b"[0, 1]", b"[0, 1e999]")),  # type: ignore[union-attr]
    }


def _read_renders(folder: Path) -> None:
    from crosspoint.data.sets.datasets import PairedRenders
    from crosspoint.data.sets.verify import verify

    _one_line(verify(folder).problems)
    pairs = PairedRenders(folder)
    for i in range(len(pairs)):
        pairs.points(i)
        for view in range(pairs.views(i)):
            assert pairs.image(i, view).shape[2] == 4


def _render_attacks() -> dict[str, Files]:
    from PIL import Image

    def picture(content: bytes | str) -> Files:
        return {**made.renders(), "ShapeNetRendering/c/a/rendering/00.png": content}

    pictures: dict[str, bytes | str] = {
        "PostScript": EPS + b"showpage\n",
        "a pipe": "pipe",
        "a device": "link /dev/zero",
        "an image of 2 GB": to_bytes(lambda f: Image.new("1", (13_000, 13_000)).save(f, "PNG")),
        **{
            kind: to_bytes(lambda f, k=kind: Image.new("RGB", (8, 8)).save(f, k))
            for kind in ("GIF", "BMP", "TIFF", "EPS")
        },
    }
    return {name: picture(content) for name, content in pictures.items()}


def _pack() -> Files:
    from crosspoint.data.sets.pack import pack

    def make(root: Path) -> None:
        made.place(made.renders(), root / "in")
        pack(root / "in", root / "packed")

    files = made.folder(make)
    return {name.removeprefix("packed/"): content for name, content in files.items() if name.startswith("packed/")}


def _read_pack(folder: Path) -> None:
    from crosspoint.data.sets.pack import PackedRenders
    from crosspoint.data.sets.verify import verify

    _one_line(verify(folder).problems)
    pack = PackedRenders(folder)
    for i in range(len(pack)):
        assert pack.points(i).shape[1:] == (3,)
        for view in range(pack.views(i)):
            pack.image(i, view)


def _seal_pack(files: Files) -> Files:
    """With an index that lists the shards as they are."""
    index = json.loads(files["index.json"])
    for shard in index["shards"]:
        content = files[shard["file"]]
        shard |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}  # type: ignore[arg-type]
    return {**files, "index.json": json.dumps(index).encode()}


def _pack_attacks() -> dict[str, Files]:
    return {
        "index is a pipe": {**_pack(), "index.json": "pipe"},
        "index is deep": {**_pack(), "index.json": b"[" * 200_000},
    }


def _cifar() -> Files:
    classes = [f"{part}/{part}{i}" for part in ("train", "val", "test") for i in range(2)]
    return {f"{folder}/{i}.png": made.picture(i) for folder in classes for i in range(2)}


def _read_cifar(folder: Path) -> None:
    from crosspoint.data.sets.cifar_fs import find_classes, load_pictures

    for classes in find_classes(folder).values():
        load_pictures(classes, 8)


def _names() -> Files:
    return {"a.xyz": TEXT.encode(), "sub/b.npy": to_bytes(lambda f: np.save(f, POINTS))}


def _read_names(folder: Path) -> None:
    """A folder of files, as `embed` reads it: what is bad is passed over with one line."""
    from crosspoint.core.errors import InputError
    from crosspoint.data.sources import find_sources, read_ahead

    read = 0
    for source, clouds, _ in read_ahead(find_sources([folder], None, seed=0), 8):
        if isinstance(clouds, InputError):
            _one_line([str(clouds)])
        else:
            source.name.encode()
            read += 1
    whole = folder / "a.xyz"
    assert read or not whole.is_file() or whole.stat().st_size != len(TEXT) or whole.read_text("latin-1") != TEXT


def _name_attacks() -> dict[str, Files]:
    bad: dict[str, Files] = {
        "control characters": {"\x1b[31mred\n.xyz": b"x"},
        "no UTF-8": {"\udcff\udc80.xyz": b"x"},
        "a pipe": {"p.xyz": "pipe"},
        "a device": {"p.xyz": "link /dev/zero"},
        "a sparse file": {"p.xyz": "sparse"},
        "a link to itself": {"p": "link .", "q.xyz": "link q.xyz"},
        "1,000 folders deep": {"d/" * 1000 + "p.xyz": TEXT.encode()},
    }
    return {name: {**_names(), **files} for name, files in bad.items()}


SETS = (
    Target("modelnet40", lambda: [made.modelnet()], _read_classification, _hdf5_attacks),
    Target("scanobjectnn", lambda: [made.scanobjectnn()], _read_classification),
    Target("shapenetpart", lambda: [made.parts()], _read_parts, _parts_attacks),
    Target("renders", lambda: [made.renders()], _read_renders, _render_attacks),
    Target("pack", lambda: [_pack()], _read_pack, _pack_attacks, seal=_seal_pack),
    Target("cifar-fs", lambda: [_cifar()], _read_cifar),
    Target("folder", lambda: [_names()], _read_names, _name_attacks),
)
READERS = (*FILES, *SETS)
