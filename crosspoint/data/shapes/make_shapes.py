"""Generates parametric shapes in the published formats: pairs for pretraining, a classification set and a part set."""

import hashlib
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.files import atomic_folder, write_json, writing
from crosspoint.core.outputs import check_file, check_known, check_replaceable, is_schema
from crosspoint.core.plots import require_plots
from crosspoint.core.reading import read_json, reading
from crosspoint.core.results import FLAT, Result, from_json
from crosspoint.core.system.pool import spread
from crosspoint.data.io.meshes import sample_surface
from crosspoint.data.points import normalise
from crosspoint.data.rendering.render import render_views
from crosspoint.data.rendering.tasks import COMPRESSION, picture_name
from crosspoint.data.sets.taxonomy import TaxonomyFile
from crosspoint.data.shapes import CATEGORIES, FIRST, Category, Shape
from crosspoint.data.shapes.contact_sheet import contact_sheet
from crosspoint.data.shapes.variation import CLUTTERED, LYING, varied

CLASSIFICATION = "modelnet40_ply_hdf5_2048"
PARTS = "shapenet_part_seg_hdf5_data"
SETTINGS_FILE = "shapes.json"
SCHEMA = "crosspoint.make-shapes/1"
SPLITS = ("train", "test", "val")
EDITIONS = (1, 2)
TURN = 180.0  # degrees: objects stand upright and are turned by any angle about the vertical axis
PAIR_FILE = re.compile(
    r"ShapeNet/\w+/(?P<number>\d{5,})\.ply|ShapeNetRendering/\w+/(?P<object>\d{5,})/rendering/(?P<view>\d{2,})\.png"
)
SPLIT_FILES = {
    SETTINGS_FILE,
    *(f"{CLASSIFICATION}/{name}" for name in ("ply_data_train0.h5", "ply_data_test0.h5", "shape_names.txt")),
    *(f"{PARTS}/{name}" for name in (*(f"ply_data_{split}0.h5" for split in SPLITS), "taxonomy.json")),
}
SHOWN = 6  # objects of each category on the contact sheet


class Item(NamedTuple):
    """An object to generate: category, split, number and edition."""

    category: str
    split: str
    number: int
    edition: int = 1


@dataclass(frozen=True)
class Cloud:
    """Points of one object, and for each point its part number within the category."""

    points: NDArray[np.float32]  # (N, 3)
    parts: NDArray[np.uint8]  # (N,)


@dataclass(frozen=True)
class ShapesSettings:
    """What decides the bytes of a folder of made shapes.

    Attributes:
        per_class: Training objects of each category.
        seed: Random seed.
        views: Pictures of each training object.
        size: Width and height of the pictures, in pixels.
        points: Points of each object.
        edition: 1: the categories in `FIRST`, which the released encoders were trained on. 2: all in `CATEGORIES`, with
            more variation (`crosspoint.data.shapes.variation`).
    """

    per_class: int = 50
    seed: int = 0
    views: int = 4
    size: int = 64
    points: int = 2048
    edition: int = 1


@dataclass(frozen=True)
class ShapesResult(Result):
    """What `make_shapes` made.

    Attributes:
        settings: As asked for.
        out: The folder.
        categories: Their names.
        parts: Kinds of part, over all categories.
        train: Training objects, over all categories.
        test: Likewise.
        val: Likewise.
        seconds: What it took.
    """

    schema: ClassVar[str] = SCHEMA

    settings: ShapesSettings = field(metadata=FLAT)
    out: str
    categories: tuple[str, ...]
    parts: int
    train: int
    test: int
    val: int
    seconds: float


