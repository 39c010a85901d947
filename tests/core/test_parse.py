"""JSON as dataclasses: what has the right form is taken, all else is named."""

from dataclasses import dataclass, field

import pytest

from crosspoint.core.results import from_json, key


@dataclass(frozen=True)
class Inner:
    name: str = field(metadata=key("class"))
    share: float | None


@dataclass(frozen=True)
class Outer:
    rows: tuple[Inner, ...]
    counts: dict[str, int]
    more: object = None


def test_objects_are_parsed_by_their_annotations():
    rows = [{"class": "cup", "share": 1, "unknown": 3}, {"class": "hat", "share": None}]
    found = from_json(Outer, {"rows": rows, "counts": {"a": 2}})
    assert found == Outer((Inner("cup", 1.0), Inner("hat", None)), {"a": 2})
    assert type(found.rows[0].share) is float


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (tuple[float, float], [0, 0.5], (0.0, 0.5)),
        (int | str, "batch", "batch"),
        (int | str, 3, 3),
        (tuple[float, float] | None, None, None),
        (object, {"any": [1]}, {"any": [1]}),
    ],
)
def test_a_value_of_its_type_is_taken(kind, value, expected):
    assert from_json(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Outer, {"rows": []}, "counts is missing"),
        (Outer, {"rows": [{"class": "cup"}], "counts": {}}, "share is missing"),
        (Outer, {"rows": 3, "counts": {}}, "rows is 3"),
        (Outer, {"rows": [], "counts": {"a": 1.5}}, "a is 1.5"),
        (Outer, [], r"the result is \[\]"),
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
