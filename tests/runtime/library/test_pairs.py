import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout
from crosspoint.runtime.library import pairs
from crosspoint.runtime.library.measures import COUNT, EQUAL
from crosspoint.runtime.library.pairs import NearPairs, Wanted, find_pairs

ABOUT = FileAbout("m", None, at_most=False, seed=0, base="/nowhere")


def pieces_of(vectors: np.ndarray, *cuts: int) -> Iterator[Embeddings]:
    for piece in np.split(vectors.astype(np.float32), cuts):
        yield Embeddings(piece, [str(i) for i in range(len(piece))], "0" * 64, ABOUT)


def by_loop(vectors: np.ndarray, limit: float) -> dict[tuple[int, int], float]:
    unit = vectors.astype(np.float32).astype(np.float64)
    found = {}
    for i in range(len(unit)):
        for j in range(i + 1, len(unit)):
            far = 1 - unit[i] @ unit[j] / np.sqrt((unit[i] @ unit[i]) * (unit[j] @ unit[j]))
            if far <= limit:
                found[i, j] = far
    return found


@pytest.mark.parametrize("limit", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("cuts", [(), (7,), (3, 3, 20)])
def test_pairs_are_those_of_a_loop_however_they_are_cut(
    monkeypatch: pytest.MonkeyPatch, limit: float, cuts: tuple[int, ...]
) -> None:
    monkeypatch.setattr(pairs, "ROWS", 5)
    vectors = np.random.default_rng(0).normal(size=(31, 4))
    vectors[9] = vectors[4]
    near = find_pairs(lambda: pieces_of(vectors, *cuts), Wanted(limit))
    found = dict(zip(zip(near.first.tolist(), near.second.tolist(), strict=True), near.distance, strict=True))
    expected = by_loop(vectors, limit + 1e-12)
    assert found.keys() == expected.keys()
    assert [found[pair] for pair in expected] == pytest.approx(list(expected.values()), abs=1e-6)


def test_equal_vectors_are_at_0() -> None:
    vectors = np.random.default_rng(0).normal(size=(1, 500)).repeat(3, axis=0)
    assert find_pairs(lambda: pieces_of(vectors), Wanted(0.0)).distance.tolist() == [0, 0, 0]


def test_vectors_of_zeros_are_near_nothing() -> None:
    assert len(find_pairs(lambda: pieces_of(np.zeros((3, 4))), Wanted(0.5)).first) == 0


def test_more_pairs_than_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MOST_PAIRS", 5)
    with pytest.raises(InputError, match="more than 5 pairs are near enough; give --within, or a smaller one"):
        find_pairs(lambda: pieces_of(np.ones((4, 4))), Wanted(0.5))


def test_memory_does_not_grow_with_the_square_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "ROWS", 64)
    vectors = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    tracemalloc.start()
    find_pairs(lambda: pieces_of(vectors), Wanted(0.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 2000 / 4  # bytes; a table of all pairs of float32 takes 16 times as much


ROWS = np.eye(4)[[0, 0, 1, 2, 3]]  # the first two are near


def chosen(wanted: Wanted) -> tuple[set[tuple[int, int]], int]:
    found: NearPairs = find_pairs(lambda: pieces_of(ROWS, 2, 4), wanted)
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True)), found.unmeasured


def measured(*values: float) -> np.ndarray:
    """Measures of objects that differ in the first one alone."""
    found = np.ones((len(values), COUNT))
    found[:, 0] = values
    return found


def test_near_embeddings_are_no_pair_if_the_measures_differ() -> None:
    assert chosen(Wanted(0.1, measured=measured(0, 9, 2, 3, 4))) == (set(), 0)
    assert chosen(Wanted(0.1, measured=measured(0, 2 * EQUAL, 2, 3, 4))) == ({(0, 1)}, 0)


def test_equal_measures_are_a_pair_however_far_the_embeddings_are() -> None:
    values = measured(0, 9, 2, 2 + EQUAL / 2, 2 + 2 * EQUAL)
    assert chosen(Wanted(0.1, measured=values, far=True)) == ({(2, 3)}, 0)
    assert chosen(Wanted(0.1, measured=values)) == (set(), 0)


def test_all_near_pairs_are_wanted_where_similar_ones_are() -> None:
    assert chosen(Wanted(0.1, similar=0.05, measured=measured(0, 9, 2, 3, 4))) == ({(0, 1)}, 0)


def test_near_objects_that_were_not_read_are_counted() -> None:
    assert chosen(Wanted(0.1, measured=measured(0, np.nan, 2, np.nan, np.nan), far=True)) == (set(), 1)


def test_measures_of_a_library_in_blocks_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "ROWS", 7)
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 3 * EQUAL, (40, COUNT)) * (rng.random((40, 1)) < 0.5)
    values[3] = np.nan
    found = find_pairs(lambda: pieces_of(np.eye(40), 11), Wanted(0.0, measured=values, far=True))
    expected = {(i, j) for i in range(40) for j in range(i + 1, 40) if all(abs(values[i] - values[j]) <= EQUAL)}
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected
    assert len(expected) > 10
