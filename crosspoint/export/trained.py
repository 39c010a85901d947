"""Finds the trained weights that an export starts from."""

import os
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.export.manifest import BundleManifest, parse_bundle_manifest
from crosspoint.models.official import convert, read_checkpoint
from crosspoint.models.weights import Weights, read_weights
from crosspoint.runtime.load import CHECKPOINTS, WEIGHTS
from crosspoint.runtime.manifest import NAME, load_manifest
from crosspoint.runtime.released import find_hash, resolve

GIVE = "give a run folder, a .safetensors file or a .pth checkpoint"


def trained_weights(model: Path | str) -> Path:
    """The file of trained weights that a name, a run folder, a bundle or a file stands for.

    Raises:
        InputError: There are none.
    """
    model = resolve(model, ".safetensors")
    if not os.path.exists(model):
        raise InputError(f"{model} does not exist; {GIVE}")
    path = next((model / name for name in WEIGHTS if (model / name).is_file()), model)
    if not path.is_file():
        if (path / NAME).is_file():
            return _weights_of_bundle(path)
        raise InputError(f"{model} holds no {' or '.join(WEIGHTS)}; {GIVE}")
    if path.suffix != ".safetensors" and path.suffix not in CHECKPOINTS:
        raise InputError(f"{path} is not a .safetensors file; export starts from trained weights: {GIVE}")
    return path


def _weights_of_bundle(folder: Path) -> Path:
    """The weights that a bundle without them was exported from, if a released model has them."""
    manifest: BundleManifest = parse_bundle_manifest(load_manifest(folder))
    found = find_hash(manifest.source.sha256)
    if found is None:
        raise InputError(
            f"{folder} is a bundle without trained weights; give what it was exported from: {manifest.source.path} "
            f"with the SHA-256 {manifest.source.sha256[:16]}…, or its run folder"
        )
    return found[0].file(".safetensors")


def read_trained(path: Path, *, k: int | None = None) -> Weights:
    """Read the weights of `trained_weights`; a checkpoint of another repository is converted as by `crosspoint import`.

    Args:
        path: From `trained_weights`.
        k: Number of neighbours of a checkpoint.

    Raises:
        InputError: The file cannot be read, or k is missing or does not belong.
    """
    if path.suffix in CHECKPOINTS:
        checkpoint = read_checkpoint(path)
        if checkpoint.is_classifier:
            raise InputError(
                f"{path} is a classifier; import it first, with its class names: crosspoint import {path} "
                "--classes FILE --out FOLDER"
            )
        imported = convert(checkpoint.entries, k, source=str(path))
        tensors = dict(imported.model.state_dict())
        return Weights(path, checkpoint.sha256, imported.config, checkpoint.recipe(k), tensors)
    if k is not None:
        raise InputError(f"--k is for .pth checkpoints; {path} says its number of neighbours: leave --k out")
    return read_weights(path)
