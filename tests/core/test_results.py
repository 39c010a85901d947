import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from crosspoint.core.results import FLAT, OPTIONAL, Result, key, to_json


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
