"""`crosspoint export`: a bundle of ONNX file, engine and manifest that exists only if it passed the parity gate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from torch import nn

from crosspoint import __version__
from crosspoint.artefacts import atomic_folder, sha256, write_json
from crosspoint.errors import CheckFailed, InputError, require
from crosspoint.export import gate
from crosspoint.export.deploy import deploy
from crosspoint.export.onnx_file import read_precision, shapes, write_onnx
from crosspoint.export.probe import Probe
from crosspoint.export.profile import Profile, Range, make_profile
from crosspoint.export.reference import Reference
from crosspoint.export.tensorrt import Builder, Engine, build_engine, find_builder
from crosspoint.models.weights import load_model
from crosspoint.runtime.manifest import NAME, SCHEMA, load_manifest
from crosspoint.runtime.named import resolve
from crosspoint.runtime.onnx import OnnxEncoder
from crosspoint.runtime.tensorrt import TensorRTEncoder

ONNX, PLAN = "encoder.onnx", "encoder.plan"
PREPROCESSING = {
    "centre": "mean",
    "scale": "farthest point at distance 1",
    "sampling": "random without replacement",
}


class Built(NamedTuple):
    """An engine and what built it."""

    builder: Builder
    engine: Engine


def export(
    model: Path,
    out: Path,
    *,
    trt: bool = False,
    precision: str = "fp32",
    batch: str | int | Range = (1, 8, 32),
    points: str | int | Range | None = 1024,
    target: Sequence[str] = (),
) -> dict[str, Any]:
    """Export a trained network to ONNX and, if asked, TensorRT, and prove that what was exported is what was trained.

    The bundle appears under its name only after the gate has passed: ONNX Runtime against PyTorch in float64 at several
    batch sizes and numbers of points, on ordinary and hostile clouds, and the engine too where a GPU can run it.

    Args:
        model: A run folder with `encoder.safetensors`, or a `.safetensors` file.
        out: Folder of the bundle; an earlier bundle there is replaced.
        trt: Whether to build a TensorRT engine.
        precision: `"fp32"`.
        batch: Clouds at a time, `min:opt:max`, that the engine is built for; an ONNX file takes any number.
        points: Number of points of a cloud; a range `min:opt:max` or None (`"any"`) leaves it open.
        target: GPUs that a TensorRT-RTX engine is built for, e.g. `("sm86", "sm89")`.

    Returns:
        The manifest.

    Raises:
        InputError: The model, an option or the place for the bundle cannot be used.
        CheckFailed: The gate or the build failed; nothing was written.
        MissingDependency: A package is not installed.
    """
    if precision != "fp32":
        raise InputError(f"--precision {precision} is not known; give fp32")
    if target and not trt:
        raise InputError("--target is about engines; give --trt with it")
    profile = make_profile(batch, points)
    if trt and profile.points is None:
        raise InputError("an engine needs bounds for the number of points; give --points min:opt:max")
    builder = find_builder(target) if trt else None
    source = _source(resolve(model, ".safetensors"))
    network = load_model(source)
    _check_network(source, network, profile)
    _check_place(Path(out))
    with atomic_folder(Path(out)) as folder:
        write_onnx(folder / ONNX, deploy(network), profile.fixed_points, _provenance(network, source, profile))
        prepared, parity = _gate(network, folder / ONNX, profile)
        built = None
        if builder is not None:
            built = Built(builder, build_engine(builder, (folder / ONNX).read_bytes(), profile))
            (folder / PLAN).write_bytes(built.engine.plan)
        manifest = _manifest(folder, network, source, profile, parity, built)
        write_json(folder / NAME, manifest)
        if builder is not None and builder.executes:
            manifest = _execute(folder, manifest, prepared, profile)
            write_json(folder / NAME, manifest)
    return manifest


def _source(model: Path) -> Path:
    """The weights that a run folder or file stands for."""
    if not model.exists():
        raise InputError(f"{model} does not exist; give a run folder or a .safetensors file")
    path = model / "encoder.safetensors" if model.is_dir() else model
    if not path.is_file():
        raise InputError(f"{model} holds no encoder.safetensors; give a run folder or a .safetensors file")
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is not a .safetensors file; export starts from trained weights")
    return path


def _check_network(source: Path, network: nn.Module, profile: Profile) -> None:
    broken = next((name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise InputError(f"{source} holds NaN or infinite weights ({broken}); export an earlier checkpoint")
    k = _config(network).get("k", 1)
    if profile.points is not None and profile.points[0] < int(k):
        raise InputError(f"--points {profile.points[0]} is fewer than the {k} neighbours that {source} looks at")


def _check_place(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / NAME).is_file():
        raise InputError(f"{out} holds files that are no bundle; give a new folder for --out")


def _config(network: nn.Module) -> dict[str, int | str]:
    config = network.config
    assert isinstance(config, dict)
    return config


def _provenance(network: nn.Module, source: Path, profile: Profile) -> dict[str, Any]:
    config = _config(network)
    return {
        "model": config,
        "dim": getattr(network, "dim", config.get("parts")),  # a segmenter has parts instead
        "points": profile.fixed_points,
        "k": config.get("k"),
        "precision": "fp32",
        "preprocessing": PREPROCESSING,
        "source_sha256": sha256(source),
        "version": __version__,
    }


def _gate(network: nn.Module, path: Path, profile: Profile) -> tuple[list[gate.Clouds], dict[str, Any]]:
    """ONNX Runtime on the CPU against the network."""
    reference = Reference(network)
    prepared = gate.prepare(reference, _config(network), profile)
    with Probe(reference, path) as probe, OnnxEncoder(path) as encoder:
        cases = gate.compare(gate.through(encoder), prepared, gate.batch_sizes(profile), probe)
    limits = gate.require_parity(ONNX, cases)
    return prepared, gate.report("onnxruntime on the CPU", cases, limits)


def _manifest(
    folder: Path, network: nn.Module, source: Path, profile: Profile, parity: dict[str, Any], built: Built | None
) -> dict[str, Any]:
    model = onnx.load(folder / ONNX)
    precision = read_precision(model)
    for name, found in (("ONNX model", precision), ("engine", built.engine.precision if built else precision)):
        if found != "fp32":
            raise CheckFailed(f"fp32 was asked for, and the {name} computes in {found}; nothing was written")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {
        "schema": SCHEMA,
        "files": {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in files},
        "model": _config(network),
        "source": {"path": source.name, "sha256": sha256(source)},
        "versions": _versions(built),
        "inputs": shapes(model.graph.input),
        "outputs": shapes(model.graph.output),
        "profile": {"batch": list(profile.batch), "points": profile.points and list(profile.points)},
        "precision": {"asked": "fp32", "read_back": precision},
        "preprocessing": PREPROCESSING,
        "parity": parity,
        "engine": built and _engine_entry(built),
    }


def _engine_entry(built: Built) -> dict[str, Any]:
    return {
        "builder": built.builder.name,
        "version": built.builder.module.__version__,
        "targets": list(built.builder.targets),
        "executed": False,
        "status": "built, not executed",
        "tf32": built.engine.tf32,
        "types": built.engine.types,
        "parity": None,
    }


def _versions(built: Built | None) -> dict[str, str]:
    modules = [np, onnx, torch, require("onnxruntime", "cpu", "the parity gate")]
    versions = {"crosspoint": __version__, **{module.__name__: str(module.__version__) for module in modules}}
    return versions if built is None else {**versions, built.builder.name: built.builder.module.__version__}


def _execute(folder: Path, manifest: dict[str, Any], prepared: list[gate.Clouds], profile: Profile) -> dict[str, Any]:
    """Run the engine through the gate; the manifest with the outcome."""
    low, usual, high = profile.batch
    sizes = sorted({size for size in (low, 2, gate.ODD, usual, high) if low <= size <= high})
    with TensorRTEncoder(folder / PLAN, load_manifest(folder), "cuda") as encoder:
        cases = gate.compare(gate.through(encoder), prepared, sizes, None)
        candidate = f"{encoder.specification.backend} on {encoder.specification.device}"
    limits = gate.require_engine_parity(PLAN, cases)
    parity = gate.report(candidate, cases, limits)
    outcome = {"executed": True, "status": "executed, passed the parity gate", "parity": parity}
    return {**manifest, "engine": {**manifest["engine"], **outcome}}
