import json
from pathlib import Path

import pytest

from crosspoint.core.errors import InputError
from crosspoint.core.results import to_json
from crosspoint.runtime.library import limits
from crosspoint.runtime.library.limits import LEVELS, SCHEMA, DistanceLimits, ModelDistances, limits_of
from crosspoint.runtime.released import releases


@pytest.fixture
def digest() -> str:
    return next(iter(releases()["dgcnn"].files.values()))


def ship(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str = releases()["dgcnn"].version) -> None:
    """Distances of `dgcnn`, measured with one draw and with four."""
    known = ModelDistances(
        version, 10, tuple(DistanceLimits(draws, 0.1 / draws, 0.2 / draws, 0.3 / draws, {}) for draws in (1, 4))
    )
    values = {"schema": SCHEMA, "models": {"dgcnn": to_json(known)}}
    (folder / limits.FILE).write_text(json.dumps(values))
    monkeypatch.setattr(limits, "FOLDER", folder)


@pytest.mark.parametrize(("draws", "taken"), [(1, 1), (3, 1), (4, 4), (1000, 4)])
def test_the_limits_are_those_of_as_many_draws_or_of_fewer(
    digest: str, draws: int, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(tmp_path, monkeypatch)
    found = limits_of(digest, draws)
    assert found is not None
    assert (found.draws, [found.of(level) for level in LEVELS]) == (taken, [0.1 / taken, 0.2 / taken, 0.3 / taken])


def test_another_version_of_a_model_has_other_distances(
    digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(tmp_path, monkeypatch, version="0")
    assert limits_of(digest, 1) is None


def test_a_model_that_nobody_measured_has_none() -> None:
    assert limits_of("0" * 64, 1) is None


@pytest.mark.parametrize("content", ["{}", "[]", '{"schema": "crosspoint.distances/1"}', "rubbish"])
def test_a_damaged_file_is_one_line(digest: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / limits.FILE).write_text(content)
    monkeypatch.setattr(limits, "FOLDER", tmp_path)
    with pytest.raises(InputError) as found:
        limits_of(digest, 1)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", releases())
def test_every_release_has_limits(name: str) -> None:
    for sha256 in releases()[name].files.values():
        found = limits_of(sha256, 1)
        assert found is not None
        assert 0 < found.copy <= found.same < 2
        assert 0 < found.similar < 2
        assert found.measured["renamed"].largest == 0
        assert found.copy > max(found.measured[kind].largest for kind in ("scaled", "subdivided"))
