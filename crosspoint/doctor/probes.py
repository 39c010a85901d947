"""Asks each package for training or inference about itself and the GPU, in a process of its own.

A package that is missing, hangs or crashes is one of the answers. Nothing heavy is imported here.
"""

import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from crosspoint.core.results import from_json, to_json
from crosspoint.doctor.facts import (
    Broken,
    CudaFacts,
    OnnxRuntimeFacts,
    Package,
    PackageAnswers,
    TensorRTFacts,
    TorchDevice,
    TorchFacts,
)

SECONDS = 60.0  # time that a package has to answer
MARK = "crosspoint-facts:"
IDENTITY = bytes.fromhex(  # an ONNX model, y = x, opset 13
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02"
    "080142040a00100d"
)
DEVICE_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


def torch_facts() -> TorchFacts:
    """PyTorch, its CUDA, and the devices that it sees."""
    torch: Any = importlib.import_module("torch")
    devices = []
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        capability = f"sm{properties.major}{properties.minor}"
        devices.append(
            TorchDevice(
                name=properties.name,
                compute_capability=capability,
                memory_gib=round(properties.total_memory / 2**30, 1),
                supported=_supported(torch.cuda.get_arch_list(), properties.major, properties.minor),
            )
        )
    return TorchFacts(
        version=torch.__version__,
        cuda_build=torch.version.cuda,
        cuda_available=torch.cuda.is_available(),
        cudnn=torch.backends.cudnn.version() if torch.cuda.is_available() else None,
        nccl=".".join(map(str, torch.cuda.nccl.version())) if torch.cuda.is_available() else None,
        bf16=torch.cuda.is_bf16_supported() if torch.cuda.is_available() else None,
        devices=tuple(devices),
    )


def _supported(built_for: list[str], major: int, minor: int) -> bool:
    """Whether a build of torch has code for a GPU: for its major version, or as PTX that is compiled at run time."""
    numbers = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", arch) for arch in built_for]
    compiled = [(int(match[2]), int(match[3])) for match in numbers if match and match[1] == "sm"]
    sources = [(int(match[2]), int(match[3])) for match in numbers if match and match[1] == "compute"]
    return any(a == major and b <= minor for a, b in compiled) or any(pair <= (major, minor) for pair in sources)


def onnxruntime_facts() -> OnnxRuntimeFacts:
    """ONNX Runtime's version, and which of its providers can load a model."""
    from crosspoint.runtime.backends.kernels import lacks_bf16

    runtime: Any = importlib.import_module("onnxruntime")
    listed = runtime.get_available_providers()
    wanted = [name for name in listed if name in DEVICE_PROVIDERS or name == "CPUExecutionProvider"]
    if set(wanted) & set(DEVICE_PROVIDERS):
        from crosspoint.runtime.backends.onnx import load_cuda

        load_cuda(runtime)
    providers = {name: _provider_trouble(runtime, name) for name in wanted}
    return OnnxRuntimeFacts(
        version=runtime.__version__, listed=tuple(listed), providers=providers, lacks_bf16=lacks_bf16()
    )


def _provider_trouble(runtime: Any, name: str) -> str | None:
    """Why a provider does not load; None if it loads."""
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(IDENTITY, options, providers=[name])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        return " ".join(str(error).split())[:300]
    return (
        None if name in session.get_providers() else f"not loaded; the session has {', '.join(session.get_providers())}"
    )


def tensorrt_facts(module: str = "tensorrt") -> TensorRTFacts:
    """TensorRT or TensorRT-RTX: its version, and the GPUs that it can build for."""
    trt: Any = importlib.import_module(module)
    targets = getattr(trt, "ComputeCapability", None)
    return TensorRTFacts(
        version=trt.__version__,
        onnx_parser=hasattr(trt, "OnnxParser"),
        targets=tuple(sorted(targets.__members__)) if targets is not None else None,
    )


def tensorrt_rtx_facts() -> TensorRTFacts:
    """TensorRT-RTX."""
    return tensorrt_facts("tensorrt_rtx")


def cuda_facts() -> CudaFacts:
    """The CUDA runtime and its devices, through cuda-python."""
    from crosspoint.core.errors import CrosspointError
    from crosspoint.runtime.backends.cuda import call, compute_capability, cuda_runtime, device_count

    cuda = cuda_runtime()
    version, driver, devices = importlib.metadata.version("cuda-bindings"), None, tuple[str, ...]()
    try:
        driver = _cuda_version(call(cuda.cudaDriverGetVersion))
        devices = tuple(compute_capability(i) for i in range(device_count()))
        runtime = _cuda_version(call(cuda.cudaRuntimeGetVersion))
    except CrosspointError as error:
        return CudaFacts(version=version, devices=devices, reason=str(error), driver_supports=driver)
    return CudaFacts(version=version, devices=devices, reason=None, driver_supports=driver, runtime=runtime)


def _cuda_version(number: int) -> str | None:
    """The version of a number: 12040 is 12.4; 0 is no driver."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


PROBES: dict[str, Callable[[], Package]] = {
    "torch": torch_facts,
    "onnxruntime": onnxruntime_facts,
    "tensorrt": tensorrt_facts,
    "tensorrt_rtx": tensorrt_rtx_facts,
    "cuda_python": cuda_facts,
}


def ask_all() -> PackageAnswers:
    """Ask all packages at the same time."""
    with ThreadPoolExecutor(len(PROBES)) as pool:
        return from_json(PackageAnswers, dict(zip(PROBES, pool.map(_ask, PROBES), strict=True)))


def _ask(name: str) -> object:
    """The answer of a package as JSON."""
    command = [sys.executable, "-c", f"from crosspoint.doctor.probes import answer; answer({name!r})"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return to_json(Broken(installed=True, reason=f"did not answer within {SECONDS:g} s"))
    answers = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if answers:
        return json.loads(answers[-1].removeprefix(MARK))
    said = " ".join(done.stderr.split())[-300:]
    return to_json(Broken(installed=True, reason=f"ended with {done.returncode} while being imported: {said}"))


def answer(name: str) -> None:
    """Print the facts of one package as one line of JSON."""
    from crosspoint.core.errors import MissingDependency

    try:
        found = PROBES[name]()
    except ModuleNotFoundError as error:
        own = (error.name or "").partition(".")[0] == name
        found = Broken(installed=not own, reason=str(error))
    except MissingDependency as error:
        found = Broken(installed=False, reason=str(error))
    except Exception as error:  # a broken installation can raise anything
        found = Broken(installed=True, reason=" ".join(f"{type(error).__name__}: {error}".split())[:300])
    print(MARK + json.dumps(to_json(found)), flush=True)


def version(distribution: str) -> str | None:
    """Version of an installed distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
