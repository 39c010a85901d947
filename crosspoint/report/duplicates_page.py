"""A page of the duplicates in a library, each group side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crosspoint import __version__
from crosspoint.core.console import track
from crosspoint.core.files import atomic_file
from crosspoint.core.outputs import check_file
from crosspoint.core.printable import printable
from crosspoint.report.html import data_uri, render, render_page
from crosspoint.report.page import Section
from crosspoint.report.pictures import to_png
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.jobs.search import open_index, originals_of
from crosspoint.runtime.jobs.search_picture import draw_tile
from crosspoint.runtime.library.checks import Duplicate
from crosspoint.runtime.library.duplicates import DuplicateGroup, DuplicatesResult, is_embeddings

GROUPS, MEMBERS = 200, 12  # that are shown, and of each group, so that the page stays small enough to open
COLOURS = 64  # of a picture
BADGES = {"kept": "good", "copy": "bad", "same": "warn", "similar": "quiet"}


@dataclass(frozen=True)
class ShownObject:
    """An object of a group as the page shows it: with a picture, if its file was found."""

    name: str
    level: str
    badge: str
    distance: float | None
    surface: float | None
    picture: str | None


@dataclass(frozen=True)
class ShownGroup:
    """A group as the page shows it: its first objects, and the number of all."""

    objects: list[ShownObject]
    total: int


def write_page(result: DuplicatesResult, page: Path, *, files: Path | None = None) -> None:
    """Write one self-contained HTML file: the groups, largest first, pictures of the objects side by side.

    Args:
        result: Of `duplicates`.
        page: Where to.
        files: Folder of the objects, if it is not the one in the result.

    Raises:
        InputError: The page cannot be written.
    """
    check_file(page, "--page", inputs=map(Path, result.library), within=True, suffixes=(".html",))
    originals = _originals(result, files)
    shown = [_show(each, originals) for each in track(result.groups[:GROUPS], "Drawing groups")]
    content = render("duplicates", result=result, groups=shown, removable=_count(result))
    name = ", ".join(Path(each).name or each for each in result.library)
    about = [f"crosspoint {__version__}", f"{result.size:,} objects", f"level {result.level}"]
    values = {"name": f"Duplicates in {name}", "about": about, "sections": [Section("", content)], "missing": []}
    remarks = [f"{bad.file}: {bad.reason}" for bad in result.skipped]
    with atomic_file(page) as temporary:
        text = render_page(f"crosspoint: duplicates in {name}", **values, remarks=remarks)
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _originals(result: DuplicatesResult, files: Path | None) -> Originals:
    """What finds the objects: by their embeddings, or as they were read from folders."""
    given = [Path(each) for each in result.library]
    if is_embeddings(given[0]):
        return originals_of(open_index(given[0]), files)
    if files is None and len(given) == 1 and given[0].is_dir():
        files = given[0]
    up = None if result.frame is None else result.frame.given
    return Originals(Path(result.base) if files is None else files, files, up=up, columns=result.columns)


def _count(result: DuplicatesResult) -> int:
    return sum(len(each.duplicates) for each in result.groups)


def _show(group: DuplicateGroup, originals: Originals) -> ShownGroup:
    return ShownGroup(list(_objects(group, originals)), 1 + len(group.duplicates))


def _objects(group: DuplicateGroup, originals: Originals) -> Iterator[ShownObject]:
    yield _object(group.kept, None, originals)
    for each in group.duplicates[: MEMBERS - 1]:
        yield _object(each.name, each, originals)


def _object(name: str, found: Duplicate | None, originals: Originals) -> ShownObject:
    tile = draw_tile(name, originals.path(name), originals=originals, up=originals.up)
    picture = None if tile is None else data_uri(to_png(tile.convert("RGBA").quantize(COLOURS)))
    level = "kept" if found is None else found.level
    distance, surface = (None, None) if found is None else (found.distance, found.surface)
    return ShownObject(printable(name), level, BADGES[level], distance, surface, picture)
