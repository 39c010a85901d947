"""CUDA's runtime API on host memory, called as cuda-python's is; README.md says what it stands for."""

import ctypes
import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace

import numpy as np

PAGE = 256  # bytes, of every address that cudaMalloc gives
UNWRITTEN = 0xFF  # four of these bytes are a NaN


class Status(IntEnum):
    """The errors that are given here, with the values of `cudaError_t`."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInvalidDevice = 101
    cudaErrorInvalidResourceHandle = 400
    cudaErrorIllegalState = 401
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901
    cudaErrorStreamCaptureWrongThread = 908


class Refused(Exception):
    """What a call ends with; the status is what the caller gets."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass
class Memory:
    """Device memory: where it begins, its bytes, its device."""

    address: int
    size: int
    device: int
    owner: object = field(repr=False)


@dataclass
class Capture:
    """What is recorded of a stream instead of executed."""

    thread: int
    work: list[Callable[[], None]] = field(default_factory=list)
    valid: bool = True


@dataclass
class Stream:
    """Work in its order, none of which is done before someone waits for it."""

    device: int
    work: list[Callable[[], None]] = field(default_factory=list)
    capture: Capture | None = None


@dataclass(eq=False)
class Graph:
    """Recorded work, or what was made of it for launching."""

    work: tuple[Callable[[], None], ...]


def api(*results: object):
    """A function of the runtime: returns the status first, and these results where it fails."""

    def decorate(function):
        @functools.wraps(function)
        def call(self, *arguments):
            self.calls.append((function.__name__, self.device))
            with self._lock:
                try:
                    self._check(function.__name__)
                    result = function(self, *arguments)
                except Refused as refusal:
                    self.last_error = refusal.status
                    answer = (refusal.status, *results)
                else:
                    answer = (Status.cudaSuccess,) if not results else (Status.cudaSuccess, result)
            if function.__name__ in WAITING:
                self.meanwhile()  # the lock is free: other threads run before this call returns
            return answer

        return call

    return decorate


WAITING = ("cudaMemcpyAsync", "cudaStreamSynchronize", "cudaGraphLaunch")  # cuda-python lets other threads run inside


