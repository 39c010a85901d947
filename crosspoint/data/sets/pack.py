"""ShapeNetRender packed into shards that are read many times faster than loose files.

A packed folder holds `index.json` (the axis that points up in the clouds, null where it is not known, and the shards in
order, each with its size and SHA-256) and shards in the safetensors format, each of which is whole by itself: `points`
(P, 3) float32 and `images` (I, H, W, 4) uint8 of its objects one after another, `point_starts` and `image_starts`
(n + 1) int64, and the objects' keys in the header.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file, atomic_folder, sha256, write_json
from crosspoint.core.outputs import check_folder, check_replaceable
from crosspoint.core.reading import read_json, reading, regular
from crosspoint.core.results import Result, to_json
from crosspoint.data.frames import Up

if TYPE_CHECKING:
    from crosspoint.data.sets.renders import PairedRenders

INDEX_FILE = "index.json"
SCHEMA = "crosspoint.pack/1"
MEGABYTE = 10**6
REPACK = "copy it or pack again"
METADATA = "crosspoint"  # the one entry of the header: the order of several entries is not defined

Points = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]


class PackedObject(NamedTuple):
    """One object: its key `category/name`, its points (N, 3) and its images (V, H, W, 4)."""

    key: str
    points: Points
    images: Image


class Row(NamedTuple):
    """An entry of the index: one shard."""

    file: Path
    objects: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardEntry:
    """What the index has of a shard: its file's name, objects, images, bytes and SHA-256."""

    file: str
    objects: int
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PackResult(Result):
    """What `pack` wrote.

    Attributes:
        out: The folder.
        objects: In all shards.
        images: In all shards.
        shards: How many.
        bytes: Of all shards.
        seconds: What it took.
        up: The axis that points up in the clouds; None where it is not known.
    """

    schema: ClassVar[str] = SCHEMA

    out: str
    objects: int
    images: int
    shards: int
    bytes: int
    seconds: float
    up: Up | None = None


class Shard(NamedTuple):
    """An open shard: its arrays are read on demand; `*_starts` say where each object begins."""

    points: Any
    images: Any
    point_starts: npt.NDArray[np.int64]  # (n + 1,)
    image_starts: npt.NDArray[np.int64]  # (n + 1,)


