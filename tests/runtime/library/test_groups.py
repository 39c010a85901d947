import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from crosspoint.runtime.library.groups import group

NAMES = [f"{i:02d}" for i in range(30)]


def test_the_object_with_the_most_links_is_kept() -> None:
    assert group([(0, 2), (1, 2), (2, 3)], NAMES) == [(2, [0, 1, 3])]


def test_the_first_name_decides_between_equals() -> None:
    assert group([(0, 1)], ["b", "a"]) == [(1, [0])]


def test_a_chain_keeps_what_nothing_kept_is_near() -> None:
    assert group([(0, 1), (1, 2), (2, 3)], NAMES) == [(1, [0, 2])]
    assert group([(0, 1), (1, 2), (2, 3), (3, 4)], NAMES) == [(1, [0, 2]), (3, [4])]


def test_no_links_are_no_groups() -> None:
    assert group([], NAMES) == []


@pytest.mark.parametrize("seed", range(20))
def test_each_object_is_linked_with_the_kept_one_of_its_group_and_no_link_joins_two_that_remain(seed: int) -> None:
    rng = np.random.default_rng(seed)
    links = {(int(a), int(b)) for a, b in np.sort(rng.integers(0, 30, (seed * 2, 2))) if a != b}
    groups = group(links, NAMES)
    parts = connected_components(
        coo_array((np.ones(len(links)), tuple(zip(*links, strict=True)) or ([], [])), (30, 30))
    )
    gone = [other for _, others in groups for other in others]
    assert len(set(gone)) == len(gone)
    for kept, others in groups:
        assert kept not in gone
        assert all((min(kept, other), max(kept, other)) in links for other in others)
        assert len({parts[1][item] for item in (kept, *others)}) == 1
    assert all(a in gone or b in gone for a, b in links)
