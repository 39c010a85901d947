"""Parses the header of a PLY file, and checks that the file can hold what it says."""

import re
from dataclasses import dataclass

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced

HEADER_BYTES = 1 << 16  # of a header; real ones are a few hundred
KINDS = {  # NumPy's names of the types, by the names in use
    "char": "i1",
    "int8": "i1",
    "uchar": "u1",
    "uint8": "u1",
    "short": "i2",
    "int16": "i2",
    "ushort": "u2",
    "uint16": "u2",
    "int": "i4",
    "int32": "i4",
    "uint": "u4",
    "uint32": "u4",
    "int64": "i8",
    "long": "i8",
    "uint64": "u8",
    "ulong": "u8",
    "float16": "f2",
    "half": "f2",
    "float": "f4",
    "float32": "f4",
    "double": "f8",
    "float64": "f8",
}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TEXT = 2  # least bytes of a value in text: a digit and what separates it from the next
LIST = 128  # bytes that a list becomes, however short
END = re.compile(rb"\nend_header[ \t]*(?:\r\n|\r|\n)|\rend_header[ \t]*\r")


@dataclass(frozen=True)
class Property:
    """A column of an element: numbers, or lists of numbers.

    Attributes:
        name: In lower case.
        kind: NumPy's name of the numbers' type, without a byte order, e.g. `f4`.
        length: The same of what comes before each list, its length; empty of a column of numbers.
    """

    name: str
    kind: str
    length: str = ""


@dataclass(frozen=True)
class Element:
    """An element of a PLY file, e.g. `vertex`: its rows and their columns."""

    name: str
    count: int
    properties: tuple[Property, ...]

    def numbers(self) -> list[Property]:
        """The columns that are no lists."""
        return [column for column in self.properties if not column.length]

    def lists(self) -> list[Property]:
        """The columns of lists."""
        return [column for column in self.properties if column.length]


@dataclass(frozen=True)
class PlyHeader:
    """The byte order (`<`, `>`, empty of text), the elements in their order, and the bytes of the header itself."""

    order: str
    elements: tuple[Element, ...]
    length: int

    def count(self, name: str) -> int:
        """Rows of an element; 0 if there is none."""
        return sum(element.count for element in self.elements if element.name == name)


def read_header(start: bytes) -> PlyHeader:
    """Parse the header at the start of a PLY file. Comments may be in any encoding.

    Raises:
        InputError: The header does not end within `HEADER_BYTES`, or one of its lines is invalid.
    """
    start = start[:HEADER_BYTES]
    end = END.search(start)
    if end is None or not start.startswith(b"ply"):
        raise InputError(f"has no PLY header; {ADVICE}")
    lines = [line.split() for line in re.split(r"\r\n|\r|\n", start[: end.start()].decode("latin-1"))]
    form = next((words[1].lower() for words in lines if words[:1] == ["format"] and len(words) > 1), "")
    if form not in ORDERS:
        raise InputError(f"has a PLY header without a known format; {ADVICE}")
    elements: list[tuple[str, int, list[Property]]] = []
    for words in lines:
        if words[:1] == ["element"]:
            elements.append((*_element(words), []))
        elif words[:1] == ["property"]:
            _add_property(elements, words)
    made = tuple(Element(name, count, tuple(columns)) for name, count, columns in elements)
    return PlyHeader(ORDERS[form], made, end.end())


def check_counts(header: PlyHeader, size: int) -> None:
    """Refuse a header with more rows than a file of `size` bytes can hold, or that need far more memory than its size.

    Raises:
        InputError: It does.
    """
    body, least, made = size - header.length, 0, 0
    for element in header.elements:
        numbers, lists = [int(p.kind[1]) for p in element.numbers()], [int(p.length[1]) for p in element.lists()]
        if element.count and not (numbers or lists):
            raise InputError(f"has {element.count} rows of {element.name} without a property; {ADVICE}")
        row = sum(numbers) + sum(lists) if header.order else TEXT * (len(numbers) + len(lists))
        least += element.count * row
        made += element.count * (sum(numbers) + LIST * len(lists))
    if least > body + 1:  # the last row of a text may end without a line break
        counts = ", ".join(f"{element.count} {element.name}" for element in header.elements[:4])
        raise InputError(f"is cut off: its {body} bytes cannot hold {counts}; {ADVICE}")
    check_announced(made, size)


def _element(words: list[str]) -> tuple[str, int]:
    if len(words) != 3 or not (words[2].isascii() and words[2].isdecimal()) or len(words[2]) > 18:
        raise InputError(f"has a header with an invalid number of rows; {ADVICE}")
    return words[1].lower(), int(words[2])


def _add_property(elements: list[tuple[str, int, list[Property]]], words: list[str]) -> None:
    listed = words[1:2] == ["list"]
    kinds = [KINDS.get(word.lower(), "") for word in (words[2:4] if listed else words[1:2])]
    if not elements or len(words) != (5 if listed else 3) or not all(kinds):
        raise InputError(f"has a header with an invalid property; {ADVICE}")
    elements[-1][2].append(Property(words[-1].lower(), kinds[-1], kinds[0] if listed else ""))
