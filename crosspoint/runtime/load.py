"""From whatever names a model to an open encoder."""

import os
from pathlib import Path

from crosspoint.core.console import timed
from crosspoint.core.errors import InputError
from crosspoint.core.reading import read_json
from crosspoint.runtime.encoder import Encoder, parse_device
from crosspoint.runtime.manifest import NAME, SCRIPT, Manifest, read_manifest
from crosspoint.runtime.released import is_released, names, resolve
from crosspoint.runtime.signing import SET, KeyFiles, VerifyKeys, find_verify_keys

BACKENDS = ("pytorch", "onnxruntime", "onnxruntime-tensorrt", "tensorrt")
WEIGHTS = ("encoder.safetensors", "segmenter.safetensors")
"""What a run folder of pretraining or of part segmentation holds."""
KINDS = "a run folder, .safetensors, a bundle folder, .onnx, .plan with its manifest.json beside it, or a name"


def load_encoder(
    model: Path | str,
    device: str = "cpu",
    *,
    backend: str | None = None,
    threads: int | None = None,
    trust: bool = False,
    verify_key: KeyFiles | None = None,
) -> Encoder:
    """Open a model for embedding (or, a part segmenter, for segmenting).

    A file that a manifest beside it lists is compared with it before anything is opened; a `.plan` is executable code
    and is not opened without one unless you trust it. While a key is set, nothing is opened but bundles that it signed
    and what comes with the package. What was chosen is stated in the encoder's `specification`.

    Args:
        model: A run folder with `encoder.safetensors` or `segmenter.safetensors`, a `.safetensors` file, a bundle
            folder, an `.onnx` file, a `.plan` file with its `manifest.json` beside it, or the name of a model that
            comes with the package.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`. Never changed silently.
        backend: `"pytorch"`, `"onnxruntime"`, `"onnxruntime-tensorrt"` or `"tensorrt"` (either flavour, by what built
            the engine). By default what the file is for; of a bundle the TensorRT engine on a CUDA device if it holds
            one, else ONNX Runtime.
        threads: Of ONNX Runtime on the CPU; by default as many as this process may run on at once.
        trust: Open a `.plan` without a manifest: it is code, and runs as you. One with a manifest has to match it all
            the same, and a key that is set is not overruled.
        verify_key: Public keys (`.pub`) of which one has to have signed the bundle; by default those that the
            environment variable `CROSSPOINT_VERIFY_KEY` names.

    Returns:
        An encoder, to be used as a context manager or closed.

    Raises:
        InputError: The model cannot be read, differs from its manifest, is not signed with a key that is set, or does
            not go with backend and device.
        MissingDependency: What the backend needs is not installed.
    """
    index = parse_device(device)
    if backend is not None and backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; known are {', '.join(BACKENDS)}")
    keys = find_verify_keys(verify_key)
    named = resolve(model, ".safetensors" if backend == "pytorch" else ".onnx")
    path, manifest = _find(named, index is not None, backend, keys)
    if keys is not None and manifest is None:
        require_released(path)
    natural = {".safetensors": ("pytorch",), ".onnx": ("onnxruntime", "onnxruntime-tensorrt"), ".plan": ("tensorrt",)}
    suits = natural.get(path.suffix)
    if suits is None:
        raise InputError(f"{path} is not a model; a model is {KINDS}")
    if backend is not None and backend not in suits:
        raise InputError(f"{path} runs on the backend {' or '.join(suits)}, not on {backend}; {_way_to(backend)}")
    if manifest is not None and path.suffix == ".onnx" and index is None and "bf16" in manifest.precision:
        raise InputError(
            f"{path} computes in bf16, for which ONNX Runtime has no kernels on the CPU; give --device cuda, or a "
            "bundle in another precision"
        )
    with timed(f"open {path} on {device}"):
        return _open(path, manifest, device, backend or suits[0], threads, trust)


