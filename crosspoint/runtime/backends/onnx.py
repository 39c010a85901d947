"""ONNX Runtime backend: on the CPU, on CUDA, and on CUDA through ONNX Runtime's own TensorRT provider."""

import contextlib
import ctypes
import hashlib
import io
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.errors import InputError, Unsupported, install_command, require
from crosspoint.core.reading import read_bytes, reading
from crosspoint.core.system.processes import available_cpus
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.onnx_guard import check_model
from crosspoint.runtime.backends.onnx_interface import names_of, specify
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.inputs import FloatArray
from crosspoint.runtime.open_model import read_same
from crosspoint.runtime.specification import parse_device

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "onnxruntime": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}
NO_FALLBACK = "fallback to CPU EP has been explicitly disabled"  # in ONNX Runtime's message


class OnnxEncoder(Encoder):
    """Runs an ONNX file with ONNX Runtime, on exactly the provider that was asked for.

    Files of `crosspoint export` describe themselves in their metadata. Other files work if they map one float32 input
    `(B, N, 3)` to one output `(B, D)`, whatever their names; of several outputs, `embedding` is taken. If the file does
    not say D, one cloud is run to learn it.

    On the CPU the clouds of a batch are run one by one, so that memory and results are those of single clouds. If there
    are at least as many clouds as threads, each cloud runs on one thread: no thread waits, and the data of a cloud stay
    in the cache. Otherwise each cloud uses all threads.

    Args:
        path: The `.onnx` file.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.
        backend: `"onnxruntime"`, or `"onnxruntime-tensorrt"` for ONNX Runtime's TensorRT provider.
        threads: CPU threads; None: as many as this process may use.
        operators: On the CPU, use this package's operators if they are installed. False: standard ONNX only.
        content: The bytes of the file, if they were read and checked before; the file is then not read again.

    Raises:
        InputError: The file is damaged or another kind of model, or the provider does not load.
        MissingDependency: onnxruntime is not installed.
    """

    _sessions: "_Sessions | None" = None

    def __init__(
        self,
        path: Path,
        device: str = "cpu",
        *,
        backend: str = "onnxruntime",
        threads: int | None = None,
        operators: bool = True,
        content: bytes | None = None,
    ) -> None:
        index = parse_device(device)
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; give at least 1")
        runtime = require("onnxruntime", "cpu" if index is None else "gpu", purpose="running an ONNX model")
        provider = _provider(runtime, path, index, backend)
        self._threads = threads or available_cpus() if index is None else 1
        fast = operators and index is None and kernels.available()
        if index is not None:
            load_cuda(runtime)
        content = read_bytes(path, kernels.BYTES) if content is None else content
        self._opener = partial(_Opener, runtime, path.absolute(), provider=provider, index=index, fast=fast)
        opener = self._opener(content=content)
        session = opener.session(self._threads)
        engine = f"ONNX Runtime {runtime.__version__}{', crosspoint operators' if opener.has_operators else ''}"
        where = "cpu" if index is None else f"cuda:{index}"
        digest = hashlib.sha256(content).hexdigest()
        self.specification = specify(session, path, digest=digest, device=where, backend=backend, engine=engine)
        self._names = names_of(session)
        self._divides = index is None and self.specification.max_batch is None
        self._opening = threading.Lock()
        self._sessions = _Sessions(session, opener, self._threads)
        self._arguments = {
            "path": path.absolute(),
            "device": device,
            "backend": backend,
            "threads": threads,
            "operators": operators,
        }

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run the session once, or on the CPU once per cloud."""
        sessions = self._opened()
        batch = len(inputs["points"])
        inputs = {self._names.get(name, name): array for name, array in inputs.items()}
        try:
            if not self._divides:
                call = _Call(sessions.whole, inputs).piece(sessions.whole, 0, batch)
            elif self._threads == 1 or batch < self._threads:
                call = _Call(sessions.whole, inputs)
                for i in range(batch):
                    call.piece(sessions.whole, i, i + 1)
            else:
                by_cloud, pool = sessions.for_clouds()
                call = _Call(by_cloud, inputs)
                list(pool.map(lambda i: call.piece(by_cloud, i, i + 1), range(batch)))
            ours = {theirs: name for name, theirs in self._names.items()}
            return {ours.get(name, name): array for name, array in call.results().items()}
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise InputError(
                f"{self.specification.path} failed on {shapes} ({_line(error)}); give the number of points of "
                "the export, or a smaller batch"
            ) from error

    def profile(self, inputs: Mapping[str, FloatArray], *, calls: int) -> Path:
        """Run inputs several times in a session of its own; returns ONNX Runtime's profile, a temporary JSON file."""
        with self._in_use():
            import tempfile

            content = read_same(self._arguments["path"], self.specification.sha256)
            prefix = Path(tempfile.gettempdir()) / f"crosspoint-{os.getpid()}"
            session = self._opener(content=content).session(self._threads, prefix)
            named = {self._names.get(name, name): array for name, array in inputs.items()}
            for _ in range(calls):
                session.run(None, named)
            return Path(session.end_profiling())

    def _opened(self) -> "_Sessions":
        """The sessions of this process; a forked child opens its own at its first call."""
        with self._opening:
            self._check_usable()
            if self._sessions is None:
                content = read_same(self._arguments["path"], self.specification.sha256)
                opener = self._opener(content=content)
                self._sessions = _Sessions(opener.session(self._threads), opener, self._threads)
            return self._sessions

    def _free(self) -> None:
        """Close the sessions and end their threads."""
        with self._opening:
            if self._sessions is not None:
                self._sessions.close()
            self._sessions = None

    def _after_fork(self) -> None:
        """Keep the parent's sessions for ever: closing one would wait for threads that the child does not have."""
        if self._sessions is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._sessions))
        self._sessions, self._opening = None, threading.Lock()


