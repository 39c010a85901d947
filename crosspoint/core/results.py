"""Turns results, which are frozen dataclasses, into JSON, and JSON into results.

Each field becomes an entry of the same name, in the order of the fields. `metadata` of a field can change that:

    c: float = field(metadata=key("C"))                              # another name in the JSON
    against: Paired | None = field(default=None, metadata=OPTIONAL)  # no entry if the value is None
    summary: Summary = field(metadata=FLAT)                          # its entries stand beside the others; none
                                                                     # if the value is None
"""

import dataclasses
import math
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from crosspoint.core.errors import InputError

T = TypeVar("T")
R = TypeVar("R", bound="Result")

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
            yield from () if value is None else value.items() if isinstance(value, Mapping) else _entries(value)
        elif value is not None or not meta.get("optional"):
            yield meta.get("key", field.name), to_json(value)


def from_json(kind: type[T], value: object) -> T:
    """Convert a JSON value to the type of an annotation.

    Dataclasses are made from objects, with the same metadata as in `to_json`; unknown entries are ignored. Supported
    are also `tuple[X, ...]`, `tuple[X, Y]`, `list[X]`, `dict[str, X]`, `X | Y` (the first that fits), `Literal` of
    texts, `str`, `bool`, `int`, `float` and `object`, which accepts anything.

    Example:
        >>> from_json(tuple[float, ...], [1, 0.5])
        (1.0, 0.5)

    Raises:
        ValueError: A field is missing, a value has another type, or a number is not finite.
    """
    return cast(T, _parse(kind, value, "the result"))


def _parse(kind: Any, value: object, name: str) -> object:
    if kind is object:
        return value
    if kind is float and type(value) in (int, float):
        return _finite(cast(float, value), name)
    if kind in (int, str, bool, types.NoneType) and type(value) is kind:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _parse_object(kind, value)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal and type(value) is str and value in inner:
        return value
    if origin is tuple and isinstance(value, list):
        return _parse_tuple(inner, value, name)
    if origin is list and isinstance(value, list):
        return [_parse(inner[0], entry, name) for entry in value]
    if origin is dict and isinstance(value, dict):
        return {key: _parse(inner[1], entry, key) for key, entry in value.items()}
    if origin in (Union, types.UnionType):
        return _parse_union(inner, value, name)
    raise ValueError(f"{name} is {value!r:.40}")


def _parse_object(kind: Any, values: dict[str, object]) -> object:
    found, hints, known = {}, get_type_hints(kind), _names(kind)
    for field in dataclasses.fields(kind):
        name, inner = field.metadata.get("key", field.name), hints[field.name]
        if not field.init:  # follows from the others
            continue
        if field.metadata.get("flat") and get_origin(inner) is dict:
            found[field.name] = _parse(inner, {key: entry for key, entry in values.items() if key not in known}, name)
        elif field.metadata.get("flat"):
            none = types.NoneType in get_args(inner) and not values.keys() & _names(inner)
            found[field.name] = _parse(inner, None if none else values, name)
        elif name in values:
            found[field.name] = _parse(inner, values[name], name)
        elif field.metadata.get("optional"):  # `to_json` leaves it out where it is None
            found[field.name] = None
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name} is missing")
    return kind(**found)


def _names(kind: Any) -> set[str]:
    """Names of the entries of a dataclass, or of the dataclasses in a union."""
    if not dataclasses.is_dataclass(kind):
        return set[str]().union(*map(_names, get_args(kind)))
    hints, names = get_type_hints(kind), set[str]()
    for field in dataclasses.fields(kind):
        names |= _names(hints[field.name]) if field.metadata.get("flat") else {field.metadata.get("key", field.name)}
    return names


def _parse_tuple(inner: tuple[Any, ...], values: list[object], name: str) -> tuple[object, ...]:
    kinds = inner[:1] * len(values) if inner[1:] == (...,) else inner
    if len(kinds) != len(values):
        raise ValueError(f"{name} has {len(values)} entries instead of {len(kinds)}")
    return tuple(_parse(kind, value, name) for kind, value in zip(kinds, values, strict=True))


def _parse_union(inner: tuple[Any, ...], value: object, name: str) -> object:
    if value is None and types.NoneType in inner:
        return None
    kinds = [kind for kind in inner if kind is not types.NoneType]
    for kind in kinds[:-1]:
        try:
            return _parse(kind, value, name)
        except ValueError:
            continue
    return _parse(kinds[-1], value, name)


def _finite(value: float, name: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is not a finite number")
    return number


class Result:
    """Base of what a command returns, prints and writes with `--json`: a frozen dataclass whose JSON names its schema.

    A field that is added without a new version of the schema has a default, so that older files can still be read.

    Attributes:
        schema: `crosspoint.<kind>/<version>`, the first entry of the JSON.

    Example:
        >>> SvmResult.from_json(json.loads(Path("svm.json").read_text())).clean.accuracy  # doctest: +SKIP
    """

    schema: ClassVar[str]

    def to_json(self) -> dict[str, object]:
        """The result as JSON-serialisable values."""
        return {"schema": self.schema, **dict(_entries(self))}

    @classmethod
    def from_json(cls: type[R], values: object) -> R:
        """The result that a command wrote with `--json`; entries that it does not know are passed over.

        Raises:
            InputError: The schema is another one, an entry is missing, or a value is not of its type.
        """
        entries = dict(values) if isinstance(values, dict) else {}
        if (schema := entries.pop("schema", None)) != cls.schema:
            raise InputError(f"the schema is {schema!r:.40} instead of {cls.schema!r}; give a file that --json wrote")
        try:
            return from_json(cls, entries)
        except (ValueError, InputError) as error:
            raise InputError(f"it is not as crosspoint writes it ({error})") from error