def is_model(path: Path) -> bool:
    """Whether a path is plainly a model, whole or not, and not something to embed: by its suffix, or what it holds."""
    suffixes = (".safetensors", ".onnx", ".plan")
    if path.is_dir():
        return (path / NAME).is_file() or any(file.suffix in suffixes for file in path.iterdir())
    return path.suffix in suffixes


def _open(
    path: Path, manifest: Manifest | None, device: str, backend: str, threads: int | None, trust: bool
) -> Encoder:
    """Each backend's module is imported only when it is used."""
    if backend == "pytorch":
        from crosspoint.runtime.backends.pytorch import PyTorchEncoder

        return PyTorchEncoder(path, device)
    if backend == "tensorrt":
        from crosspoint.runtime.backends.tensorrt import TensorRTEncoder

        if manifest is None and not trust:
            raise InputError(
                f"{path} has no {NAME} beside it: a plan is executable code and is opened only when its SHA-256 can be "
                "checked; give the whole bundle of crosspoint export, or, if the file is your own, open it with "
                "crosspoint embed or bench and --trust (trust=True in Python)"
            )
        return TensorRTEncoder(path, manifest, device=device)
    from crosspoint.runtime.backends.onnx import OnnxEncoder

    return OnnxEncoder(
        path, device, backend=backend, threads=threads, content=None if manifest is None else manifest.read(path)
    )


def require_released(path: Path) -> None:
    """Refuse a model outside a signed bundle, for where a key is set, unless it comes with the package.

    Raises:
        InputError: It does not.
    """
    if not is_released(path):
        raise InputError(
            f"{path} is not a file of a signed bundle, and {SET}; nothing was opened: give a bundle of crosspoint "
            "export --sign KEY"
        )


def _find(model: Path, cuda: bool, backend: str | None, keys: VerifyKeys | None) -> tuple[Path, Manifest | None]:
    """The file to open, and the manifest that lists it."""
    if not os.path.exists(model):  # also of a name that no file can have
        raise InputError(f"{model} does not exist; a model is {KINDS} ({names()})")
    if model.is_file():
        beside = read_manifest(model.parent, keys) if _in_bundle(model, keys) else None
        listed = beside is not None and (model.suffix in (".plan", ".onnx") or model.name in beside.files)
        return model, beside if listed else None
    if (model / NAME).is_file():
        manifest = read_manifest(model, keys)
        return _of_bundle(manifest, cuda, backend), manifest
    weights = next((model / name for name in WEIGHTS if (model / name).is_file()), None)
    if weights is not None:
        return weights, None
    raise InputError(f"{model} holds neither {' nor '.join((*WEIGHTS, NAME))}; a model is {KINDS}")


def _in_bundle(model: Path, keys: VerifyKeys | None) -> bool:
    """Whether the manifest beside a file is a bundle's: other software has files of that name too, without a schema.

    While a key is set any is taken for one, whose signature is checked before it is parsed.
    """
    path = model.parent / NAME
    if keys is not None or not path.is_file():
        return path.is_file()
    values = read_json(path, "a manifest of crosspoint export")
    return not isinstance(values, dict) or "schema" in values


def _of_bundle(manifest: Manifest, cuda: bool, backend: str | None) -> Path:
    plan, onnx = manifest.find(".plan"), manifest.find(".onnx")
    wanted = plan if backend == "tensorrt" or (backend is None and cuda and plan is not None) else onnx
    if wanted is None and backend == "tensorrt" and SCRIPT in manifest.files:
        raise InputError(f"{manifest.folder} does not hold a TensorRT engine yet; {manifest.rebuild}")
    if wanted is None:
        kind = "a TensorRT engine" if backend == "tensorrt" else "an ONNX file"
        raise InputError(f"{manifest.folder} does not hold {kind}; export the model again, for an engine with --trt")
    return wanted


def _way_to(backend: str) -> str:
    if backend == "pytorch":
        return "give the .safetensors that it was exported from"
    return f"make it with crosspoint export{' --trt' if backend == 'tensorrt' else ''} and give that bundle"
