"""Names of classes, and the categories and parts of part-segmentation sets."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from crosspoint.core.errors import InputError
from crosspoint.core.reading import read_json, read_lines, reading
from crosspoint.data.sets.layout import TAXONOMY_FILE

MODELNET40 = (
    "airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain desk door dresser flower_pot "
    "glass_box guitar keyboard lamp laptop mantel monitor night_stand person piano plant radio range_hood sink sofa "
    "stairs stool table tent toilet tv_stand vase wardrobe xbox"
)
SCANOBJECTNN = "bag bin box cabinet chair desk display door shelf table bed pillow sink sofa toilet"
CLASSES = {"modelnet40": tuple(MODELNET40.split()), "scanobjectnn": tuple(SCANOBJECTNN.split())}
NAMES_FILE = "shape_names.txt"
KIND = "a taxonomy with categories, parts and category_parts"
NAMES_ADVICE = "give one class name per line, in the order of the labels"
SHAPENETPART_COUNTS = {  # number of parts of each category; part numbers follow this order
    "Airplane": 4,
    "Bag": 2,
    "Cap": 2,
    "Car": 4,
    "Chair": 4,
    "Earphone": 3,
    "Guitar": 3,
    "Knife": 2,
    "Lamp": 4,
    "Laptop": 2,
    "Motorbike": 6,
    "Mug": 2,
    "Pistol": 3,
    "Rocket": 3,
    "Skateboard": 3,
    "Table": 3,
}


class TaxonomyFile(TypedDict):
    """The content of `taxonomy.json`: names of categories and parts, and the part numbers of each category."""

    categories: Sequence[str]
    parts: Sequence[str]
    category_parts: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Taxonomy:
    """The categories and parts of a part-segmentation set.

    Attributes:
        categories: Category names, by label.
        parts: Part names, by part number; numbers count over all categories.
        category_parts: The part numbers of each category, by label. A part belongs to one category.
    """

    categories: tuple[str, ...]
    parts: tuple[str, ...]
    category_parts: tuple[tuple[int, ...], ...]


def _shapenetpart() -> Taxonomy:
    """ShapeNetPart's 16 categories and 50 parts. The published files number the parts and do not name them."""
    parts: list[str] = []
    numbers = []
    for category, count in SHAPENETPART_COUNTS.items():
        numbers.append(tuple(range(len(parts), len(parts) + count)))
        parts += [f"{category}/{part}" for part in range(count)]
    return Taxonomy(tuple(SHAPENETPART_COUNTS), tuple(parts), tuple(numbers))


SHAPENETPART = _shapenetpart()


def read_taxonomy(folder: Path) -> Taxonomy:
    """Read `taxonomy.json` beside the files of a set; without that file, return ShapeNetPart's taxonomy.

    The file has the entries `categories` (names), `parts` (names) and `category_parts` (category name: part numbers).

    Raises:
        InputError: The file cannot be read or contradicts itself.
    """
    path = folder / TAXONOMY_FILE
    if not os.path.lexists(path):
        return SHAPENETPART
    return parse_taxonomy(read_json(path, KIND, advice="correct it"), path)


def parse_taxonomy(content: Any, path: Path) -> Taxonomy:
    """Parse the content of `taxonomy.json`, which the weights of a segmenter hold too.

    Raises:
        InputError: It contradicts itself; `path` is named in the message.
    """
    with reading(path, KIND, advice="correct it"):
        categories, parts = (tuple(map(str, list(content[name]))) for name in ("categories", "parts"))
        numbers = tuple(tuple(map(int, list(content["category_parts"][name]))) for name in categories)
    used = [part for of_category in numbers for part in of_category]
    if not categories or sorted(used) != list(range(len(parts))) or not all(numbers):
        raise InputError(
            f"{path}: each part from 0 to {len(parts) - 1} must belong to exactly one category; correct it"
        )
    return Taxonomy(categories, parts, numbers)


def read_class_names(kind: str, folder: Path) -> tuple[str, ...]:
    """Class names by label: from `shape_names.txt` beside the files, else the published names.

    Raises:
        InputError: The file cannot be read or is empty.
    """
    path = folder / NAMES_FILE
    if not os.path.lexists(path):
        return CLASSES[kind]
    names = tuple(name for line in read_lines(path, "a list of classes", advice=NAMES_ADVICE) for name in line.split())
    if not names:
        raise InputError(f"{path}: is empty; {NAMES_ADVICE}")
    return names
