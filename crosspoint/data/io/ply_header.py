"""Parses the header of a PLY file, and checks that the file can hold what it says."""

import re
from dataclasses import dataclass

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced

HEADER_BYTES = 1 << 16  # largest header; real ones have a few hundred bytes
SIZES = {  # bytes per value, by type name
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16", "float16"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "float", "float32"), 4),
    **dict.fromkeys(("int64", "uint64", "double", "float64"), 8),
}
TEXT = 2  # least bytes of a value in text: a digit and a separator
LIST = 128  # bytes of memory per list, however short: each becomes an array
END = re.compile(rb"\nend_header[ \t]*(?:\r\n|\r|\n)|\rend_header[ \t]*\r")


@dataclass(frozen=True)
class Element:
    """An element of a PLY file, e.g. `vertex`.

    Attributes:
        name: Name of the element.
        count: Number of rows.
        numbers: Bytes of each scalar property, by name.
        lists: Bytes of the length field of each list property, by name.
    """

    name: str
    count: int
    numbers: dict[str, int]
    lists: dict[str, int]


@dataclass(frozen=True)
class PlyHeader:
    """The format (text or binary), the elements in order, and the size of the header in bytes."""

    text: bool
    elements: tuple[Element, ...]
    length: int

    def count(self, name: str) -> int:
        """Rows of an element; 0 if it is missing."""
        return sum(element.count for element in self.elements if element.name == name)


def read_header(start: bytes) -> PlyHeader:
    """Parse the header at the start of a PLY file.

    Raises:
        InputError: The header does not end within `HEADER_BYTES`, or one of its lines is invalid.
    """
    start = start[:HEADER_BYTES]
    end = END.search(start)
    if end is None or not start.startswith(b"ply"):
        raise InputError(f"has no PLY header; {ADVICE}")
    lines = [line.split() for line in start[: end.start()].decode("latin-1").splitlines()]
    form = next((words[1] for words in lines if words[:1] == ["format"] and len(words) > 1), "")
    elements: list[Element] = []
    for words in lines:
        if words[:1] == ["element"]:
            elements.append(_element(words))
        elif words[:1] == ["property"]:
            _add_property(elements, words)
    return PlyHeader(form == "ascii", tuple(elements), end.end())


def check_counts(header: PlyHeader, size: int) -> None:
    """Refuse a header with more rows than a file of `size` bytes can hold, or that need far more memory than its size.

    Raises:
        InputError: The header claims too much.
    """
    body, least, made = size - header.length, 0, 0
    for element in header.elements:
        numbers, lists = element.numbers.values(), element.lists.values()
        if element.count and not (numbers or lists):
            raise InputError(f"has {element.count} rows of {element.name} without a property; {ADVICE}")
        row = TEXT * (len(numbers) + len(lists)) if header.text else sum(numbers) + sum(lists)
        least += element.count * row
        made += element.count * (sum(numbers) + LIST * len(lists))
    if least > body + 1:  # + 1: the last row of a text may have no line break
        counts = ", ".join(f"{element.count} {element.name}" for element in header.elements[:4])
        raise InputError(f"is cut off: its {body} bytes cannot hold {counts}; {ADVICE}")
    check_announced(made, size)


def _element(words: list[str]) -> Element:
    if len(words) != 3 or not words[2].isdecimal() or len(words[2]) > 18:
        raise InputError(f"has a header with an invalid number of rows; {ADVICE}")
    return Element(words[1], int(words[2]), {}, {})


def _add_property(elements: list[Element], words: list[str]) -> None:
    kinds = words[2:4] if words[1:2] == ["list"] else words[1:2]
    if not elements or len(words) != (5 if words[1:2] == ["list"] else 3) or not set(kinds) <= set(SIZES):
        raise InputError(f"has a header with an invalid property; {ADVICE}")
    properties = elements[-1].lists if words[1] == "list" else elements[-1].numbers
    properties[words[-1]] = SIZES[kinds[0]]
