"""CUDA graphs: a sequence of launches that is captured once and then repeated as a single launch."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from crosspoint.errors import InputError
from crosspoint.runtime.cuda import call

LIMIT = 8  # graphs kept; each holds an execution context


class Captured(NamedTuple):
    """A graph, the shapes of what it computes, and the execution context that has to live as long as it."""

    executable: Any
    shapes: Mapping[str, tuple[int, ...]]
    context: Any


class Graphs:
    """Graphs of one stream by what they were captured for: shapes and addresses, which a graph holds as constants.

    Whoever is seen a second time is worth a capture; a shape that comes once is not. The graphs used longest ago go.

    Args:
        cuda: The CUDA runtime.
        stream: The stream.
        limit: Most graphs to keep.
    """

    def __init__(self, cuda: Any, stream: Any, limit: int = LIMIT) -> None:
        self._cuda, self._stream, self._limit = cuda, stream, limit
        self._graphs: OrderedDict[Hashable, Captured] = OrderedDict()
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._possible = True

    def __len__(self) -> int:
        return len(self._graphs)

    def launch(self, key: Hashable) -> Captured | None:
        """Launch the graph of `key`, and return it; None if there is none."""
        captured = self._graphs.get(key)
        if captured is not None:
            self._graphs.move_to_end(key)
            call(self._cuda.cudaGraphLaunch, captured.executable, self._stream)
        return captured

    def worth(self, key: Hashable) -> bool:
        """Whether `key` should be captured now: it was seen before, and capturing works."""
        again = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        while len(self._seen) > 4 * self._limit:
            self._seen.popitem(last=False)
        return again and self._possible

    def capture(
        self, key: Hashable, enqueue: Callable[[], bool], shapes: Mapping[str, tuple[int, ...]], context: Any
    ) -> None:
        """Capture what `enqueue` launches; it must have run outside a capture before, in the same state.

        Where capturing does not work, this and every later launch go one by one: slower, and the same results.
        """
        cuda = self._cuda
        call(cuda.cudaStreamBeginCapture, self._stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        launched = enqueue()
        status, graph = cuda.cudaStreamEndCapture(self._stream)
        if int(status) != 0 or not launched:
            cuda.cudaGetLastError()  # forget it
            self._possible = False
            return
        try:
            executable = call(cuda.cudaGraphInstantiate, graph, 0)
        except InputError:
            self._possible = False
            return
        finally:
            call(cuda.cudaGraphDestroy, graph)
        self._graphs[key] = Captured(executable, shapes, context)
        if len(self._graphs) > self._limit:
            self._free(self._graphs.popitem(last=False)[1])

    def close(self) -> None:
        """Free all graphs."""
        while self._graphs:
            self._free(self._graphs.popitem()[1])

    def _free(self, captured: Captured) -> None:
        call(self._cuda.cudaStreamSynchronize, self._stream)
        call(self._cuda.cudaGraphExecDestroy, captured.executable)