def pack(
    root: Path, out: Path, *, size: int | None = None, views: int | None = None, shard_mb: int = 256
) -> PackResult:
    """Pack a folder in the layout of ShapeNetRender into shards; read them with `PackedRenders`.

    Without `size` and `views` nothing is lost: points and pixels stay the same.

    Args:
        root: Folder with `ShapeNet` and `ShapeNetRendering`.
        out: Output folder; it appears only when it is complete.
        size: Resize images to this width and height, in pixels; None: keep their size.
        views: Keep the first `views` images of each object; None: all.
        shard_mb: Size of a shard, in 10⁶ bytes.

    Returns:
        What was written.

    Raises:
        InputError: `root` has another layout, a file cannot be read, images differ in size and `size` is None, an
            option is invalid, or `out` exists or cannot be written.
    """
    from crosspoint.data.sets.renders import PairedRenders, up_of_set

    for name, value in (("size", size), ("views", views), ("shard-mb", shard_mb)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    out = Path(out)
    check_folder(out, inputs=[root])
    check_replaceable(out)
    start = time.monotonic()
    renders = PairedRenders(root)
    up = up_of_set("shapenetrender", renders.root)
    entries = _entries(renders, size, views)
    with atomic_folder(out) as folder:
        groups = enumerate(_groups(entries, shard_mb * MEGABYTE))
        shards = [_write(folder, number, group) for number, group in groups]
        write_json(folder / INDEX_FILE, {"schema": SCHEMA, "up": up, "shards": to_json(shards)})
    return PackResult(
        out=str(out),
        objects=sum(shard.objects for shard in shards),
        images=sum(shard.images for shard in shards),
        shards=len(shards),
        bytes=sum(shard.bytes for shard in shards),
        seconds=round(time.monotonic() - start, 3),
        up=up,
    )


def is_pack(root: Path) -> bool:
    """Whether a folder is a packed set. The schema in its index decides."""
    try:
        index = read_json(Path(root) / INDEX_FILE, "the index of a packed folder")
    except InputError:
        return False
    return isinstance(index, dict) and index.get("schema") == SCHEMA


class PackedRenders:
    """The objects of a packed folder, with the interface of `PairedRenders`. Shards are opened when first used.

    Files are memory-mapped, so that all workers of a data loader share one copy in memory. The object can be sent to
    other processes; they open the shards again.

    Args:
        root: Folder that `pack` wrote.

    Raises:
        InputError: `root` is not a packed folder, its index is damaged, or a shard is missing or damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not is_pack(self.root):
            raise InputError(f"{root} is not a packed folder; make one with `crosspoint data pack`")
        self._rows = _read_index(self.root)
        self.keys: list[str] = []
        for row in self._rows:
            if not row.file.is_file() or row.file.stat().st_size != row.bytes:
                raise InputError(f"{row.file} is missing or does not have {row.bytes} bytes; {REPACK}")
            self.keys += _read_keys(row)
        self._ends = np.cumsum([row.objects for row in self._rows])
        self._shards: dict[int, Shard] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_shards": {}}

    def files(self) -> Iterator[Path]:
        """All files that are read, in order."""
        return (row.file for row in self._rows)

    def points(self, i: int) -> Points:
        """The stored points of object `i`: (N, 3)."""
        shard, row = self._find(i)
        points: Points = shard.points[shard.point_starts[row] : shard.point_starts[row + 1]]
        return points

    def views(self, i: int) -> int:
        """Number of images of object `i`."""
        shard, row = self._find(i)
        return int(shard.image_starts[row + 1] - shard.image_starts[row])

    def image(self, i: int, view: int) -> Image:
        """An image of object `i`: (H, W, 4) RGBA.

        Raises:
            IndexError: There is no such object or view.
        """
        shard, row = self._find(i)
        if not 0 <= view < shard.image_starts[row + 1] - shard.image_starts[row]:
            raise IndexError(f"view {view} of object {i}")
        at = shard.image_starts[row] + view
        image: Image = shard.images[at : at + 1][0]
        return image

    def verify(self) -> list[str]:
        """Compare each shard with its SHA-256 in the index; returns one line per damaged shard."""
        return [
            f"{row.file} does not have the SHA-256 {row.sha256[:12]}… of the index; {REPACK}"
            for row in track(self._rows, "Verifying")
            if sha256(row.file) != row.sha256
        ]

    def _find(self, i: int) -> tuple[Shard, int]:
        """The shard of object `i`, and the row of the object in it."""
        if not 0 <= i < len(self.keys):
            raise IndexError(f"object {i} of {len(self.keys)}")
        number = int(np.searchsorted(self._ends, i, side="right"))
        if number not in self._shards:
            self._shards[number] = _open_shard(self._rows[number])
        return self._shards[number], i - int(self._ends[number - 1] if number else 0)


def _read_index(root: Path) -> list[Row]:
    path, kind = root / INDEX_FILE, "the index of a packed folder"
    index = read_json(path, kind, advice=REPACK)
    with reading(path, kind, advice=REPACK):
        shards = index["shards"]
        rows = [Row(root / s["file"], int(s["objects"]), int(s["bytes"]), str(s["sha256"])) for s in shards]
        if any(row.file.parent != root or row.objects < 1 for row in rows):
            raise InputError(f"names shards outside the folder, or without objects; {REPACK}")
        return rows


def _open(file: Path) -> Any:
    from safetensors import safe_open

    regular(file)
    return safe_open(file, framework="numpy")


def _read_keys(row: Row) -> list[str]:
    """The keys of the objects in a shard, from its header."""
    with reading(row.file, "a shard of a packed folder", advice=REPACK):
        keys = json.loads(_open(row.file).metadata()[METADATA])["keys"]
        if len(keys) != row.objects or not all(isinstance(key, str) for key in keys):
            raise InputError(f"does not hold the {row.objects} objects listed in the index; {REPACK}")
        return list(keys)


def _open_shard(row: Row) -> Shard:
    """Open a shard and check the shapes and types of its arrays."""
    with reading(row.file, "a shard of a packed folder", advice=REPACK):
        file = _open(row.file)
        points, images = file.get_slice("points"), file.get_slice("images")
        starts = [file.get_tensor(name) for name in ("point_starts", "image_starts")]
        sizes, axes = [values.get_shape() for values in (points, images)], ((3,), (4,))
        fits = [
            size[-1:] == [last] and kept.shape == (row.objects + 1,) and kept[0] == 0 and kept[-1] == size[0]
            for size, (last,), kept in zip(sizes, axes, starts, strict=True)
        ]
        if not all(fits) or any((np.diff(kept) < 1).any() for kept in starts) or [len(s) for s in sizes] != [2, 4]:
            raise InputError(f"has arrays whose sizes contradict each other; {REPACK}")
        if [points.get_dtype(), images.get_dtype()] != ["F32", "U8"]:
            raise InputError(f"holds other types than float32 points and uint8 images; {REPACK}")
        return Shard(points, images, *starts)


def _entries(renders: "PairedRenders", size: int | None, views: int | None) -> Iterator[PackedObject]:
    shape: tuple[int, ...] | None = None
    for i in track(range(len(renders)), "Packing"):
        count = renders.views(i) if views is None else views
        if not 0 < count <= renders.views(i):
            raise InputError(
                f"{renders.keys[i]} has {renders.views(i)} images, fewer than the {count or 1} asked for; "
                "give fewer --views, or remove the object's folders"
            )
        images = [_resized(renders.image(i, view), size) for view in range(count)]
        for image in images:
            shape = shape or image.shape
            if image.shape != shape:
                raise InputError(f"{renders.keys[i]} has images of another size than the objects before; give --size")
        yield PackedObject(renders.keys[i], renders.points(i), np.stack(images))


def _resized(image: Image, size: int | None) -> Image:
    if size is None or image.shape[:2] == (size, size):
        return image
    from PIL import Image as Pillow

    resized: Image = np.asarray(Pillow.fromarray(image).resize((size, size), Pillow.Resampling.BICUBIC))
    return resized


def _groups(entries: Iterator[PackedObject], limit: int) -> Iterator[list[PackedObject]]:
    """Split entries into lists of at least `limit` bytes; the last may be smaller."""
    group: list[PackedObject] = []
    total = 0
    for entry in entries:
        group.append(entry)
        total += entry.points.nbytes + entry.images.nbytes
        if total >= limit:
            yield group
            group, total = [], 0
    if group:
        yield group


def _write(folder: Path, number: int, group: list[PackedObject]) -> ShardEntry:
    """Write one shard and return its row of the index."""
    from safetensors.numpy import save_file

    file = folder / f"shard-{number:05d}.safetensors"
    tensors = {
        "points": np.concatenate([entry.points for entry in group]).astype(np.float32),
        "images": np.concatenate([entry.images for entry in group]),
        "point_starts": np.cumsum([0, *(len(entry.points) for entry in group)]),
        "image_starts": np.cumsum([0, *(len(entry.images) for entry in group)]),
    }
    header = {"schema": SCHEMA, "keys": [entry.key for entry in group]}
    with atomic_file(file) as temporary:  # its permissions: safetensors makes files that only the writer can read
        save_file(tensors, temporary, metadata={METADATA: json.dumps(header)})
    return ShardEntry(file.name, len(group), len(tensors["images"]), file.stat().st_size, sha256(file))
