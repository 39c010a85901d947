"""Opens a model by name or path."""

import os
from pathlib import Path

from crosspoint.core.console import timed
from crosspoint.core.errors import InputError, Unsupported
from crosspoint.core.reading import read_json
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.manifest import NAME, SCRIPT, Manifest, read_manifest
from crosspoint.runtime.released import is_released, names, resolve
from crosspoint.runtime.signing import SET, KeyFiles, VerifyKeys, find_verify_keys
from crosspoint.runtime.specification import parse_device

BACKENDS = ("pytorch", "onnxruntime", "onnxruntime-tensorrt", "tensorrt")
WEIGHTS = ("encoder.safetensors", "segmenter.safetensors")
"""Weights in a run folder of pretraining or part segmentation."""
CHECKPOINTS = (".pth", ".pt", ".t7", ".ckpt", ".tar")  # suffixes of files of torch.save, which are not opened
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
    """Open a model for embedding or, if it is a part segmenter, for segmenting.

    If a manifest lists the file, the file is compared with it before it is opened. A `.plan` is executable code, and is
    opened without a manifest only with `trust`. If a public key is set, only bundles signed with it and released models
    are opened. The encoder's `specification` says what was chosen.

    Args:
        model: A run folder with `encoder.safetensors` or `segmenter.safetensors`, a `.safetensors` file, a bundle
            folder, an `.onnx` file, a `.plan` file with its `manifest.json` beside it, or the name of a released model.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`. It is never changed silently.
        backend: `"pytorch"`, `"onnxruntime"`, `"onnxruntime-tensorrt"` or `"tensorrt"` (also for TensorRT-RTX). None:
            chosen from the file type. A bundle on a CUDA device runs its TensorRT engine if it has one, else ONNX
            Runtime.
        threads: CPU threads of ONNX Runtime; None: as many as this process may use.
        trust: Open a `.plan` without a manifest. It is code that runs with your permissions. A manifest, if present,
            must still match, and a key that is set still applies.
        verify_key: Public key files (`.pub`); one of the keys must have signed the bundle. None: those of the
            environment variable `CROSSPOINT_VERIFY_KEY`.

    Returns:
        An encoder; use it as a context manager, or close it.

    Raises:
        InputError: The model cannot be read, differs from its manifest, is not signed with a key that is set, or does
            not fit the backend and device.
        MissingDependency: A package of the backend is not installed.
    """
    index = parse_device(device)
    if backend is not None and backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; give one of {', '.join(BACKENDS)}")
    keys = find_verify_keys(verify_key)
    named = resolve(model, ".safetensors" if backend == "pytorch" else ".onnx")
    path, manifest = _find(named, index is not None, backend, keys)
    if keys is not None and manifest is None:
        require_released(path)
    natural = {".safetensors": ("pytorch",), ".onnx": ("onnxruntime", "onnxruntime-tensorrt"), ".plan": ("tensorrt",)}
    suits = natural.get(path.suffix)
    if path.suffix in CHECKPOINTS:
        raise InputError(
            f"{path} is a PyTorch checkpoint; convert it first: crosspoint import {path} --out encoder.safetensors "
            "(a DGCNN also needs --k)"
        )
    if suits is None:
        raise InputError(f"{path} is not a model; give {KINDS}")
    if backend is not None and backend not in suits:
        raise InputError(f"{path} runs on the backend {' or '.join(suits)}, not on {backend}; {_way_to(backend)}")
    if manifest is not None and path.suffix == ".onnx" and index is None and "bf16" in manifest.precision:
        _require_bf16(path)
    with timed(f"open {path} on {device}"):
        return _open(path, manifest, device, backend or suits[0], threads, trust)


def is_model(path: Path) -> bool:
    """Whether a path is a model, also a damaged one, and not an input: by its suffix or its content."""
    suffixes = (".safetensors", ".onnx", ".plan")
    if path.is_dir():
        return (path / NAME).is_file() or any(file.suffix in suffixes for file in path.iterdir())
    return path.suffix in suffixes


def _require_bf16(path: Path) -> None:
    """Raise Unsupported if this CPU cannot run a bf16 model."""
    from crosspoint.runtime.backends.kernels import lacks_bf16

    why = lacks_bf16()
    if why:
        raise Unsupported(f"{path} is a bf16 model, and {why}; give a bundle in fp32 or int8, or --device cuda")


def _open(
    path: Path, manifest: Manifest | None, device: str, backend: str, threads: int | None, trust: bool
) -> Encoder:
    """Open the file with its backend, whose module is imported only here."""
    if backend == "pytorch":
        from crosspoint.runtime.backends.pytorch import PyTorchEncoder

        return PyTorchEncoder(path, device)
    if backend == "tensorrt":
        from crosspoint.runtime.backends.tensorrt import TensorRTEncoder

        if manifest is None and not trust:
            raise InputError(
                f"{path} has no {NAME} beside it. A plan is executable code and is opened only if its SHA-256 can be "
                "checked; give the whole bundle of crosspoint export. If the file is your own, open it with "
                "crosspoint embed or bench and --trust (trust=True in Python)"
            )
        return TensorRTEncoder(path, manifest, device=device)
    from crosspoint.runtime.backends.onnx import OnnxEncoder

    return OnnxEncoder(
        path, device, backend=backend, threads=threads, content=None if manifest is None else manifest.read(path)
    )


def require_released(path: Path) -> None:
    """If a key is set, refuse every model outside a signed bundle that is not a released one.

    Raises:
        InputError: A key is set and the model is not a released one.
    """
    if not is_released(path):
        raise InputError(
            f"{path} is not in a signed bundle, and {SET}; nothing was opened: give a bundle of crosspoint "
            "export --sign KEY"
        )


def _find(model: Path, cuda: bool, backend: str | None, keys: VerifyKeys | None) -> tuple[Path, Manifest | None]:
    """The file to open, and the manifest that lists it."""
    if not os.path.exists(model):  # False also for an invalid file name
        raise InputError(f"{model} does not exist; give {KINDS} ({names()})")
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
    raise InputError(f"{model} holds neither {' nor '.join((*WEIGHTS, NAME))}; give {KINDS}")


def _in_bundle(model: Path, keys: VerifyKeys | None) -> bool:
    """Whether the manifest beside a file belongs to a bundle; other software also writes files of that name.

    If a key is set, every manifest counts: its signature is checked before it is parsed.
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