def make_shapes(
    out: Path, settings: ShapesSettings = ShapesSettings(), *, sheet: Path | None = None, jobs: int | None = None
) -> ShapesResult:
    """Generate objects of every category of an edition and write them to `out`, in the published layouts.

    `out` receives

    - `ShapeNet/<category>/<id>.ply` and `ShapeNetRendering/<category>/<id>/rendering/00.png` …: the pairs;
    - `modelnet40_ply_hdf5_2048/ply_data_{train0,test0}.h5` and `shape_names.txt`: classification;
    - `shapenet_part_seg_hdf5_data/ply_data_{train0,val0,test0}.h5` and `taxonomy.json`: parts.

    All training splits, also the pairs, hold the same `per_class` objects of each category, with the same points. The
    test and validation splits hold max(4, per_class / 4) other objects each. Clouds in the HDF5 files are normalised to
    the unit sphere, and categories alternate, so that the first n clouds are balanced.

    An object depends only on the seed, its category, its split and its number: a larger `per_class` adds objects and
    changes none. The same arguments give the same bytes in every file.

    Args:
        out: A new or empty folder, or an earlier result, which is replaced at the end.
        settings: What to make.
        sheet: A PNG that shows some training objects of every category; None: not drawn.
        jobs: Number of processes; None: one per core. A script that uses more than one needs
            `if __name__ == "__main__":`.

    Returns:
        What was made.

    Raises:
        InputError: An option is invalid, or `out` holds other files or cannot be written.
        MissingDependency: `embreex` is not installed, or for a sheet `matplotlib`.
        CheckFailed: A process was killed.
    """
    _check(settings, jobs)
    per_class, seed, edition = settings.per_class, settings.seed, settings.edition
    require("embreex", "render", purpose="rendering")
    require("scipy.interpolate", "render", purpose="making shapes")
    out = Path(out)
    check_replaceable(out, _check_ours)
    if sheet is not None:
        check_file(sheet, "--sheet", kind=".png", inputs=[out])
        require_plots()
    start = time.monotonic()
    held_out = max(4, math.ceil(per_class / 4))
    counts = dict(zip(SPLITS, (per_class, held_out, held_out), strict=True))
    categories = categories_of(edition)
    items = [Item(c, split, k, edition) for split, count in counts.items() for k in range(count) for c in categories]
    with atomic_folder(out, _check_ours) as temporary:
        work = partial(_make, out=temporary, settings=settings)
        clouds = dict(zip(items, track(spread(work, items, jobs=jobs), "Making shapes", total=len(items)), strict=True))
        _write_classification(temporary / CLASSIFICATION, clouds, categories)
        _write_parts(temporary / PARTS, clouds, categories)
        write_json(temporary / SETTINGS_FILE, {"schema": SCHEMA, **vars(settings)})
    if sheet is not None:
        shown = range(min(SHOWN, per_class))
        contact_sheet({c: [draw(Item(c, "train", k, edition), seed) for k in shown] for c in categories}, sheet)
    return ShapesResult(
        settings=settings,
        out=str(out),
        categories=tuple(categories),
        parts=sum(len(category.part_names) for category in categories.values()),
        **{split: count * len(categories) for split, count in counts.items()},
        seconds=round(time.monotonic() - start, 3),
    )


def categories_of(edition: int) -> dict[str, Category]:
    """The categories of an edition, by name."""
    if edition == 1:
        return {name: category for name, category in CATEGORIES.items() if name in FIRST}
    return {
        name: varied(category, clutter=name in CLUTTERED, lying=name in LYING) for name, category in CATEGORIES.items()
    }


def draw(item: Item, seed: int) -> Shape:
    """Generate the object of an item, turned by up to `TURN` degrees about the vertical axis."""
    rng = _generators(item, seed)[0]
    return categories_of(item.edition)[item.category](rng).turned(rng.uniform(-TURN, TURN))


def _generators(item: Item, seed: int) -> list[np.random.Generator]:
    """Independent random generators of an object's shape, points and viewpoints."""
    digest = hashlib.sha256(f"{item.category}/{item.split}".encode()).digest()
    words = np.frombuffer(digest, "<u4").tolist()
    return [np.random.default_rng(child) for child in np.random.SeedSequence([seed, item.number, *words]).spawn(3)]


def _check(settings: ShapesSettings, jobs: int | None) -> None:
    least = {"per_class": 1, "seed": 0, "views": 1, "size": 8, "points": 1, "edition": 1, "jobs": 1}
    for name, value in {**vars(settings), "jobs": 1 if jobs is None else jobs}.items():
        if value < least[name]:
            raise InputError(f"{name.replace('_', '-')} is {value}; it must be at least {least[name]}")
    if settings.edition not in EDITIONS:
        raise InputError(f"edition is {settings.edition}; give 1 or 2")


def _check_ours(out: Path) -> None:
    """Raise InputError if a folder holds anything but an earlier result."""
    path = out / SETTINGS_FILE
    made = read_json(path, "the settings of made shapes") if path.is_file() else None
    if not is_schema(made, "make-shapes"):
        raise InputError(f"{out} holds files that this command did not make; choose a new folder")
    with reading(path, "the settings of made shapes"):
        per_class, views = from_json(int, made["per_class"]), from_json(int, made["views"])

    def known(name: str) -> bool:
        of_pair = PAIR_FILE.fullmatch(name)
        if of_pair is None:
            return name in SPLIT_FILES
        number, view = int(of_pair["number"] or of_pair["object"]), int(of_pair["view"] or 0)
        return number < per_class and view < views

    check_known(out, known)


