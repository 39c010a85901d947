"""Parses JSON results into the frozen dataclasses that the sections use."""

import math
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def parse(kind: type[T], value: object) -> T:
    """Convert a JSON value to the type of an annotation.

    Dataclasses are made from objects. An entry has the field's name, or the name in `metadata["key"]`; unknown ones are
    ignored. Supported are also `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]`, `X | Y`, `str`, `bool`, `int`, `float`
    and `object`, which accepts anything.

    Example:
        >>> parse(tuple[float, ...], [1, 0.5])
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
    if is_dataclass(kind) and isinstance(value, dict):
        return _parse_object(kind, value)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, list):
        return _parse_tuple(inner, value, name)
    if origin is dict and isinstance(value, dict):
        return {key: _parse(inner[1], entry, key) for key, entry in value.items()}
    if origin in (Union, types.UnionType):
        return _parse_union(inner, value, name)
    raise ValueError(f"{name} is {value!r:.40}")


def _parse_object(kind: Any, values: dict[str, object]) -> object:
    found, hints = {}, get_type_hints(kind)
    for field in fields(kind):
        key = field.metadata.get("key", field.name)
        if key in values:
            found[field.name] = _parse(hints[field.name], values[key], key)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{key} is missing")
    return kind(**found)


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
