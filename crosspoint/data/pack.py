"""ShapeNetRender packed into shards that are read many times faster than loose files.

A packed folder holds `index.json` (the shards in order, each with its size and SHA-256) and shards in the safetensors
format, each of which is whole by itself: `points` (P, 3) float32 and `images` (I, H, W, 4) uint8 of its objects one
after another, `point_starts` and `image_starts` (n + 1) int64, and the objects' keys in the header.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crosspoint.console import track
from crosspoint.core.files import atomic_file, atomic_folder, sha256, write_json
from crosspoint.core.outputs import check_folder, check_replaceable
from crosspoint.errors import InputError

if TYPE_CHECKING:
    from crosspoint.data.datasets import PairedRenders

INDEX_FILE = "index.json"
SCHEMA = "crosspoint.pack/1"
MEGABYTE = 10**6
METADATA = "crosspoint"  # the header's entry; one entry, since the order of several is not fixed

Points = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]


class Entry(NamedTuple):
    """One object: its key `category/name`, its points (N, 3) and its images (V, H, W, 4)."""

    key: str
    points: Points
    images: Image


class Shard(NamedTuple):
    """An open shard: slices that read on demand, and where each object starts in them."""

    points: Any
    images: Any
    point_starts: npt.NDArray[np.int64]  # (n + 1,)
    image_starts: npt.NDArray[np.int64]  # (n + 1,)


def pack(
    root: Path, out: Path, size: int | None = None, views: int | None = None, shard_mb: int = 256
) -> dict[str, Any]:
    """Pack a folder in ShapeNetRender's layout; read it with `PackedRenders`.

    Without `size` and `views` nothing is lost: the same points and the same pixels come back.

    Args:
        root: Folder with `ShapeNet` and `ShapeNetRendering`.
        out: Folder to write; it appears when it is complete.
        size: Width and height to resize the images to; as they are if None.
        views: Images kept of each object, the first ones; all if None.
        shard_mb: Size at which a shard is closed, in 10⁶ bytes.

    Returns:
        `out`, `objects`, `images`, `shards`, `bytes` and `seconds`.

    Raises:
        InputError: `root` is not in that layout, a file of it cannot be read, its images differ in size and `size` is
            None, an option makes no sense, or `out` exists or cannot be written.
    """
    from crosspoint.data.datasets import PairedRenders

    for name, value in (("size", size), ("views", views), ("shard-mb", shard_mb)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    out = Path(out)
    check_folder(out, inputs=[root])
    check_replaceable(out)
    start = time.monotonic()
    entries = _entries(PairedRenders(root), size, views)
    with atomic_folder(out) as folder:
        groups = enumerate(_groups(entries, shard_mb * MEGABYTE))
        shards = [_write(folder, number, group) for number, group in groups]
        write_json(folder / INDEX_FILE, {"schema": SCHEMA, "shards": shards})
    return {
        "out": str(out),
        "objects": sum(shard["objects"] for shard in shards),
        "images": sum(shard["images"] for shard in shards),
        "shards": len(shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "seconds": round(time.monotonic() - start, 3),
    }


def is_pack(root: Path) -> bool:
    """Whether a folder is a packed one, by the schema named in its index."""
    try:
        index = json.loads((Path(root) / INDEX_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and index.get("schema") == SCHEMA


class PackedRenders:
    """Objects of a packed folder, with the interface of `PairedRenders`; shards are opened when first needed.

    Files are only read, through memory maps, so that the workers of a loader share one copy in memory; an object may
    be handed to other processes, which open the shards for themselves.

    Args:
        root: Folder that `pack` wrote.

    Raises:
        InputError: `root` is not a packed folder, or a shard is missing or has another length than it should.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not is_pack(self.root):
            raise InputError(f"{root} is not a packed folder; make one with `crosspoint data pack`")
        self._index = json.loads((self.root / INDEX_FILE).read_text(encoding="utf-8"))
        self._files = [self.root / shard["file"] for shard in self._index["shards"]]
        self.keys: list[str] = []
        for file, shard in zip(self._files, self._index["shards"], strict=True):
            if not file.is_file() or file.stat().st_size != shard["bytes"]:
                raise InputError(f"{file} is missing or not {shard['bytes']} bytes long; copy it or pack again")
            self.keys += json.loads(_open(file).metadata()[METADATA])["keys"]
        self._ends = np.cumsum([shard["objects"] for shard in self._index["shards"]])
        self._shards: dict[int, Shard] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}

    def points(self, i: int) -> Points:
        """The point cloud of object `i`, as it was sampled: (N, 3)."""
        shard, row = self._find(i)
        points: Points = shard.points[shard.point_starts[row] : shard.point_starts[row + 1]]
        return points

    def views(self, i: int) -> int:
        """How many images object `i` has."""
        shard, row = self._find(i)
        return int(shard.image_starts[row + 1] - shard.image_starts[row])

    def image(self, i: int, view: int) -> Image:
        """One image of object `i`: (H, W, 4) RGBA.

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
        """Compare each shard with its SHA-256 in the index; one line per shard that is damaged."""
        shards = zip(self._files, self._index["shards"], strict=True)
        return [
            f"{file} does not have the SHA-256 {shard['sha256'][:12]}… of the index; copy it or pack again"
            for file, shard in track(shards, "Verifying", len(self._files))
            if sha256(file) != shard["sha256"]
        ]

    def _find(self, i: int) -> tuple[Shard, int]:
        """The shard that holds object `i`, and the object's row in it."""
        if not 0 <= i < len(self.keys):
            raise IndexError(f"object {i} of {len(self.keys)}")
        number = int(np.searchsorted(self._ends, i, side="right"))
        if number not in self._shards:
            file = _open(self._files[number])
            starts = [file.get_tensor(name) for name in ("point_starts", "image_starts")]
            self._shards[number] = Shard(file.get_slice("points"), file.get_slice("images"), *starts)
        return self._shards[number], i - int(self._ends[number - 1] if number else 0)


