"""Which clouds are run together, when, and where their embeddings end up."""

from types import SimpleNamespace

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.runtime.jobs import batches
from crosspoint.runtime.jobs.batches import embed_groups


class Recorder:
    """An encoder whose embedding is a cloud's first number and its size; it keeps the shapes that it was given."""

    def __init__(self, fewest=1):
        self.shapes = []

        def check_points(count):
            if count < fewest:
                raise InputError(f"/data/{count}.npy: too few points; give more")

        self.specification = SimpleNamespace(dim=2, check_points=check_points)

    def embed(self, clouds):
        self.shapes.append(clouds.shape)
        return np.stack([clouds[:, 0, 0], np.full(len(clouds), clouds.shape[1])], axis=1).astype(np.float32)


def run(monkeypatch, encoder, sizes, *, batch, groups=None, readers=0):
    """Embed one cloud of each size; the n-th begins with the number n."""
    loaded, asked = [], []
    for number, size in enumerate(sizes):
        source = SimpleNamespace(name=f"cloud {number}", origin=f"/data/{size}.npy", draws=1)
        wrong = isinstance(size, str)
        clouds = InputError(f"/data/{size}.npy: {size}") if wrong else np.full((1, size, 3), number, np.float32)
        loaded.append((source, clouds, f"hash {number}"))

    def read_ahead(sources, ahead, *, processes):
        asked.append((list(sources), ahead, processes))
        return iter(loaded)

    monkeypatch.setattr(batches, "read_ahead", read_ahead)
    monkeypatch.setattr(batches, "track", lambda found, title, total: found)
    given = groups or [[source for source, _, _ in loaded]]
    results = list(embed_groups(encoder, given, batch=batch, readers=readers))
    assert asked == [([source for group in given for source in group], 4 * batch, readers)]
    return results


def test_clouds_of_equal_size_run_together_and_results_keep_the_order(monkeypatch):
    encoder = Recorder()
    sizes = [5, 7, 5, 7, 7, 5]
    (result,) = run(monkeypatch, encoder, sizes, batch=2)
    assert encoder.shapes == [(2, 5, 3), (2, 7, 3), (1, 7, 3), (1, 5, 3)]
    np.testing.assert_array_equal(result.vectors, [(number, size) for number, size in enumerate(sizes)])
    assert result.vectors.dtype == np.float32
    assert result.names == [f"cloud {number}" for number in range(6)]
    assert result.sources_sha256 == [f"hash {number}" for number in range(6)]
    assert result.skipped == []


def test_when_many_sizes_wait_the_size_that_most_clouds_have_runs_first(monkeypatch):
    encoder = Recorder()
    sizes = [3, 9, 4, 4, 8, 5, 6, 7, 2, 2, 1, 12]  # four times the batch of three, none of it full
    run(monkeypatch, encoder, sizes, batch=3)
    assert encoder.shapes[0] == (2, 4, 3)
    assert len(encoder.shapes) == 10
    encoder = Recorder()
    run(monkeypatch, encoder, sizes[:-1], batch=3)  # one fewer may wait
    assert encoder.shapes[0] == (1, 3, 3)


def test_each_group_has_its_own_results(monkeypatch):
    groups = [["a", "b", "c"], [], ["d"]]
    first, none, last = run(monkeypatch, Recorder(), [4, 4, 5, 4], batch=2, groups=groups, readers=3)
    np.testing.assert_array_equal(first.vectors, [(0, 4), (1, 4), (2, 5)])
    assert none.vectors.shape == (0, 2)
    np.testing.assert_array_equal(last.vectors, [(3, 4)])
    assert (last.names, last.sources_sha256) == (["cloud 3"], ["hash 3"])


def test_a_source_that_cannot_be_used_is_named_with_its_reason(monkeypatch):
    (result,) = run(monkeypatch, Recorder(fewest=4), [5, "cannot be read", 3, 4], batch=2)
    assert [(one.file, one.reason) for one in result.skipped] == [
        ("cloud 1", "cannot be read"),
        ("cloud 2", "too few points; give more"),
    ]
    assert result.names == ["cloud 0", "cloud 3"]
    np.testing.assert_array_equal(result.vectors, [(0, 5), (3, 4)])
    assert result.sources_sha256 == [f"hash {number}" for number in range(4)]


@pytest.mark.parametrize(("count", "names"), [(1, ["s"]), (2, ["s#0", "s#1"])])
def test_the_clouds_of_one_source_are_numbered(count, names, monkeypatch):
    source = SimpleNamespace(name="s", origin="/data/s.npy", draws=1)
    monkeypatch.setattr(batches, "read_ahead", lambda *_, **__: iter([(source, np.zeros((count, 4, 3)), "h")]))
    (result,) = embed_groups(Recorder(), [[source]], batch=8)
    assert result.names == names
    assert len(result.vectors) == count
