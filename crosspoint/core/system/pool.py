"""Runs tasks in several processes and yields the results in order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from types import FrameType
from typing import TypeVar

from crosspoint.core.errors import CheckFailed
from crosspoint.core.system.interrupt import Terminated, interruption, stop_signals
from crosspoint.core.system.processes import available_cpus

Task = TypeVar("Task")
Result = TypeVar("Result")
received: list[int] = []  # in a worker: the termination signals that arrived


def spread(work: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int | None = None) -> Iterator[Result]:
    """Yield `work(task)` for each task, in order. The worker processes end when this process ends, however it ends.

    Args:
        work: A function that can be pickled.
        tasks: The arguments of `work`.
        jobs: Number of processes; None: one per core; 1: run in this process.

    Raises:
        CheckFailed: A process was killed.
    """
    jobs = min(available_cpus() if jobs is None else jobs, len(tasks))
    if jobs < 2:
        yield from map(work, tasks)
        return
    before = multiprocessing.active_children()
    pool = start_pool(jobs)
    try:
        chunk = max(1, min(16, len(tasks) // (4 * jobs)))
        yield from pool.map(partial(_interruptible, work), tasks, chunksize=chunk)
    except BrokenProcessPool as error:
        raise CheckFailed("a worker process was killed, probably because memory ran out; try fewer --jobs") from error
    except BaseException:
        for worker in set(multiprocessing.active_children()) - set(before):
            worker.terminate()  # the current task undoes its work, see `_interruptible`
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def start_pool(processes: int) -> ProcessPoolExecutor:
    """Start a pool with all its processes. Signals wait until it has started: an interrupted start would never end."""
    with stop_signals(impatient=False) as received:
        pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_start_worker)
        for _ in range(processes):  # Python 3.10 starts one process with each task
            pool.submit(os.getpid)
    if received:
        pool.shutdown(cancel_futures=True)
        raise interruption(received[0])
    return pool


def _start_worker() -> None:
    """In a worker: ignore Ctrl-C, collect SIGTERM, and end when the parent has ended, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _note)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _note(number: int, frame: FrameType | None) -> None:
    received.append(number)


def _interruptible(work: Callable[[Task], Result], task: Task) -> Result:
    """Run a task so that SIGTERM interrupts it. Between tasks SIGTERM waits, because a result is being sent then."""

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise Terminated(number)

    try:
        signal.signal(signal.SIGTERM, end)
        if received:
            raise Terminated(received[0])
        return work(task)
    finally:
        signal.signal(signal.SIGTERM, _note)
