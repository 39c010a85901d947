"""What is captured and kept, with calls that are noted instead of made, and on the stand-in for CUDA."""

from enum import IntEnum
from types import SimpleNamespace

import pytest
from host_cuda import HostCuda

from crosspoint.core.errors import InputError
from crosspoint.runtime.backends.graphs import Graphs


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorUnknown = 999


class Calls:
    """Answers every call of CUDA's runtime, and keeps their names."""

    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        self.made: list[str] = []
        self.fails: set[str] = set()

    def __getattr__(self, name: str):
        def function(*arguments: object) -> tuple:
            self.made.append(name)
            status = Status.cudaErrorUnknown if name in self.fails else Status.cudaSuccess
            return status, f"of {name}"

        function.__name__ = name
        return function


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def graphs(calls: Calls) -> Graphs:
    return Graphs(calls, "stream", limit=2)


def test_what_comes_once_is_not_worth_a_capture_and_what_comes_twice_is(graphs: Graphs) -> None:
    assert [graphs.worth(key) for key in ("a", "b", "a", "b", "c")] == [False, False, True, True, False]


def test_a_key_that_came_long_ago_is_forgotten(graphs: Graphs) -> None:
    graphs.worth("a")
    for i in range(8):
        graphs.worth(i)
    assert not graphs.worth("a")


def test_a_capture_is_made_and_launched(graphs: Graphs, calls: Calls) -> None:
    assert graphs.launch("a") is None
    graphs.capture("a", lambda: True, shapes={"embedding": (2, 4)}, context="context")
    assert calls.made == ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphDestroy"]
    captured = graphs.launch("a")
    assert captured is not None
    assert (captured.executable, captured.context) == ("of cudaGraphInstantiate", "context")
    assert captured.shapes == {"embedding": (2, 4)}
    assert calls.made[-1] == "cudaGraphLaunch"


def test_the_graph_used_longest_ago_goes(graphs: Graphs, calls: Calls) -> None:
    for key in ("a", "b"):
        graphs.capture(key, lambda: True, shapes={}, context=None)
    graphs.launch("a")
    graphs.capture("c", lambda: True, shapes={}, context=None)
    assert calls.made[-2:] == ["cudaStreamSynchronize", "cudaGraphExecDestroy"]
    assert [graphs.launch(key) is not None for key in ("a", "b", "c")] == [True, False, True]
    graphs.close()
    assert len(graphs) == 0
    assert calls.made.count("cudaGraphExecDestroy") == 3


@pytest.mark.parametrize("failing", ["cudaStreamEndCapture", "cudaGraphInstantiate", "the launch"])
def test_where_capturing_fails_it_is_not_tried_again(failing: str, graphs: Graphs, calls: Calls) -> None:
    calls.fails = {failing}
    graphs.worth("a")
    graphs.capture("a", lambda: failing != "the launch", shapes={}, context=None)
    assert "cudaStreamEndCapture" in calls.made  # the stream is usable again
    assert len(graphs) == 0
    assert not graphs.worth("a")


def test_a_launch_that_fails_is_an_error(graphs: Graphs, calls: Calls) -> None:
    graphs.capture("a", lambda: True, shapes={}, context=None)
    calls.fails = {"cudaGraphLaunch"}
    with pytest.raises(InputError, match="cudaGraphLaunch failed with cudaErrorUnknown"):
        graphs.launch("a")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_exception_during_a_capture_ends_the_capture(error: type[BaseException]) -> None:
    cuda = HostCuda()
    _, stream = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)
    graphs, done = Graphs(cuda, stream), []

    def enqueue() -> bool:
        cuda.enqueue(stream, lambda: done.append("captured"))
        raise error

    with pytest.raises(error):
        graphs.capture("a", enqueue, shapes={}, context=None)
    assert (len(cuda.recorded), len(cuda.graphs)) == (0, 0)
    cuda.enqueue(stream, lambda: done.append("launched"))
    assert cuda.cudaStreamSynchronize(stream)[0] == 0
    assert done == ["launched"]


def test_a_launch_that_fails_during_a_capture_leaves_no_graph() -> None:
    cuda = HostCuda()
    _, stream = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)
    Graphs(cuda, stream).capture("a", lambda: False, shapes={}, context=None)
    assert (len(cuda.recorded), len(cuda.graphs)) == (0, 0)
    assert cuda.cudaStreamSynchronize(stream)[0] == 0


@pytest.mark.parametrize("failing", ["cudaStreamBeginCapture", "cudaGraphInstantiate"])
def test_a_capture_that_does_not_work_is_no_error_of_anyone(failing: str) -> None:
    cuda = HostCuda()
    _, stream = cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking)
    cuda.fails = {failing: Status.cudaErrorUnknown}
    graphs = Graphs(cuda, stream)
    graphs.capture("a", lambda: True, shapes={}, context=None)
    assert (len(graphs), len(cuda.recorded), cuda.cudaGetLastError()[0]) == (0, 0, 0)
