import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from crosspoint.core.results import FLAT, OPTIONAL, Result, from_json, key, to_json


@dataclass(frozen=True)
class Inner:
    mean: float
    std: float | None


@dataclass(frozen=True)
class Outer(Result):
    schema: ClassVar[str] = "crosspoint.outer/1"

    model: Path
    inner: Inner
    c: float = field(metadata=key("C"))
    spread: Inner = field(metadata=FLAT)
    rows: tuple[Inner, ...] = ()
    last: dict[str, float] = field(default_factory=dict, metadata=FLAT)
    against: Inner | None = field(default=None, metadata=OPTIONAL)
    engine: str | None = None


def test_entries_keep_the_order_of_the_fields_after_the_schema():
    outer = Outer(Path("a/b"), Inner(1, None), 0.5, Inner(2, 3), (Inner(4, 5),), {"loss": 6})
    assert json.dumps(outer.to_json()) == json.dumps(
        {
            "schema": "crosspoint.outer/1",
            "model": "a/b",
            "inner": {"mean": 1, "std": None},
            "C": 0.5,
            "mean": 2,
            "std": 3,
            "rows": [{"mean": 4, "std": 5}],
            "loss": 6,
            "engine": None,
        }
    )


def test_an_optional_field_has_an_entry_only_where_it_has_a_value():
    outer = Outer(Path("a"), Inner(1, 2), 0.5, Inner(2, 3), against=Inner(7, None))
    assert outer.to_json()["against"] == {"mean": 7, "std": None}


def test_a_result_inside_another_value_does_not_name_its_schema():
    assert "schema" not in to_json([Outer(Path("a"), Inner(1, 2), 0.5, Inner(2, 3))])[0]


@pytest.mark.parametrize("value", [None, True, 1, 0.5, "text"])
def test_what_json_knows_stays_what_it_is(value):
    assert to_json(value) is value


@dataclass(frozen=True)
class Row:
    name: str = field(metadata={"key": "class"})
    share: float | None


@dataclass(frozen=True)
class Table:
    rows: tuple[Row, ...]
    counts: dict[str, int]
    more: object = None


def test_objects_are_parsed_by_their_annotations():
    rows = [{"class": "cup", "share": 1, "unknown": 3}, {"class": "hat", "share": None}]
    found = from_json(Table, {"rows": rows, "counts": {"a": 2}})
    assert found == Table((Row("cup", 1.0), Row("hat", None)), {"a": 2})
    assert type(found.rows[0].share) is float


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (tuple[float, float], [0, 0.5], (0.0, 0.5)),
        (int | str, "batch", "batch"),
        (int | str, 3, 3),
        (tuple[float, float] | None, None, None),
        (object, {"any": [1]}, {"any": [1]}),
        (list[float], [1, 0.5], [1.0, 0.5]),
    ],
)
def test_a_value_of_its_type_is_taken(kind, value, expected):
    assert from_json(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Table, {"rows": []}, "counts is missing"),
        (Table, {"rows": [{"class": "cup"}], "counts": {}}, "share is missing"),
        (Table, {"rows": 3, "counts": {}}, "rows is 3"),
        (Table, {"rows": [], "counts": {"a": 1.5}}, "a is 1.5"),
        (Table, [], r"the result is \[\]"),
        (tuple[float, float], [1.0], "has 1 entries instead of 2"),
        (float, float("nan"), "not a finite number"),
        (float, 10**400, "not a finite number"),
        (float, True, "is True"),
        (int, True, "is True"),
        (int, 1.0, "is 1.0"),
        (str, None, "is None"),
        (int | str, [1], r"is \[1\]"),
    ],
)
def test_a_value_of_another_type_is_named(kind, value, reason):
    with pytest.raises(ValueError, match=reason):
        from_json(kind, value)


@dataclass(frozen=True)
class Whole(Result):
    schema: ClassVar[str] = "crosspoint.whole/1"

    c: float = field(metadata=key("C"))
    spread: Inner = field(metadata=FLAT)
    last: Inner | None = field(default=None, metadata=OPTIONAL)


@pytest.mark.parametrize("last", [None, Inner(3.0, None)])
def test_what_became_json_is_read_back_as_it_was(last):
    whole = Whole(0.5, Inner(1.0, 2.0), last)
    assert from_json(Whole, json.loads(json.dumps(whole.to_json()))) == whole


@dataclass(frozen=True)
class Maybe:
    name: str
    spread: Inner | None = field(metadata=FLAT)


@pytest.mark.parametrize("spread", [None, Inner(3.0, None)])
def test_entries_among_others_may_be_absent_all_at_once(spread):
    assert from_json(Maybe, to_json(Maybe("a", spread))) == Maybe("a", spread)
    with pytest.raises(ValueError, match="std is missing"):
        from_json(Maybe, {"name": "a", "mean": 1.0})


@dataclass(frozen=True)
class Doubled:
    value: float
    twice: float = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "twice", 2 * self.value)


def test_what_follows_from_the_rest_is_written_and_computed_anew():
    assert to_json(Doubled(2.0)) == {"value": 2.0, "twice": 4.0}
    assert from_json(Doubled, {"value": 2.0, "twice": 5.0}) == Doubled(2.0)
