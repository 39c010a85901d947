"""Turns results, which are frozen dataclasses, into JSON.

Each field becomes an entry of the same name, in the order of the fields. `metadata` of a field can change that:

    c: float = field(metadata=key("C"))                              # another name in the JSON
    against: Paired | None = field(default=None, metadata=OPTIONAL)  # no entry if the value is None
    summary: Summary = field(metadata=FLAT)                          # its entries stand beside the others
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

OPTIONAL = {"optional": True}
FLAT = {"flat": True}


def key(name: str) -> dict[str, str]:
    """Metadata of a field that has another name in the JSON."""
    return {"key": name}


def to_json(value: object) -> object:
    """Convert a value for `json.dumps`: dataclasses become objects, paths become strings; other values stay.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Fit:
        ...     c: float = dataclasses.field(metadata=key("C"))
        >>> to_json([Fit(0.5)])
        [{'C': 0.5}]
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dict(_entries(value))
    if isinstance(value, Mapping):
        return {str(name): to_json(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value


def _entries(record: object) -> Iterator[tuple[str, object]]:
    for field in dataclasses.fields(record):  # type: ignore[arg-type]  # of a dataclass, see `to_json`
        value, meta = getattr(record, field.name), field.metadata
        if meta.get("flat"):
            yield from value.items() if isinstance(value, Mapping) else _entries(value)
        elif value is not None or not meta.get("optional"):
            yield meta.get("key", field.name), to_json(value)


class Result:
    """Base of what a command returns, prints and writes with `--json`: a frozen dataclass whose JSON names its schema.

    Attributes:
        schema: `crosspoint.<kind>/<version>`, the first entry of the JSON.
    """

    schema: ClassVar[str]

    def to_json(self) -> dict[str, object]:
        """The result as JSON-serialisable values."""
        return {"schema": self.schema, **dict(_entries(self))}
