"""Reading ahead of use."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crosspoint.core.system import processes
from crosspoint.data import sources
from crosspoint.data.sources import content_of, find_sources, read_ahead


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


@pytest.mark.parametrize(("cpus", "threads"), [(1, 1), (3, 3), (64, sources.MOST_THREADS)])
@pytest.mark.parametrize("work", [lambda found: list(read_ahead(found, 8)), content_of])
def test_there_are_no_more_threads_than_cpus_that_the_process_may_use(folder, monkeypatch, work, cpus, threads):
    started = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, most, **options):
            started.append(most)
            super().__init__(most, **options)

    monkeypatch.setattr(sources, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)), raising=False)
    monkeypatch.setattr(processes, "_quotas", lambda _: ())
    assert len(work(find_sources([folder], None, seed=0))) == 300
    assert started == [threads]
