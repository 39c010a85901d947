"""ONNX Runtime backend: on the CPU, on CUDA, and on CUDA through ONNX Runtime's own TensorRT provider."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosspoint.artefacts import sha256
from crosspoint.errors import InputError, require
from crosspoint.runtime.encoder import Encoder, FloatArray, Specification, interface, parse_device

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "onnxruntime": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}


class OnnxEncoder(Encoder):
    """A session on exactly the provider that was asked for.

    Files of `crosspoint export` say in their metadata what they hold; a foreign file works when it maps a float32 input
    `points (B, N, 3)` to an output `embedding (B, D)`.

    Args:
        path: The `.onnx` file.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.
        backend: `"onnxruntime"`, or `"onnxruntime-tensorrt"` for its TensorRT provider.
        threads: For the CPU; by default as many as this process may run on at once.

    Raises:
        InputError: The file is damaged or another kind of model, or the provider does not load.
        MissingDependency: onnxruntime is not installed.
    """

    def __init__(
        self, path: Path, device: str = "cpu", backend: str = "onnxruntime", threads: int | None = None
    ) -> None:
        index = parse_device(device)
        if not path.is_file():
            raise InputError(f"{path} does not exist; give an .onnx file or a bundle")
        runtime = require("onnxruntime", "cpu" if index is None else "gpu", "running an ONNX model")
        provider = _provider(runtime, path, index, backend)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or available_cpus()
        options.log_severity_level = 4  # errors are raised; they need not be printed as well
        try:
            session = runtime.InferenceSession(path, options, providers=_provider_options(provider, index))
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise InputError(f"ONNX Runtime cannot open {path} ({_line(error)}); export the model again") from error
        if provider not in session.get_providers():
            raise InputError(
                f"{provider} did not load for {path}, only {', '.join(session.get_providers())}; install the CUDA "
                "and cuDNN (for TensorRT also TensorRT) versions of this onnxruntime-gpu, or give --device cpu"
            )
        self._session: Any = session
        self.specification = _specification(session, path, "cpu" if index is None else f"cuda:{index}", backend)

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """One call of the session."""
        assert self._session is not None, "the encoder was closed"
        names = [output.name for output in self._session.get_outputs()]
        try:
            results = self._session.run(names, dict(inputs))
        except Exception as error:  # as above
            shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise InputError(
                f"{self.specification.path} failed on {shapes} ({_line(error)}); give it the number of points that it "
                "was made for, or a smaller batch"
            ) from error
        return dict(zip(names, results, strict=True))

    def close(self) -> None:
        """End the session."""
        self._session = None


def available_cpus() -> int:
    """Logical CPUs that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _provider(runtime: Any, path: Path, index: int | None, backend: str) -> str:
    if index is None and backend == "onnxruntime-tensorrt":
        raise InputError(f"backend {backend} runs on a GPU only; give --device cuda, or --backend onnxruntime")
    provider = PROVIDERS["cpu" if index is None else backend]
    available = runtime.get_available_providers()
    if provider not in available:
        raise InputError(
            f"{path} was to run on {provider}, and this ONNX Runtime {runtime.__version__} has only "
            f"{', '.join(available)}; give --device cpu, or replace onnxruntime by pip install 'crosspoint3d[gpu]'"
        )
    return provider


def _provider_options(provider: str, index: int | None) -> list[tuple[str, dict[str, str]]]:
    if index is None:
        return [(provider, {})]
    cuda = ("CUDAExecutionProvider", {"device_id": str(index), "use_tf32": "0"})
    if provider == "CUDAExecutionProvider":
        return [cuda]
    return [(provider, {"device_id": str(index)}), cuda]  # TensorRT leaves to CUDA what it does not support


def _specification(session: Any, path: Path, device: str, backend: str) -> Specification:
    inputs = {value.name: value for value in session.get_inputs()}
    outputs = {value.name: value for value in session.get_outputs()}
    output = outputs[interface(path, inputs, outputs)]
    for value in (*inputs.values(), output):
        if value.type != "tensor(float)":
            raise InputError(f"{path}: {value.name} is a {value.type}; its inputs and outputs have to be float32")
    shape, dim = inputs["points"].shape, output.shape[-1] if output.shape else None
    if len(shape) != 3 or shape[2] != 3 or not isinstance(dim, int):
        raise InputError(
            f"{path} maps points {shape} to {output.name} {output.shape}; points have to be (B, N, 3), and the last "
            "dimension of the output a fixed number"
        )
    metadata = _metadata(session, path)
    batch, points = (size if isinstance(size, int) else None for size in shape[:2])
    model = metadata.get("model", {})
    return Specification(
        architecture=str(model.get("architecture", "unknown")),
        dim=dim,
        points=points,
        max_batch=batch,
        precision=str(metadata.get("precision", "fp32")),
        backend=backend,
        device=device,
        sha256=sha256(path),
        path=str(path),
        min_points=int(metadata.get("k") or 1),
        min_batch=batch or 1,
        categories=_categories(inputs, path),
    )


def _categories(inputs: dict[str, Any], path: Path) -> int | None:
    if "category" not in inputs:
        return None
    shape = inputs["category"].shape
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise InputError(f"{path} takes category {shape}; it has to be (B, categories) with a fixed last number")
    return shape[1]


def _metadata(session: Any, path: Path) -> dict[str, Any]:
    """What the exporter wrote into the file; empty for a foreign one."""
    text = session.get_modelmeta().custom_metadata_map.get("crosspoint", "{}")
    try:
        values = json.loads(text)
        if isinstance(values, dict) and isinstance(values.get("model", {}), dict):
            int(values.get("k") or 1)
            return values
    except (TypeError, ValueError):
        pass
    raise InputError(f"{path} has damaged crosspoint metadata; export the model again")


def _line(error: Exception) -> str:
    """An exception's message on one line, cut where it gets long."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
