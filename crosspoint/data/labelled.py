"""Labels of objects: from folders of classes, a CSV file or a data set.

Files are read as by `crosspoint embed`, with the same names.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.printable import printable
from crosspoint.core.reading import read_lines, reading
from crosspoint.data.frames import ASSUMED, Up, to_y_up
from crosspoint.data.points import Points
from crosspoint.data.reading import Reading
from crosspoint.data.sets.datasets import load_classification, load_parts
from crosspoint.data.sets.layout import find_sets
from crosspoint.data.sources import Source, draw_points, find_sources

COLUMNS = ("name", "label")
SUFFIXES = (".npz", ".parquet")  # of embeddings
FEWEST = 2  # objects of a class: one to fit to and one to measure on
Labelling = Callable[[str], str | None]


@dataclass(frozen=True)
class LabelledData:
    """A folder of labelled objects.

    Attributes:
        path: The folder.
        label: Gives the class of an object by its name; None for an object without a label.
        split: `"train"` or `"test"` of a data set; None for a folder of files.
    """

    path: Path
    label: Labelling
    split: str | None = None

    def sources(
        self,
        count: int | None,
        *,
        seed: int,
        at_most: bool,
        draws: int = 1,
        reading: Reading = Reading(),
        up: Up | None = None,
        labelled: bool = True,
    ) -> list[Source]:
        """The objects with a label, or those without; other arguments as `find_sources`.

        Points are drawn from the clouds of a data set too.

        Raises:
            InputError: As `find_sources`, or the frames of the objects are mixed: some are stated and others are not.
        """
        find = partial(find_sources, [self.path], seed=seed, reading=reading, up=up)
        if self.split is None:
            found = find(count, at_most=at_most, draws=draws)
        else:
            found = [
                _drawn(source, count, seed, at_most, draws)
                for source in find(None)
                if source.name.startswith(self.split)
            ]
        found = [source for source in found if (self.label(source.name) is not None) == labelled]
        check_frames(found)
        return found

    def label_of_cloud(self, name: str) -> str:
        """The class of a cloud; a name that ends in `#0`, `#1`, … is one of several clouds of a file."""
        return self.label(name) or self.label(name.rpartition("#")[0]) or ""


def find_labelled(data: Path, labels: Path | None = None, *, split: str = "train") -> LabelledData:
    """Find the labelled objects in a folder.

    Args:
        data: A folder whose sub-folders are classes, a folder for which `labels` has the classes, or a data set.
        labels: CSV file with the columns `name` and `label`; names are relative to the folder.
        split: Of a data set.

    Raises:
        InputError: There is no such folder, or the labels cannot be read.
    """
    data = Path(data)
    if not data.is_dir():
        raise InputError(f"{data} is not a folder; give a folder whose sub-folders are classes, or a data set")
    if labels is not None:
        return LabelledData(data, read_labels(labels).get)
    sets = [kind for kind, _ in find_sets(data) if kind in ("modelnet40", "scanobjectnn", "shapenetpart")]
    if not sets:
        return LabelledData(data, partial(label_of_folder, data))
    return LabelledData(data, _labels_of_set(data, sets[0], split).get, f"{split}/")


def find_unlabelled(path: Path) -> LabelledData:
    """A folder or file of objects without labels."""
    return LabelledData(Path(path), lambda _: None)


def label_of_folder(data: Path, name: str) -> str:
    """The first sub-folder in the name of an object.

    Raises:
        InputError: The object lies in the folder itself.
    """
    label, slash, _ = name.partition("/")
    if not slash:
        raise InputError(
            f"{data / name} has no class; move it into a sub-folder named after its class, or give --labels"
        )
    return label


def read_labels(path: Path) -> dict[str, str]:
    """Read classes by name from a CSV file with the columns `name` and `label`; other columns are ignored.

    Raises:
        InputError: It cannot be read, lacks a column or a label, or gives one name two labels.
    """
    kind, found = "a CSV file with the columns name and label", dict[str, str]()
    lines = read_lines(path, kind)
    with reading(path, kind):
        rows = csv.DictReader(lines)
        columns = [column.strip() for column in rows.fieldnames or ()]
        if not set(COLUMNS) <= set(columns):
            raise InputError(f"has the columns {', '.join(columns)[:80]}; it needs name and label in its first line")
        rows.fieldnames = columns
        for number, row in enumerate(rows, 2):
            name, label = ((row[column] or "").strip() for column in COLUMNS)
            if not name or not label:
                raise InputError(f"line {number} lacks a {'label' if name else 'name'}; complete or remove it")
            if found.setdefault(name, label) != label:
                raise InputError(f"says that {printable(name)} is {found[name]} and {label}; remove one of the lines")
    if not found:
        raise InputError(f"{path}: has no labels below its first line; add lines name,label")
    return found


def _labels_of_set(data: Path, kind: str, split: str) -> dict[str, str]:
    """Classes by name; the names are those that `find_sources` gives to the clouds of a set."""
    if kind == "shapenetpart":
        parts = load_parts(data, None)
        names, clouds = parts.taxonomy.categories, parts.train if split == "train" else parts.test
        return {f"{split}/{i:06d}": names[label] for i, label in enumerate(clouds.labels)}
    whole = load_classification(data, None)
    part = whole.train if split == "train" else whole.test
    if part is None:
        raise InputError(f"{data} has no test split; give a folder whose sub-folders are classes")
    return {f"{split}/{i:06d}": whole.class_names[label] for i, label in enumerate(part.labels)}


def _drawn(source: Source, count: int | None, seed: int, at_most: bool, draws: int) -> Source:
    """A stored cloud from which `count` points are drawn."""
    return replace(source, read=partial(_draw, source, count, seed, at_most, draws), draws=draws)


def _draw(source: Source, count: int | None, seed: int, at_most: bool, draws: int) -> Points:
    """Draw from the cloud as it is stored, so that the points do not depend on `up`, and turn it to y-up."""
    if isinstance(source.stored, Path):
        raise TypeError(f"{source.origin} is a file, not a cloud of a data set")
    drawn = draw_points(source.stored[0], count, seed=seed, at_most=at_most, draws=draws)
    return to_y_up(drawn, source.frame.up)


def check_frames(sources: Sequence[Source]) -> None:
    """Check that one class is not learned lying and another standing.

    Formats that state different axes go together, because all are turned to y-up.

    Raises:
        InputError: Some formats state another axis than y, and others state none.
    """
    turned = next((source for source in sources if source.frame.up != "y"), None)
    assumed = next((source for source in sources if source.frame == ASSUMED), None)
    if turned is not None and assumed is not None:
        raise InputError(
            f"{printable(turned.name)} is {turned.frame.up}-up, but {printable(assumed.name)} does not state which "
            f"axis points up; give --up {turned.frame.up} if it is the same in all, or convert one of them"
        )


def check_classes(labels: Mapping[str, str], *, where: Path, fewest: int = FEWEST, lost: str = "") -> tuple[str, ...]:
    """Check that labels make a classifier; return the classes in ascending order.

    Args:
        labels: Classes by name.
        where: Their folder or file, for messages.
        fewest: Objects that every class needs; 1 before the files are read, because a file may hold several objects.
        lost: Reason why objects are missing, for messages, e.g. `"bird/b.ply could not be read"`.

    Raises:
        InputError: There are no objects, there is one class only, or a class has too few objects.
    """
    if not labels:
        raise InputError(f"{where} has no labelled objects; give a folder whose sub-folders are classes, or --labels")
    classes = tuple(sorted(set(labels.values())))
    if len(classes) < 2:
        raise InputError(
            f"{where} has objects of one class only, {printable(classes[0])}{lost}; a classifier needs two or more: "
            "give the folder whose sub-folders are the classes"
        )
    counts = {name: sum(label == name for label in labels.values()) for name in classes}
    single = [name for name in classes if counts[name] < fewest]
    if single:
        raise InputError(
            f"class {printable(single[0])} has only one object{_others(single)}{lost}; cross-validation needs two or "
            "more: label another object, or remove the class"
        )
    return classes


def _others(names: Sequence[str]) -> str:
    more = len(names) - 1
    return f", as {more} other class{'es have' if more > 1 else ' has'}" if more else ""


def find_copies(labels: Mapping[str, str], contents: Mapping[str, str]) -> list[str]:
    """Names of objects that have the content of an earlier one.

    Args:
        labels: Classes by name.
        contents: SHA-256 by name; empty: unknown.

    Raises:
        InputError: The two have different classes.
    """
    first, copies = dict[str, str](), list[str]()
    for name, label in labels.items():
        if not (content := contents[name]):
            continue
        other = first.setdefault(content, name)
        if labels[other] != label:
            raise InputError(
                f"{printable(other)} ({printable(labels[other])}) and {printable(name)} ({printable(label)}) have "
                "the same content; remove one of them"
            )
        if other != name:
            copies.append(name)
    return copies
