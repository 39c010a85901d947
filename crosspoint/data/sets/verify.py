"""Checks that the files of data sets are complete and valid."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.printable import printable
from crosspoint.core.reading import reason_without
from crosspoint.core.results import Result
from crosspoint.core.system.processes import available_cpus
from crosspoint.data.io.hdf5 import open_h5, range_problem, shape_problems
from crosspoint.data.sets.layout import EXPECTED, TAXONOMY_FILE, find_sets, is_variant, split_files
from crosspoint.data.sets.pack import PackedRenders, is_pack
from crosspoint.data.sets.renders import PairedRenders, cloud_keys, read_image, rendering_keys
from crosspoint.data.sets.taxonomy import Taxonomy, read_class_names, read_taxonomy

PUBLISHED = {  # number of objects in each split
    "modelnet40": {"train": 9840, "test": 2468},
    "scanobjectnn": {"train": 2309, "test": 581},
    "shapenetpart": {"train": 12137, "val": 1870, "test": 2874},
    "shapenetrender": {"pairs": 43783},
}
BLOCK = 256  # clouds that are read at once


@dataclass(frozen=True)
class Finding:
    """A row of the table: a part of a data set, what was found, and how that compares with the published set."""

    set: str
    part: str
    found: str
    remark: str = ""


@dataclass
class VerifyReport(Result):
    """The result of `crosspoint data verify`.

    Attributes:
        format: The recognised formats, joined by ` + `.
        rows: The rows of the table.
        problems: One line per problem; empty if there is none.
    """

    schema: ClassVar[str] = "crosspoint.data-verify/1"

    format: str
    rows: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def verify(root: Path) -> VerifyReport:
    """Read every file of the data sets in a folder and list the problems.

    It checks names, keys, shapes, types, label ranges, the parts of each category, coordinates, pictures, and that each
    cloud has pictures. Counts are compared with the published ones for information only.

    Args:
        root: The folder of a set, or of several, or a folder of `crosspoint data pack`.

    Raises:
        InputError: No data set is recognised.
    """
    root = Path(root)
    if is_pack(root):
        return _verify_pack(root)
    sets = find_sets(root)
    if not sets:
        wanted = "; ".join(f"{kind}: {files}" for kind, files in EXPECTED.items())
        raise InputError(f"{root}: no data set found; expected {wanted}; see `crosspoint data list`")
    report = VerifyReport(" + ".join(kind for kind, _ in sets))
    for kind, folder in sets:
        if kind == "shapenetrender":
            _verify_renders(folder, report)
        else:
            _verify_h5(kind, folder, report)
    report.rows = [Finding(*map(printable, astuple(row))) for row in report.rows]
    report.problems = [*map(printable, report.problems)]
    return report


def _verify_pack(root: Path) -> VerifyReport:
    pack = PackedRenders(root)
    return VerifyReport("pack", [Finding(root.name, "pairs", f"{len(pack):,} objects")], pack.verify())


def _verify_h5(kind: str, folder: Path, report: VerifyReport) -> None:
    try:
        taxonomy = read_taxonomy(folder) if kind == "shapenetpart" else None
        classes = taxonomy.categories if taxonomy else read_class_names(kind, folder)
    except InputError as error:
        report.problems.append(str(error))
        return
    required = {"train", "test"} if taxonomy else {"train"}
    published = {} if os.path.lexists(folder / TAXONOMY_FILE) else PUBLISHED[kind]
    for split in ("train", "val", "test") if taxonomy else ("train", "test"):
        files = split_files(kind, folder, split=split)
        report.problems += _gaps(folder, split, files) if kind != "scanobjectnn" else []
        if not files:
            report.rows.append(
                Finding(folder.name, split, "absent", "" if split == "val" else "hold out a part of train")
            )
            if split in required:
                report.problems.append(f"{folder}: has no {split} files")
            continue
        tally = Tally()
        for path in files:
            report.problems += [f"{path}: {problem}" for problem in _verify_file(path, len(classes), taxonomy, tally)]
        if len(tally.stored) > 1:
            report.problems.append(f"{folder}: {split} files differ in points per cloud: {sorted(tally.stored)}")
        found = (
            f"{tally.clouds:,} clouds of {_span(tally.stored)} points, {len(tally.labels)} of {len(classes)} classes"
        )
        found += f", {len(tally.parts)} of {len(taxonomy.parts)} parts" if taxonomy else ""
        remark = (
            "without background: not the published set"
            if is_variant(folder)
            else _compared(tally.clouds, published.get(split))
        )
        report.rows.append(Finding(folder.name, split, found, remark))


@dataclass
class Tally:
    """Totals over the files of a split."""

    clouds: int = 0
    stored: set[int] = field(default_factory=set)
    labels: set[int] = field(default_factory=set)
    parts: set[int] = field(default_factory=set)


def _gaps(folder: Path, split: str, files: list[Path]) -> list[str]:
    """Missing files of a numbered series, and files whose names do not belong to it."""
    prefix = f"ply_data_{split}"
    problems, expected = [], 0
    for number in sorted(int(path.stem.removeprefix(prefix)) for path in files):
        if number > expected:
            span = f"{prefix}{expected}.h5" + (f" to {prefix}{number - 1}.h5" if number > expected + 1 else "")
            problems.append(f"{folder}: {span} {'is' if number == expected + 1 else 'are'} missing")
        expected = number + 1
    return problems


def _verify_file(path: Path, classes: int, taxonomy: Taxonomy | None, tally: Tally) -> list[str]:
    try:
        with open_h5(path) as file:
            problems = shape_problems(file, taxonomy is not None)
            if not problems:
                label = file["label"][:].reshape(-1)
                problems += filter(None, [range_problem("label", label, count=classes)])
                tally.clouds += len(label)
                tally.stored.add(file["data"].shape[1])
                tally.labels.update(label.tolist())
                problems += _content_problems(path, file, label, None if problems else taxonomy, tally)
            return problems
    except InputError as error:
        return [reason_without(path, error)]


def _content_problems(path: Path, file: Any, label: Any, taxonomy: Taxonomy | None, tally: Tally) -> Iterator[str]:
    """Problems in the coordinates and parts of clouds, by row."""
    bad, flat, foreign = [], [], []
    for start in track(range(0, len(label), BLOCK), path.name):
        rows = slice(start, start + BLOCK)
        data = file["data"][rows]  # (b, N, 3)
        finite = np.isfinite(data).all(axis=(1, 2))  # (b,)
        bad += (start + np.flatnonzero(~finite)).tolist()
        flat += (start + np.flatnonzero(finite & (data == data[:, :1]).all(axis=(1, 2)))).tolist()
        if taxonomy is not None:
            pid = file["pid"][rows]  # (b, N)
            tally.parts.update(np.unique(pid).tolist())
            own = _membership(taxonomy)[label[rows]]  # (b, parts)
            inside = (pid >= 0) & (pid < own.shape[1])
            fits = inside & np.take_along_axis(own, np.where(inside, pid, 0).astype(np.int64), axis=1)
            foreign += (start + np.flatnonzero(~fits.all(axis=1))).tolist()
    for clouds, trouble in (
        (bad, "coordinates that are NaN or infinite"),
        (flat, "all points equal"),
        (foreign, "parts of another category"),
    ):
        if clouds:
            yield f"{len(clouds)} clouds have {trouble}: {_some(clouds)}"


def _membership(taxonomy: Taxonomy) -> Any:
    """(categories, parts) bool: whether a part belongs to a category."""
    member = np.zeros((len(taxonomy.categories), len(taxonomy.parts)), bool)
    for category, parts in enumerate(taxonomy.category_parts):
        member[category, list(parts)] = True
    return member


def _verify_renders(folder: Path, report: VerifyReport) -> None:
    clouds, renderings = cloud_keys(folder), rendering_keys(folder)
    for key in sorted(clouds - renderings):
        report.problems.append(f"{folder / 'ShapeNet' / key}.ply: has no renderings")
    for key in sorted(renderings - clouds):
        report.problems.append(f"{folder / 'ShapeNetRendering' / key}: has renderings but no cloud")
    if not clouds & renderings:
        report.problems.append(f"{folder}: no object has both a cloud and renderings")
        return
    pairs = PairedRenders(folder)
    points: set[int] = set()
    views: set[int] = set()
    sizes: set[tuple[int, int]] = set()
    for i in track(range(len(pairs)), f"{folder.name} clouds"):
        try:
            points.add(len(pairs.points(i)))
            views.add(pairs.views(i))
            if not pairs.views(i):
                report.problems.append(f"{folder / 'ShapeNetRendering' / pairs.keys[i]}: has no pictures")
        except InputError as error:
            report.problems.append(str(error))
    pictures = [path for i in range(len(pairs)) for path in pairs.images(i)]
    with ThreadPoolExecutor(available_cpus()) as pool:
        for result in track(pool.map(_picture_size, pictures), f"{folder.name} pictures", total=len(pictures)):
            if isinstance(result, InputError):
                report.problems.append(str(result))
            else:
                sizes.add(result)
    categories = len({key.split("/")[0] for key in pairs.keys})
    found = f"{len(pairs):,} objects of {categories} categories, {_span(points)} points, {_span(views)} views"
    report.rows.append(
        Finding(folder.name, "pairs", found, _compared(len(pairs), PUBLISHED["shapenetrender"]["pairs"]))
    )
    shapes = ", ".join(f"{width}×{height}" for width, height in sorted(sizes)[:3]) + (" …" if len(sizes) > 3 else "")
    report.rows.append(Finding(folder.name, "pictures", f"{len(pictures):,} of {shapes or 'no size'}"))


def _picture_size(path: Path) -> tuple[int, int] | InputError:
    """Width and height of a picture, which is decoded completely."""
    try:
        height, width, _ = read_image(path).shape
    except InputError as error:
        return error
    return width, height


def _compared(found: int, published: int | None) -> str:
    if published is None:
        return ""
    return "as published" if found == published else f"not the published count, {published:,}"


def _span(numbers: set[int]) -> str:
    """The one number, or the smallest and the largest."""
    return "–".join(f"{number:,}" for number in sorted({min(numbers, default=0), max(numbers, default=0)}))


def _some(numbers: list[int]) -> str:
    """The first numbers, and how many more there are."""
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return ", ".join(map(str, numbers[:8])) + more
