import pytest

from crosspoint.core.errors import InputError
from crosspoint.runtime.library.limits import LEVELS, limits_of
from crosspoint.runtime.released import releases


@pytest.mark.parametrize("name", releases())
def test_every_release_has_limits_that_grow_with_the_level(name: str) -> None:
    for digest in releases()[name].files.values():
        limits = limits_of(digest, 1, model=name)
        assert 0 < limits.copy <= limits.same <= limits.similar < 2
        assert [limits.of(level) for level in LEVELS] == [limits.copy, limits.same, limits.similar]
        assert limits.measured["renamed"].largest == 0
        assert limits.copy > max(limits.measured[kind].largest for kind in ("scaled", "subdivided"))


def test_more_draws_than_were_measured_take_the_limits_of_fewer() -> None:
    digest = next(iter(releases()["dgcnn"].files.values()))
    assert limits_of(digest, 1000, model="dgcnn").draws <= 1000


def test_a_model_that_nobody_measured_is_one_line() -> None:
    with pytest.raises(InputError, match=r"what distances of mine\.onnx mean was not measured; give --within"):
        limits_of("0" * 64, 1, model="mine.onnx")
