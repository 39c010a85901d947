"""Reading ahead of use."""

import threading

import numpy as np
import pytest

from crosspoint.data.sources import find_sources, read_ahead


@pytest.fixture
def folder(tmp_path):
    for i in range(300):
        np.save(tmp_path / f"{i:03}.npy", np.random.default_rng(i).standard_normal((4, 3)).astype(np.float32))
    return tmp_path


def test_readers_end_with_the_one_who_stops_reading(folder):
    before = set(threading.enumerate())
    loaded = read_ahead(find_sources([folder], None, seed=0), 8)
    next(loaded)
    assert set(threading.enumerate()) - before
    loaded.close()
    assert set(threading.enumerate()) == before
