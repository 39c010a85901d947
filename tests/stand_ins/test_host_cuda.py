"""What the stand-in for CUDA queues and refuses, as CUDA does."""

import threading

import numpy as np
import pytest
from host_cuda import HostCuda, Status

TO_DEVICE, TO_HOST = 1, 2


@pytest.fixture
def cuda() -> HostCuda:
    return HostCuda(devices=2)


@pytest.fixture
def stream(cuda: HostCuda) -> int:
    return cuda.cudaStreamCreateWithFlags(1)[1]


@pytest.fixture
def memory(cuda: HostCuda) -> int:
    return cuda.cudaMalloc(64)[1]


def status(answer: tuple) -> str:
    return answer[0].name.removeprefix("cudaError")


def test_nothing_is_done_before_someone_waits(cuda: HostCuda, stream: int, memory: int) -> None:
    given, result = np.arange(16, dtype=np.float32), np.zeros(16, np.float32)
    cuda.cudaMemcpyAsync(memory, given.ctypes.data, 64, TO_DEVICE, stream)
    cuda.enqueue(stream, lambda: cuda.view(memory, (16,)).__imul__(2))
    cuda.cudaMemcpyAsync(result.ctypes.data, memory, 64, TO_HOST, stream)
    assert not result.any()
    given += 1  # a copy that is not done yet reads what is there then
    cuda.cudaStreamSynchronize(stream)
    np.testing.assert_array_equal(result, 2 * given)


def test_memory_that_was_not_written_is_nan(cuda: HostCuda, memory: int) -> None:
    assert np.isnan(cuda.view(memory, (16,))).all()


def test_pointers_that_copies_do_not_take(cuda: HostCuda, stream: int, memory: int) -> None:
    host = np.zeros(64, np.float32).ctypes.data
    for target, source, size, kind in (
        (memory, host, 65, TO_DEVICE),
        (memory + 1, host, 64, TO_DEVICE),
        (host, memory, 64, TO_DEVICE),
        (memory, memory, 64, TO_DEVICE),
        (memory, host, 64, TO_HOST),
        (0, host, 64, TO_DEVICE),
    ):
        assert status(cuda.cudaMemcpyAsync(target, source, size, kind, stream)) == "InvalidValue"
    cuda.cudaFree(memory)
    assert status(cuda.cudaMemcpyAsync(memory, host, 64, TO_DEVICE, stream)) == "InvalidValue"
    assert status(cuda.cudaFree(memory)) == "InvalidValue"


def test_a_kernel_that_reads_freed_memory_breaks_all_that_follows(cuda: HostCuda, stream: int, memory: int) -> None:
    cuda.cudaFree(memory)
    cuda.enqueue(stream, lambda: cuda.view(memory, (16,)))
    assert status(cuda.cudaStreamSynchronize(stream)) == "IllegalAddress"
    assert status(cuda.cudaMalloc(64)) == "IllegalAddress"


def test_freeing_memory_waits_for_its_use(cuda: HostCuda, stream: int, memory: int) -> None:
    done = []
    cuda.enqueue(stream, lambda: done.append(cuda.view(memory, (16,))))
    assert status(cuda.cudaFree(memory)) == "cudaSuccess"
    assert len(done) == 1


def test_streams_and_graphs_that_are_gone_are_refused(cuda: HostCuda, stream: int) -> None:
    cuda.cudaStreamBeginCapture(stream, 1)
    _, graph = cuda.cudaStreamEndCapture(stream)
    _, executable = cuda.cudaGraphInstantiate(graph, 0)
    for destroy, use in (
        ((cuda.cudaGraphDestroy, graph), (cuda.cudaGraphInstantiate, graph, 0)),
        ((cuda.cudaGraphExecDestroy, executable), (cuda.cudaGraphLaunch, executable, stream)),
    ):
        assert status(destroy[0](*destroy[1:])) == "cudaSuccess"
        assert status(destroy[0](*destroy[1:])) == "InvalidValue"
        assert status(use[0](*use[1:])) == "InvalidValue"
    cuda.cudaStreamDestroy(stream)
    assert status(cuda.cudaStreamSynchronize(stream)) == "InvalidResourceHandle"


@pytest.mark.parametrize("misuse", ["wait", "allocate", "free", "copy"])
def test_what_a_capture_does_not_allow_spoils_it(misuse: str, cuda: HostCuda, stream: int, memory: int) -> None:
    host = np.zeros(16, np.float32)
    uses = {
        "wait": lambda: cuda.cudaStreamSynchronize(stream),
        "allocate": lambda: cuda.cudaMalloc(64),
        "free": lambda: cuda.cudaFree(memory),
        "copy": lambda: cuda.cudaMemcpyAsync(memory, host.ctypes.data, 64, TO_DEVICE, stream),
    }
    cuda.cudaStreamBeginCapture(stream, 1)
    assert status(uses[misuse]()) == "StreamCaptureUnsupported"
    assert status(cuda.cudaStreamEndCapture(stream)) == "StreamCaptureInvalidated"
    assert status(cuda.cudaStreamSynchronize(stream)) == "cudaSuccess"


def test_captures_begin_and_end_once_and_in_one_thread(cuda: HostCuda, stream: int) -> None:
    assert status(cuda.cudaStreamEndCapture(stream)) == "IllegalState"
    cuda.cudaStreamBeginCapture(stream, 1)
    assert status(cuda.cudaStreamBeginCapture(stream, 1)) == "IllegalState"
    answers = []
    thread = threading.Thread(target=lambda: answers.append(cuda.cudaStreamEndCapture(stream)))
    thread.start()
    thread.join()
    assert status(answers[0]) == "StreamCaptureWrongThread"
    assert status(cuda.cudaStreamEndCapture(stream)) == "cudaSuccess"


def test_a_graph_repeats_what_was_recorded(cuda: HostCuda, stream: int) -> None:
    done = []
    cuda.cudaStreamBeginCapture(stream, 1)
    cuda.enqueue(stream, lambda: done.append(1))
    _, graph = cuda.cudaStreamEndCapture(stream)
    _, executable = cuda.cudaGraphInstantiate(graph, 0)
    cuda.cudaStreamSynchronize(stream)
    assert done == []
    for _ in range(3):
        cuda.cudaGraphLaunch(executable, stream)
    assert done == []
    cuda.cudaStreamSynchronize(stream)
    assert done == [1, 1, 1]


def test_devices_are_each_thread_s_own(cuda: HostCuda, stream: int) -> None:
    cuda.cudaSetDevice(1)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(cuda.cudaGetDevice()))
    thread.start()
    thread.join()
    assert (seen, cuda.cudaGetDevice()) == ([(Status.cudaSuccess, 0)], (Status.cudaSuccess, 1))
    assert status(cuda.cudaSetDevice(2)) == "InvalidDevice"
    graph = cuda.cudaStreamBeginCapture(stream, 1) and cuda.cudaStreamEndCapture(stream)[1]
    assert status(cuda.cudaGraphLaunch(cuda.cudaGraphInstantiate(graph, 0)[1], stream)) == "InvalidResourceHandle"


def test_other_threads_run_inside_a_copy(cuda: HostCuda, stream: int, memory: int) -> None:
    host, inside = np.zeros(16, np.float32), []
    cuda.meanwhile = lambda: inside.append(cuda.cudaGetDeviceCount())  # which would wait for ever behind a lock
    cuda.cudaMemcpyAsync(memory, host.ctypes.data, 64, TO_DEVICE, stream)
    assert len(inside) == 1
