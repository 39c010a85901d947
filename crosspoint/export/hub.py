"""Writes a folder for a model hub: card, weights, ONNX file and configuration, checked by opening it again.

    README.md            the card, with the metadata that hubs read in its first lines
    config.json          network, points, preprocessing, SHA-256 of the files
    encoder.safetensors  the trained weights
    onnx/                the bundle of `crosspoint export`: encoder.onnx and manifest.json

`crosspoint.load` opens the folder with PyTorch, and its `onnx` without.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.files import atomic_folder, sha256, write_json
from crosspoint.core.outputs import check_known, check_replaceable, is_schema
from crosspoint.core.reading import read_bytes, read_json
from crosspoint.core.results import Result
from crosspoint.export.bundle import export
from crosspoint.export.manifest import BundleManifest
from crosspoint.export.trained import trained_weights
from crosspoint.models.weights import read_weights
from crosspoint.parity.clouds import ordinary
from crosspoint.parity.limits import LIMITS
from crosspoint.parity.measures import relative_l2
from crosspoint.runtime import released
from crosspoint.runtime.load import load_encoder

CARD, CONFIG, WEIGHTS, BUNDLE = "README.md", "config.json", "encoder.safetensors", "onnx"
RELEASED_CARD = "MODEL_CARD.md"  # beside the released weights
FILES = (CARD, CONFIG, WEIGHTS, *(f"{BUNDLE}/{name}" for name in ("encoder.onnx", "golden.npz", "manifest.json")))
ENCODERS = ("dgcnn", "pointnet", "dgcnn_seg")
CLOUDS = 8  # that compare the two forms


@dataclass(frozen=True)
class HubConfig(Result):
    """`config.json` of a folder for a model hub.

    Attributes:
        library: The package that opens the folder.
        name: Name and version of a released model, else the name of the folder.
        architecture: Of the network.
        dim: Width of the embedding.
        points: Points per cloud in training; None if it is not recorded.
        up: The axis that points up in the clouds that the network takes.
        normalisation: What is done to a cloud before, in words.
        files: SHA-256 by name.
    """

    schema: ClassVar[str] = "crosspoint.hub/1"

    library: str
    name: str
    architecture: str
    dim: int
    points: int | None
    up: str
    normalisation: str
    files: dict[str, str]


def write_hub(model: Path | str, out: Path) -> HubConfig:
    """Export a trained encoder to a folder that is ready for a model hub.

    Args:
        model: A released model's name, a run folder or a `.safetensors` file.
        out: A new folder, or one that this function wrote before, which is replaced.

    Raises:
        InputError: The model is no encoder, or `out` cannot be written.
        CheckFailed: The export failed, or the folder's two forms differ when they are opened again. Nothing is written.
    """
    out = Path(out)
    check_hub(out, model)
    release = released.find_release(model)
    trained = trained_weights(model)
    if trained.suffix != ".safetensors":
        raise InputError(
            f"{trained} is a checkpoint; convert it first: crosspoint import {trained} --out encoder.safetensors"
        )
    if (architecture := read_weights(trained).config.get("architecture")) not in ENCODERS:
        raise InputError(f"{model} is a {architecture}, not an encoder; --hub writes encoders alone")
    with atomic_folder(out, _check_ours) as folder:
        manifest = export(Path(model), folder / BUNDLE, points=None)
        shutil.copyfile(trained, folder / WEIGHTS)
        with load_encoder(folder / BUNDLE) as encoder:
            known = encoder.specification
        config = HubConfig(
            library="crosspoint3d",
            name=out.name if release is None else str(release),
            architecture=known.architecture,
            dim=known.dim,
            points=None if release is None else release.points,
            up="y",
            normalisation="mean at the origin, farthest point at distance 1",
            files={name: sha256(folder / name) for name in FILES if (folder / name).is_file()},
        )
        write_json(folder / CONFIG, config.to_json())
        card = _card(config, manifest) if release is None else _released_card()
        (folder / CARD).write_text(card, encoding="utf-8")
        _check_opens(folder)
    return config


def check_hub(out: Path, model: Path | str) -> None:
    """Raise InputError if a folder for a hub cannot be written there."""
    check_replaceable(out, _check_ours, inputs=[Path(model)], option="--hub")


def _check_opens(folder: Path) -> None:
    """Open both forms, and compare their embeddings.

    Raises:
        CheckFailed: They differ by more than the gate allows.
    """
    clouds = ordinary(CLOUDS, 256)
    with load_encoder(folder / BUNDLE) as exported, load_encoder(folder, backend="pytorch") as trained:
        error = float(np.max(relative_l2(exported.embed(clouds), trained.embed(clouds))))
    limit = LIMITS["fp32"].relative_l2
    if not error <= limit:
        raise CheckFailed(
            f"the folder's {WEIGHTS} and {BUNDLE}/encoder.onnx differ by {error:.1e} of an embedding when they are "
            f"opened again (limit {limit:g}); nothing was written"
        )


def _check_ours(folder: Path) -> None:
    """Raise InputError unless a folder holds nothing but an earlier result."""
    config = folder / CONFIG
    if not config.is_file() or not is_schema(read_json(config, "the configuration of a model"), "hub"):
        raise InputError(f"{folder} exists and was not written by --hub; give a new folder")
    check_known(folder, FILES.__contains__)


def _released_card() -> str:
    path = released.FOLDER / RELEASED_CARD
    if not path.is_file():
        raise InputError(f"{path} is missing; {released.AGAIN}")
    return read_bytes(path).decode("utf-8")


def _card(config: HubConfig, manifest: BundleManifest) -> str:
    """The card of a model that is not released: what is known of it, and what its author has to add."""
    gate = manifest.parity.gate
    return f"""---
library_name: {config.library}
pipeline_tag: feature-extraction
tags:
- point-cloud
- self-supervised
- onnx
---

# {config.name}

A point-cloud encoder ({config.architecture}), pretrained with CrossPoint: one vector of {config.dim} numbers for each
cloud.

```bash
crosspoint embed onnx CLOUDS --out embeddings.npz
```

- Input: clouds (N, 3), {config.up}-up, {config.normalisation}. The commands see to it, and so does
  `embed(…, normalise=True, up=…)`.
- `encoder.safetensors` is for training and export; `onnx/` runs without PyTorch. The ONNX file differs from the trained
  network by at most {gate.relative_l2_max:.1e} of an embedding (relative L2, over {len(gate.cases)} comparisons).

## To be added by its author

The data it was trained on with their licences, the licence of the weights, accuracy with its interval on data that
were not used in training, and what it should not be used for.
"""
