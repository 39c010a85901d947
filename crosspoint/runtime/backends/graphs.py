"""CUDA graphs: a sequence of kernel launches is captured once and then launched as one."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from crosspoint.core.errors import InputError
from crosspoint.runtime.backends.cuda import call

LIMIT = 8  # most graphs that are kept; each holds an execution context


class Captured(NamedTuple):
    """A graph, its output shapes, and the execution context that must live as long as the graph."""

    executable: Any
    shapes: Mapping[str, tuple[int, ...]]
    context: Any


class Graphs:
    """The CUDA graphs of one stream, by shapes and addresses, which a graph holds as constants.

    A shape is captured as a graph the second time it occurs. If there are more than `limit` graphs, the least recently
    used one is freed.

    Args:
        cuda: The CUDA runtime.
        stream: The stream.
        limit: Most graphs to keep.
    """

    def __init__(self, cuda: Any, stream: Any, *, limit: int = LIMIT) -> None:
        self._cuda, self._stream, self._limit = cuda, stream, limit
        self._graphs: OrderedDict[Hashable, Captured] = OrderedDict()
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._possible = True

    def __len__(self) -> int:
        return len(self._graphs)

    def launch(self, key: Hashable) -> Captured | None:
        """Launch the graph of `key` and return it; None if there is no such graph."""
        captured = self._graphs.get(key)
        if captured is not None:
            self._graphs.move_to_end(key)
            call(self._cuda.cudaGraphLaunch, captured.executable, self._stream)
        return captured

    def worth(self, key: Hashable) -> bool:
        """Whether `key` should be captured now: it occurred before, and capturing works."""
        again = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        while len(self._seen) > 4 * self._limit:
            self._seen.popitem(last=False)
        return again and self._possible

    def stop(self) -> None:
        """Stop capturing. Kernels are launched one by one from now on: slower, with the same results."""
        self._possible = False
        call(self._cuda.cudaStreamSynchronize, self._stream)  # before the context of the failed capture is freed
        self._cuda.cudaGetLastError()  # clear it, so that other code in this process does not see it

    def capture(
        self, key: Hashable, enqueue: Callable[[], bool], *, shapes: Mapping[str, tuple[int, ...]], context: Any
    ) -> None:
        """Capture the launches of `enqueue`, which must have run once outside a capture, in the same state.

        If capturing does not work, it is switched off.
        """
        try:
            graph = self._record(enqueue)
            try:
                executable = call(self._cuda.cudaGraphInstantiate, graph, 0)
            finally:
                call(self._cuda.cudaGraphDestroy, graph)
        except InputError:
            self.stop()
            return
        self._graphs[key] = Captured(executable, shapes, context)
        if len(self._graphs) > self._limit:
            self._free(self._graphs.popitem(last=False)[1])

    def _record(self, enqueue: Callable[[], bool]) -> Any:
        """Capture the launches of `enqueue` and return the graph."""
        cuda, launched, graph = self._cuda, False, None
        call(cuda.cudaStreamBeginCapture, self._stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            launched = enqueue()
        finally:  # a stream in capture mode refuses all other work
            status, graph = cuda.cudaStreamEndCapture(self._stream)
            if int(status) == 0 and not launched:
                call(cuda.cudaGraphDestroy, graph)
        if int(status) != 0 or not launched:
            raise InputError(f"the launch cannot be captured ({status.name})")
        return graph

    def close(self) -> None:
        """Free all graphs."""
        while self._graphs:
            self._free(self._graphs.popitem()[1])

    def _free(self, captured: Captured) -> None:
        call(self._cuda.cudaStreamSynchronize, self._stream)
        call(self._cuda.cudaGraphExecDestroy, captured.executable)