class _Sessions:
    """The sessions of a process: one on all threads and, from the first large batch on, one for single clouds."""

    def __init__(self, whole: Any, opener: "_Opener", threads: int) -> None:
        self.whole = whole
        self._opener, self._threads, self._opening = opener, threads, threading.Lock()
        self._by_cloud: tuple[Any, ThreadPoolExecutor] | None = None

    def for_clouds(self) -> tuple[Any, ThreadPoolExecutor]:
        """A session on one thread, and a pool of threads that each run it on a cloud."""
        with self._opening:
            if self._by_cloud is None:
                self._by_cloud = self._opener.session(1), ThreadPoolExecutor(self._threads, "crosspoint-onnx")
            return self._by_cloud

    def close(self) -> None:
        """End the threads."""
        if self._by_cloud is not None:
            self._by_cloud[1].shutdown()


class _Opener:
    """Opens the content of a file on one provider, any number of times."""

    def __init__(self, runtime: Any, path: Path, content: bytes, provider: str, index: int | None, fast: bool) -> None:
        self._runtime, self._path, self._provider, self._index = runtime, path, provider, index
        with reading(path, "an ONNX model", advice="export the model again"):
            check_model(content)
        try:
            model = kernels.with_kernels(content) if fast else None
        except Exception as error:  # protobuf and onnx have no common base class for errors
            raise self._damaged(error) from error
        self.has_operators = model is not None
        self._model = content if model is None else model

    def session(self, threads: int, profile: Path | None = None) -> Any:
        """Open a session; raises InputError if the file is damaged or its provider did not load.

        Args:
            threads: CPU threads.
            profile: Beginning of the file for the times of its nodes; None: none are taken.
        """
        options = self._runtime.SessionOptions()
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        options.intra_op_num_threads = threads
        options.enable_mem_pattern = self._index is not None  # on the CPU it holds a second copy of all large tensors
        options.log_severity_level = 4  # errors are raised, so they need not be printed too
        if self._index is not None:  # a node without a GPU kernel must be an error, not run on the CPU
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            if self.has_operators:
                options.register_custom_ops_library(str(kernels.LIBRARY))
            providers = _provider_options(self._provider, self._index)
            session = self._runtime.InferenceSession(self._model, options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if NO_FALLBACK in str(error):
                raise self._not_loaded() from error
            if is_unsupported(error):
                raise Unsupported(
                    f"{self._path} needs a kernel that {self._provider} of ONNX Runtime "
                    f"{self._runtime.__version__} lacks ({_line(error)}); give another --device, or a bundle in "
                    "another precision"
                ) from error
            raise self._damaged(error) from error
        if self._provider not in session.get_providers():
            raise self._not_loaded()
        return session

    def _not_loaded(self) -> InputError:
        return InputError(
            f"{self._provider} did not load for {self._path}, or lacks a kernel for one of its nodes; install the CUDA "
            "and cuDNN (and TensorRT) versions that this onnxruntime-gpu needs, or give --device cpu"
        )

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"ONNX Runtime cannot open {self._path} ({_line(error)}); export the model again")


