"""Work spread over processes, its results in order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from crosspoint.core.processes import available_cpus
from crosspoint.errors import CheckFailed

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread(work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int | None = None) -> Iterator[Result]:
    """Yield `work(task)` for each task in order; the processes end when this one does, however it ends.

    Args:
        work: A function that can be pickled.
        tasks: Its arguments.
        jobs: Processes; all cores if None, and none but this one if 1.

    Raises:
        CheckFailed: A process was killed.
    """
    jobs = min(available_cpus() if jobs is None else jobs, len(tasks))
    if jobs < 2:
        yield from map(work, tasks)
        return
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=start_worker)
    try:
        yield from pool.map(work, tasks, chunksize=max(1, min(16, len(tasks) // (4 * jobs))))
    except BrokenProcessPool as error:
        raise CheckFailed("a process was killed, most likely for want of memory; try again with fewer jobs") from error
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker() -> None:
    """In a worker: leave Ctrl-C to the parent, and leave when the parent is gone, also when it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