def _name(number: int) -> str:
    """File name of the object of that number."""
    return f"{number:05d}"


def _make(item: Item, out: Path, settings: ShapesSettings) -> Cloud:
    """Generate one object; also write a training object as a pair of cloud and pictures."""
    shape, (_, point_rng, view_rng) = draw(item, settings.seed), _generators(item, settings.seed)
    sampled, face = sample_surface(shape.vertices, shape.faces, count=settings.points, rng=point_rng)
    cloud = sampled.astype(np.float32)
    if item.split == "train":
        pictures = render_views(shape.vertices, shape.faces, views=settings.views, size=settings.size, rng=view_rng)
        _write_pair(out, f"{item.category}/{_name(item.number)}", cloud, pictures)
    return Cloud(cloud, shape.face_parts[face].astype(np.uint8))


def _write_pair(out: Path, key: str, cloud: NDArray[np.float32], pictures: NDArray[np.uint8]) -> None:
    """Write a cloud and its pictures into the temporary folder; files are not synced one by one."""
    from PIL import Image
    from plyfile import PlyData, PlyElement

    file, folder = out / "ShapeNet" / f"{key}.ply", out / "ShapeNetRendering" / key / "rendering"
    rows = np.ascontiguousarray(cloud, "<f4").view([(axis, "<f4") for axis in "xyz"]).reshape(-1)  # (N,)
    with writing(out):
        file.parent.mkdir(parents=True, exist_ok=True)
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(file))
        folder.mkdir(parents=True)
        for view, rgba in enumerate(pictures):
            Image.fromarray(rgba).save(folder / picture_name(view), compress_level=COMPRESSION)


def _write_classification(folder: Path, clouds: dict[Item, Cloud], categories: Mapping[str, Category]) -> None:
    with writing(folder):
        folder.mkdir()
        for split in ("train", "test"):
            _write_h5(folder / f"ply_data_{split}0.h5", _of(clouds, split), list(categories))
        (folder / "shape_names.txt").write_text("".join(f"{name}\n" for name in categories), encoding="utf-8")


def _write_parts(folder: Path, clouds: dict[Item, Cloud], categories: Mapping[str, Category]) -> None:
    taxonomy = part_taxonomy(categories)
    number = np.min_scalar_type(len(taxonomy["parts"]) - 1).type
    first = {name: min(parts) for name, parts in taxonomy["category_parts"].items()}
    with writing(folder):
        folder.mkdir()
        for split in SPLITS:
            members = _of(clouds, split)
            pid = np.stack([cloud.parts.astype(number) + number(first[item.category]) for item, cloud in members])
            _write_h5(folder / f"ply_data_{split}0.h5", members, list(categories), pid=pid)  # (n, N)
    write_json(folder / "taxonomy.json", taxonomy)


def part_taxonomy(categories: Mapping[str, Category]) -> TaxonomyFile:
    """The content of `taxonomy.json`: these categories and their parts."""
    numbers = _numbers(len(category.part_names) for category in categories.values())
    return {
        "categories": list(categories),
        "parts": [f"{name}/{part}" for name, category in categories.items() for part in category.part_names],
        "category_parts": dict(zip(categories, numbers, strict=True)),
    }


def _numbers(counts: Iterator[int]) -> Iterator[list[int]]:
    start = 0
    for count in counts:
        yield list(range(start, start + count))
        start += count


def _of(clouds: dict[Item, Cloud], split: str) -> list[tuple[Item, Cloud]]:
    return [(item, cloud) for item, cloud in clouds.items() if item.split == split]


def _write_h5(
    file: Path,
    members: Sequence[tuple[Item, Cloud]],
    categories: Sequence[str],
    *,
    pid: NDArray[np.unsignedinteger] | None = None,
) -> None:
    """Write `data` (n, N, 3), `label` (n, 1) and, if given, `pid` (n, N), without timestamps, so that bytes repeat."""
    h5py = require("h5py", "render", purpose="writing HDF5 files")
    labels = {name: label for label, name in enumerate(categories)}
    arrays: dict[str, NDArray[Any]] = {
        "data": normalise(np.stack([cloud.points for _, cloud in members])),
        "label": np.array([[labels[item.category]] for item, _ in members], np.uint8),
    }
    if pid is not None:
        arrays["pid"] = pid
    with h5py.File(file, "w") as h5:
        for name, array in arrays.items():
            h5.create_dataset(name, data=array, track_times=False)