def is_unsupported(error: Exception) -> bool:
    """Whether ONNX Runtime refused a model because it lacks a kernel for it, and not because of damage."""
    return type(error).__name__ == "NotImplemented"


class _Call:
    """One call with a batch. Parts of the batch read and write slices of the same arrays."""

    def __init__(self, session: Any, inputs: Mapping[str, FloatArray]) -> None:
        self._inputs = inputs
        batch = len(next(iter(inputs.values())))
        sizes = {
            name: size
            for value in session.get_inputs()
            if value.shape  # a foreign file may state none
            for name, size in zip(value.shape, inputs[value.name].shape, strict=True)
        }
        self._arrays: dict[str, FloatArray] = {}
        self._others: dict[str, dict[int, FloatArray]] = {}  # outputs of unknown shape, or not float32
        for output in session.get_outputs():
            shape = [sizes.get(size, size) for size in output.shape or []]
            known = shape and shape[0] == batch and all(isinstance(size, int) for size in shape)
            if known and output.type == "tensor(float)":
                self._arrays[output.name] = np.empty(shape, np.float32)
            else:
                self._others[output.name] = {}

    def piece(self, session: Any, start: int, stop: int) -> "_Call":
        """Run clouds start to stop."""
        binding = session.io_binding()
        for name, array in self._inputs.items():
            binding.bind_cpu_input(name, array[start:stop])
        for name, array in self._arrays.items():
            rows = array[start:stop]
            binding.bind_output(name, "cpu", 0, rows.dtype, rows.shape, rows.ctypes.data)
        for name in self._others:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        if self._others:
            values = dict(zip((*self._arrays, *self._others), binding.get_outputs(), strict=True))
            for name, pieces in self._others.items():
                pieces[start] = values[name].numpy()
        return self

    def results(self) -> dict[str, FloatArray]:
        """All outputs by name."""
        others = {name: np.concatenate([pieces[i] for i in sorted(pieces)]) for name, pieces in self._others.items()}
        return self._arrays | others


def _provider(runtime: Any, path: Path, index: int | None, backend: str) -> str:
    if index is None and backend == "onnxruntime-tensorrt":
        raise InputError(f"backend {backend} runs on a GPU only; give --device cuda, or --backend onnxruntime")
    provider = PROVIDERS["cpu" if index is None else backend]
    available = runtime.get_available_providers()
    if provider not in available:
        raise InputError(
            f"{path} cannot run on {provider}: the installed ONNX Runtime {runtime.__version__} has only "
            f"{', '.join(available)}; give --device cpu, or install the GPU build: pip uninstall -y onnxruntime && "
            f"{install_command('gpu')}"
        )
    return provider


def load_cuda(runtime: Any) -> None:
    """Let ONNX Runtime find the CUDA and cuDNN that the extra `gpu` installs. Call it before a session is opened."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints missing libraries; the provider's error names them
        runtime.preload_dlls()
    runtime.set_default_logger_severity(3)  # errors only: it warns that CUDA is not a plug-in, which is fine


def _provider_options(provider: str, index: int | None) -> list[tuple[str, dict[str, str]]]:
    if index is None:
        return [(provider, {})]
    cuda = ("CUDAExecutionProvider", {"device_id": str(index), "use_tf32": "0"})
    if provider == "CUDAExecutionProvider":
        return [cuda]
    turn_tf32_off()
    return [(provider, {"device_id": str(index)}), cuda]  # CUDA runs what TensorRT does not support


def turn_tf32_off() -> None:
    """Switch TF32 off for ONNX Runtime's TensorRT provider, which has no option for it; read once per process."""
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"


def _line(error: Exception) -> str:
    """The message of an exception on one line, cut if it is long."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