class HostCuda:
    """The runtime.

    Attributes:
        memory: What `cudaMalloc` gave and `cudaFree` did not take back, by address.
        lent: Memory of another library on a device, by address.
        graphs, recorded: Executable graphs, and graphs, that were not destroyed.
        launches: Of graphs.
        limit: Bytes that one `cudaMalloc` may ask for.
        fails: What a function fails with, by its name.
        meanwhile: Called inside every copy, launch and wait, with nothing locked.
        calls: Of all calls the function's name, and the device that was current.
        last_error: What `cudaGetLastError` would give.
    """

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaDeviceAttr = SimpleNamespace(cudaDevAttrComputeCapabilityMajor=75, cudaDevAttrComputeCapabilityMinor=76)
    cudaStreamNonBlocking = 1

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self.memory: dict[int, Memory] = {}
        self.lent: dict[int, Memory] = {}
        self.graphs: set[Graph] = set()
        self.recorded: set[Graph] = set()
        self.launches = 0
        self.limit = 1 << 20
        self.fails: dict[str, Status] = {}
        self.meanwhile: Callable[[], None] = functools.partial(time.sleep, 0)
        self.calls: list[tuple[str, int]] = []
        self.last_error = Status.cudaSuccess
        self._streams: dict[int, Stream] = {}
        self._broken = False  # after an illegal address nothing works any more
        self._current = threading.local()
        self._lock = threading.RLock()

    @property
    def streams(self) -> int:
        """How many streams were not destroyed."""
        return len(self._streams)

    @property
    def device(self) -> int:
        """The calling thread's current device."""
        return getattr(self._current, "device", 0)

    def lend(self, array: np.ndarray, device: int = 0) -> None:
        """Take an array for another library's memory on a device."""
        self.lent[array.ctypes.data] = Memory(array.ctypes.data, array.nbytes, device, array)

    # What kernels do

    def enqueue(self, handle: int, work: Callable[[], None]) -> None:
        """Launch a kernel: it is recorded if the stream is captured, else done when someone waits."""
        with self._lock:
            stream = self._stream(handle)
            if stream.device != self.device:
                raise Refused(Status.cudaErrorInvalidResourceHandle)
            (stream.work if stream.capture is None else stream.capture.work).append(work)

    def view(self, address: int, shape: tuple[int, ...]) -> np.ndarray:
        """float32 values on the device."""
        count = int(np.prod(shape))
        if self._find(address, 4 * count) is None:
            raise Refused(Status.cudaErrorIllegalAddress)
        return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)

    # Devices

    @api(None)
    def cudaGetDeviceCount(self) -> int:
        return self.devices

    @api()
    def cudaSetDevice(self, index: int) -> None:
        if not 0 <= index < self.devices:
            raise Refused(Status.cudaErrorInvalidDevice)
        self._current.device = index

    @api(None)
    def cudaGetDevice(self) -> int:
        return self.device

    @api(None)
    def cudaDeviceGetAttribute(self, attribute: int, index: int) -> int:
        if not 0 <= index < self.devices:
            raise Refused(Status.cudaErrorInvalidDevice)
        return {75: 8, 76: 6}[attribute]

    def cudaGetLastError(self) -> tuple[Status]:
        last, self.last_error = self.last_error, Status.cudaSuccess
        return (last,)

    # Memory

    @api(None)
    def cudaMalloc(self, size: int) -> int:
        self._refuse_while_capturing()
        if size > self.limit:
            raise Refused(Status.cudaErrorMemoryAllocation)
        if size < 1:
            raise Refused(Status.cudaErrorInvalidValue)
        buffer = np.full(size + PAGE, UNWRITTEN, np.uint8)
        address = -(-buffer.ctypes.data // PAGE) * PAGE
        self.memory[address] = Memory(address, size, self.device, buffer)
        return address

    def cudaMemGetInfo(self) -> tuple[Status, int, int]:
        used = sum(memory.size for memory in self.memory.values())
        return Status.cudaSuccess, (1 << 30) - used, 1 << 30

    @api()
    def cudaFree(self, address: int) -> None:
        self._refuse_while_capturing()
        if address not in self.memory:
            raise Refused(Status.cudaErrorInvalidValue)
        for stream in self._streams.values():  # it waits for the device
            self._drain(stream)
        del self.memory[address]

    @api()
    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, handle: int) -> None:
        stream = self._stream(handle)
        if stream.capture is not None:  # of memory that is not pinned
            stream.capture.valid = False
            raise Refused(Status.cudaErrorStreamCaptureUnsupported)
        on_device, on_host = (target, source) if kind == 1 else (source, target)
        if self._find(on_device, size) is None or self._find(on_host, 1) is not None:
            raise Refused(Status.cudaErrorInvalidValue)

        def copy() -> None:
            if self._find(on_device, size) is None:
                raise Refused(Status.cudaErrorIllegalAddress)
            ctypes.memmove(target, source, size)

        stream.work.append(copy)

    # Streams

    @api(None)
    def cudaStreamCreateWithFlags(self, flags: int) -> int:
        handle = max(self._streams, default=6) + 1
        self._streams[handle] = Stream(self.device)
        return handle

    @api()
    def cudaStreamDestroy(self, handle: int) -> None:
        self._stream(handle)
        del self._streams[handle]

    @api()
    def cudaStreamSynchronize(self, handle: int) -> None:
        stream = self._stream(handle)
        if stream.capture is not None:
            stream.capture.valid = False
            raise Refused(Status.cudaErrorStreamCaptureUnsupported)
        self._drain(stream)

    # Graphs

    @api()
    def cudaStreamBeginCapture(self, handle: int, mode: int) -> None:
        stream = self._stream(handle)
        if stream.capture is not None:
            raise Refused(Status.cudaErrorIllegalState)
        stream.capture = Capture(threading.get_ident())

    @api(None)
    def cudaStreamEndCapture(self, handle: int) -> Graph:
        stream = self._stream(handle)
        capture = stream.capture
        if capture is None:
            raise Refused(Status.cudaErrorIllegalState)
        if capture.thread != threading.get_ident():
            raise Refused(Status.cudaErrorStreamCaptureWrongThread)
        stream.capture = None
        if not capture.valid:
            raise Refused(Status.cudaErrorStreamCaptureInvalidated)
        graph = Graph(tuple(capture.work))
        self.recorded.add(graph)
        return graph

    @api(None)
    def cudaGraphInstantiate(self, graph: Graph, flags: int) -> Graph:
        if graph not in self.recorded:
            raise Refused(Status.cudaErrorInvalidValue)
        executable = Graph(graph.work)
        self.graphs.add(executable)
        return executable

    @api()
    def cudaGraphDestroy(self, graph: Graph) -> None:
        if graph not in self.recorded:
            raise Refused(Status.cudaErrorInvalidValue)
        self.recorded.remove(graph)

    @api()
    def cudaGraphExecDestroy(self, executable: Graph) -> None:
        if executable not in self.graphs:
            raise Refused(Status.cudaErrorInvalidValue)
        self.graphs.remove(executable)

    @api()
    def cudaGraphLaunch(self, executable: Graph, handle: int) -> None:
        stream = self._stream(handle)
        if executable not in self.graphs:
            raise Refused(Status.cudaErrorInvalidValue)
        if stream.device != self.device:
            raise Refused(Status.cudaErrorInvalidResourceHandle)
        self.launches += 1
        stream.work.extend(executable.work)

    def _check(self, name: str) -> None:
        if self._broken:
            raise Refused(Status.cudaErrorIllegalAddress)
        if name in self.fails:
            if name == "cudaStreamEndCapture":
                for stream in self._streams.values():
                    stream.capture = None
            raise Refused(self.fails[name])

    def _stream(self, handle: int) -> Stream:
        if handle not in self._streams:
            raise Refused(Status.cudaErrorInvalidResourceHandle)
        return self._streams[handle]

    def _find(self, address: int, size: int) -> Memory | None:
        for memory in (*self.memory.values(), *self.lent.values()):
            if memory.address <= address and address + size <= memory.address + memory.size:
                return memory
        return None

    def _refuse_while_capturing(self) -> None:
        """Of a thread that captures in the mode thread-local, which may not do what waits for the device."""
        for stream in self._streams.values():
            if stream.capture is not None and stream.capture.thread == threading.get_ident():
                stream.capture.valid = False
                raise Refused(Status.cudaErrorStreamCaptureUnsupported)

    def _drain(self, stream: Stream) -> None:
        while stream.work:
            try:
                stream.work.pop(0)()
            except Refused:
                self._broken = True
                raise
