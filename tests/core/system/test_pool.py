import os

import pytest

from crosspoint.core.errors import CheckFailed
from crosspoint.core.system.pool import spread


def square(number):
    return number * number, os.getpid()


def end(number):
    os._exit(9)


def test_one_job_stays_in_this_process():
    assert list(spread(square, [1, 2, 3], jobs=1)) == [(1, os.getpid()), (4, os.getpid()), (9, os.getpid())]


def test_nothing_to_do_gives_nothing():
    assert list(spread(square, [])) == []


def test_results_of_several_processes_come_in_order(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    import test_pool

    results = list(spread(test_pool.square, list(range(40)), jobs=2))
    assert [value for value, _ in results] == [number * number for number in range(40)]
    assert os.getpid() not in {process for _, process in results}


def test_a_killed_process_is_reported(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    import test_pool

    with pytest.raises(CheckFailed, match="a worker process was killed"):
        list(spread(test_pool.end, [1, 2], jobs=2))
