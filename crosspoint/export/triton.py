"""Writes a bundle's model into an NVIDIA Triton model repository (triton-inference-server: model_configuration).

`tritonserver --model-repository=DIR` serves `DIR/<name of the bundle>/config.pbtxt` with `…/1/model.plan` or
`…/1/model.onnx`.
"""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_folder
from crosspoint.core.outputs import check_folder, check_known, check_replaceable
from crosspoint.core.reading import read_bytes
from crosspoint.export.manifest import BundleManifest
from crosspoint.runtime.profile import Profile

CONFIG = "config.pbtxt"
MARK = "crosspoint_model_sha256"  # a parameter that marks models of this package
DELAY = 500  # microseconds that a request waits for others, to form a batch


def check_repository(repository: Path, bundle: Path, *, profile: Profile) -> None:
    """Raise InputError if a bundle with this name and profile cannot be written to the repository."""
    folder = repository / _name(bundle)
    check_folder(repository, "--triton")
    check_replaceable(folder, _check_ours, option="--triton")
    if profile.batch[0] > 1:
        low, usual, high = profile.batch
        raise InputError(f"--triton: Triton also sends single clouds; give --batch 1:{usual}:{high}, not {low}:…")


def write_repository(repository: Path, bundle: Path, *, manifest: BundleManifest) -> Path:
    """Write a bundle's model into a Triton model repository; an earlier model of the same name is replaced.

    The engine is served if TensorRT built it. Triton's TensorRT backend cannot load engines of TensorRT-RTX; then the
    ONNX file is served, on the GPU with TF32 off.

    Args:
        repository: Folder of models; other models in it are not changed.
        bundle: The bundle; the name of its folder is the name of the model.
        manifest: Manifest of the bundle.

    Returns:
        The model's folder.

    Raises:
        InputError: The folder cannot be written to.
    """
    name = _name(bundle)
    engine = manifest.engine
    served = "encoder.plan" if engine is not None and engine.builder == "tensorrt" else "encoder.onnx"
    with atomic_folder(repository / name, _check_ours) as folder:
        (folder / "1").mkdir()
        shutil.copy2(bundle / served, folder / "1" / f"model{Path(served).suffix}")
        (folder / CONFIG).write_text(configuration(name, manifest, served=served), encoding="utf-8")
    return repository / name


def _check_ours(folder: Path) -> None:
    """Raise InputError if a folder is not a model that this package wrote, or holds other files."""
    config = folder / CONFIG
    if not config.is_file() or MARK not in read_bytes(config).decode(errors="replace"):
        raise InputError(f"--triton: {folder} holds files that this package did not write; give another folder")
    check_known(folder, {CONFIG, "1/model.plan", "1/model.onnx"}.__contains__)


def _name(bundle: Path) -> str:
    """The model's name, with only characters that are valid in URLs and file names."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", bundle.resolve().name) or "crosspoint"


def configuration(name: str, manifest: BundleManifest, *, served: str) -> str:
    """The text of `config.pbtxt`, a `ModelConfig` message of Triton's `model_config.proto`."""
    plan = served.endswith(".plan")
    _, usual, largest = manifest.profile.batch
    lines = [
        f'name: "{name}"',
        f'platform: "{"tensorrt_plan" if plan else "onnxruntime_onnx"}"',
        f'backend: "{"tensorrt" if plan else "onnxruntime"}"',
        f"max_batch_size: {largest}",
        *(_tensor("input", *pair) for pair in manifest.inputs.items()),
        *(_tensor("output", *pair) for pair in manifest.outputs.items()),
        f"dynamic_batching {{ preferred_batch_size: [ {_list({usual, largest})} ]"
        f" max_queue_delay_microseconds: {DELAY} }}",
        "instance_group [ { count: 1 kind: KIND_GPU } ]",
        *(_warmup(size, manifest) for size in sorted({1, usual, largest})),
        *(_parameter(*pair) for pair in _provenance(manifest, served).items()),
    ]
    if not plan:
        lines.append(
            "optimization { execution_accelerators { gpu_execution_accelerator [ "
            '{ name: "cuda" parameters { key: "use_tf32" value: "0" } } ] } }'
        )
    return "\n".join(lines) + "\n"


def _tensor(kind: str, name: str, shape: Sequence[int | str]) -> str:
    """One input or output, without the batch dimension."""
    return f'{kind} [ {{ name: "{name}" data_type: TYPE_FP32 dims: [ {_list(_open(shape[1:]))} ] }} ]'


def _open(dims: Iterable[int | str]) -> list[int]:
    return [dim if isinstance(dim, int) else -1 for dim in dims]


def _list(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(values) if isinstance(values, set) else values))


def _warmup(batch: int, manifest: BundleManifest) -> str:
    """A request that the server runs before it reports that it is ready."""
    points = manifest.profile.points
    inputs = []
    for name, shape in manifest.inputs.items():
        dims = [dim if dim > 0 else points[1] if points else 1024 for dim in _open(shape[1:])]
        data = "random_data" if name == "points" else "zero_data"
        value = f"value {{ data_type: TYPE_FP32 dims: [ {_list(dims)} ] {data}: true }}"
        inputs.append(f'inputs {{ key: "{name}" {value} }}')
    return f'model_warmup [ {{ name: "batch {batch}" batch_size: {batch} {" ".join(inputs)} }} ]'


def _provenance(manifest: BundleManifest, served: str) -> dict[str, str]:
    engine = manifest.engine
    facts = {
        MARK: manifest.files[served].sha256,
        "crosspoint_source_sha256": manifest.source.sha256,
        "crosspoint_precision": manifest.precision.read_back,
    }
    if engine is not None and served.endswith(".plan"):
        facts["crosspoint_tensorrt"] = engine.version
        facts["crosspoint_targets"] = ",".join(engine.targets)
    return facts


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