def _open(file: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is damaged ({error}); copy it or pack again") from error


def _entries(renders: "PairedRenders", size: int | None, views: int | None) -> Iterator[Entry]:
    shape: tuple[int, ...] | None = None
    for i in track(range(len(renders)), "Packing"):
        count = renders.views(i) if views is None else views
        if not 0 < count <= renders.views(i):
            raise InputError(
                f"{renders.keys[i]} has {renders.views(i)} images, fewer than {count or 1}; "
                "remove its folders, or give fewer --views"
            )
        images = [_resized(renders.image(i, view), size) for view in range(count)]
        for image in images:
            shape = shape or image.shape
            if image.shape != shape:
                raise InputError(f"images of {renders.keys[i]} differ in size from others; give a --size for all")
        yield Entry(renders.keys[i], renders.points(i), np.stack(images))


def _resized(image: Image, size: int | None) -> Image:
    if size is None or image.shape[:2] == (size, size):
        return image
    from PIL import Image as Pillow

    resized: Image = np.asarray(Pillow.fromarray(image).resize((size, size), Pillow.Resampling.BICUBIC))
    return resized


def _groups(entries: Iterator[Entry], limit: int) -> Iterator[list[Entry]]:
    """Entries in lists of at least `limit` bytes, the last one smaller."""
    group: list[Entry] = []
    total = 0
    for entry in entries:
        group.append(entry)
        total += entry.points.nbytes + entry.images.nbytes
        if total >= limit:
            yield group
            group, total = [], 0
    if group:
        yield group


def _write(folder: Path, number: int, group: list[Entry]) -> dict[str, Any]:
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
    with atomic_file(file) as temporary:  # safetensors makes files that their writer alone can read
        save_file(tensors, temporary, metadata={METADATA: json.dumps(header)})
    return {
        "file": file.name,
        "objects": len(group),
        "images": len(tensors["images"]),
        "bytes": file.stat().st_size,
        "sha256": sha256(file),
    }
