"""Results are frozen dataclasses; this is how they become JSON.

An entry of the JSON has the name of its field, in the order of the fields. Three kinds of `metadata` change that:

    c: float = field(metadata=key("C"))                              # the entry has another name
    against: Paired | None = field(default=None, metadata=OPTIONAL)  # no entry where the value is None
    summary: Summary = field(metadata=FLAT)                          # its entries stand among those around it
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

OPTIONAL = {"optional": True}
FLAT = {"flat": True}


def key(name: str) -> dict[str, str]:
    """Metadata of a field whose entry in the JSON has a name that Python does not allow or that reads badly there."""
    return {"key": name}


def to_json(value: object) -> object:
    """What `json.dumps` takes: dataclasses become objects, paths strings; all else stays what it is.

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
    """What a command returns, writes with `--json` and prints: a frozen dataclass whose JSON names its schema.

    Attributes:
        schema: `crosspoint.<kind>/<version>`, the first entry of the JSON.
    """

    schema: ClassVar[str]

    def to_json(self) -> dict[str, object]:
        """The result as JSON can hold it."""
        return {"schema": self.schema, **dict(_entries(self))}
