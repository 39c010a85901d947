"""Whether a ratio has fallen behind the stored baseline, on results that are made up; nothing is timed."""

import json
import math
from dataclasses import replace

import pytest

from crosspoint.core.errors import CheckFailed, InputError


@pytest.fixture
def guard(import_benchmark):
    return import_benchmark("guard")


@pytest.fixture
def result(guard):
    """A result with `ours`, that was measured in turns with `reference`."""

    def make(reference, ours, name="ours", settings=None):
        from results import Result, Series

        series = [Series("reference", "ms", reference), Series(name, "ms", ours, "reference")]
        return Result("guard", settings or {"rounds": 3}, {}, {}, {one.name: one for one in series})

    return make


def test_a_machine_of_half_the_speed_changes_no_ratio(guard, result):
    found = guard.changes(result((10.0, 20.0, 30.0), (5.0, 10.0, 15.0)), result((20.0, 40.0, 60.0), (10.0, 20.0, 30.0)))
    assert [(one.before, one.now, one.growth) for one in found] == [(0.5, 0.5, 0.0)]
    guard.check(found, 0.0)


def test_a_ratio_that_has_grown_by_more_than_is_allowed_fails_by_name(guard, result):
    found = guard.changes(result((10.0,), (5.0,)), result((10.0,), (6.0,)))
    assert math.isclose(found[0].growth, 0.2)
    guard.check(found, 0.21)
    with pytest.raises(CheckFailed, match=r"more than 15%: ours;"):
        guard.check(found, 0.15)


def test_what_has_become_faster_passes(guard, result):
    guard.check(guard.changes(result((10.0,), (5.0,)), result((10.0,), (1.0,))), 0.0)


def test_a_ratio_that_is_not_a_number_fails(guard):
    with pytest.raises(CheckFailed):
        guard.check([guard.Change("ours", "reference", 1.0, math.nan)], 0.15)


def test_only_the_slower_row_is_marked(guard):
    rows = [guard.Change("a", "r", 0.5, 0.5), guard.Change("b", "r", 0.5, 0.75)]
    head, _, first, second = guard.table(rows, 0.15)
    assert head == "| measured | beside | baseline | now | change |"
    assert first == "| a | r | 0.500 | 0.500 | +0.0% |"
    assert second == "| b | r | 0.500 | 0.750 | +50.0% **slower** |"


def test_a_ratio_that_is_no_longer_measured_is_refused(guard, result):
    with pytest.raises(InputError, match="ours, which was not measured"):
        guard.changes(result((1.0,), (1.0,)), result((1.0,), (1.0,), name="other"))


def test_results_of_other_settings_are_not_compared(guard, result):
    with pytest.raises(InputError, match="settings"):
        guard.changes(result((1.0,), (1.0,)), result((1.0,), (1.0,), settings={"rounds": 5}))


def test_a_baseline_of_another_processor_is_said_to_be_one(guard, result):
    one, same, other = (replace(result((1.0,), (1.0,)), machine={"processor": name}) for name in ("A", "A", "B"))
    assert guard.remarks(one, same) == []
    assert guard.remarks(one, other) == [
        "The baseline is of another processor (A; here B): a ratio may differ for that alone."
    ]


def test_the_stored_baseline_has_a_ratio_of_each_kind(guard):
    from results import read

    stored = read(guard.BASELINE)
    assert {"machine", "versions"} <= json.loads(guard.BASELINE.read_text()).keys()
    names = {one.name.partition(",")[0] for one in guard.changes(stored, stored)}
    assert names == {"inference", "training step", "loader", "folder", "start"}


def test_the_loader_is_measured_in_turns_with_numpy_that_draws_as_much(guard, tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "OBJECTS", 32)
    monkeypatch.setattr(guard, "VIEWS", 1)
    monkeypatch.setattr(guard, "BATCHES", 1)
    reference, ours = guard.loading(tmp_path, 2)
    assert (reference.name, ours.name, ours.beside) == ("loader, numpy", "loader", "loader, numpy")
    assert len(reference.values) == len(ours.values) == 2
