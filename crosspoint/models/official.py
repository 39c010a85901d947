"""Imports checkpoints of the official repository (github.com/MohamedAfham/CrossPoint).

The official modules register every batch normalisation twice, as `bn1` and inside `conv1`. Only the one inside is used
here: in the official T-Net, `bn3` (512) is not the same layer as `conv3.1` (1024).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from crosspoint.core.content import Content, read_once
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_file
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone
from crosspoint.models.torch_file import is_plain, parse_torch_file
from crosspoint.models.weights import save_model

State = dict[str, Tensor]

ADVICE = "save `model.state_dict()` with torch.save and give that file"
STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

# our name: (official convolution or linear layer, official normalisation)
DGCNN_LAYERS = {
    "edges.0.linear": ("conv1.0", "conv1.1"),
    "edges.1.linear": ("conv2.0", "conv2.1"),
    "edges.2.linear": ("conv3.0", "conv3.1"),
    "edges.3.linear": ("conv4.0", "conv4.1"),
    "embed": ("conv5.0", "conv5.1"),
}
BACKBONE_LAYERS = {
    "transform.edge.first": ("transform_net.conv1.0", "transform_net.conv1.1"),
    "transform.edge": ("transform_net.conv2.0", "transform_net.conv2.1"),
    "transform.embed": ("transform_net.conv3.0", "transform_net.conv3.1"),
    "edges.0.first": ("conv1.0", "conv1.1"),
    "edges.0": ("conv2.0", "conv2.1"),
    "edges.1.first": ("conv3.0", "conv3.1"),
    "edges.1": ("conv4.0", "conv4.1"),
    "edges.2.linear": ("conv5.0", "conv5.1"),
    "embed": ("conv6.0", "conv6.1"),
}
HEAD_LAYERS = {
    "category": ("conv7.0", "conv7.1"),
    "hidden.0": ("conv8.0", "conv8.1"),
    "hidden.1": ("conv9.0", "conv9.1"),
    "hidden.2": ("conv10.0", "conv10.1"),
}


@dataclass(frozen=True)
class Imported:
    """A network with the official weights, and the checkpoint's entries that are not part of it (the heads)."""

    model: nn.Module
    unused: tuple[str, ...]


def import_official(checkpoint: Path, k: int, *, out: Path) -> Imported:
    """Convert an official checkpoint (`DGCNN` or `DGCNN_partseg`) and write it to `out`.

    Args:
        checkpoint: A `.pth` file holding a state dict, with or without `module.` prefixes and projection head.
        k: Number of neighbours, not stored in the checkpoint: 15 in the official pretraining, 40 in segmentation.
        out: The `.safetensors` file to write.

    Returns:
        The network in evaluation mode, and the entries that were left out.

    Raises:
        InputError: The file cannot be read safely, or is not a checkpoint of these networks.
    """
    check_file(out, kind=".safetensors", inputs=[checkpoint])
    if not Path(checkpoint).exists():
        raise InputError(f"{checkpoint} does not exist; give the path of an official .pth checkpoint")
    content = read_once(checkpoint)
    imported = convert(_read_state(content), k, source=str(checkpoint))
    save_model(imported.model, out, recipe={"imported": checkpoint.name, "sha256": content.sha256, "k": k})
    return imported


def _read_state(content: Content) -> State:
    loaded = parse_torch_file(content, "a checkpoint", advice=ADVICE)
    if not isinstance(loaded, dict) or not all(isinstance(name, str) and is_plain(loaded[name]) for name in loaded):
        raise InputError(f"{content.path}: does not hold a state dict; {ADVICE}")
    return {name.removeprefix("module."): value for name, value in loaded.items()}


def convert(state: State, k: int, *, source: str) -> Imported:
    """Build the network of an official state dict and fill it.

    Raises:
        InputError: An entry is missing or has another shape.
    """
    with torch.device("meta"):  # no memory is allocated for shapes that the file claims
        model, names = _match(state, k, source)
    _fill(model, state, names, source)
    used = {*names.values()} | {name for name in state if _is_second_registration(name)}
    return Imported(model.eval(), tuple(sorted(set(state) - used)))


def _match(state: State, k: int, source: str) -> tuple[nn.Module, dict[str, str]]:
    """The network of a state dict, without weights, and for each of its entries the official name."""
    model: nn.Module
    if "transform_net.conv1.0.weight" not in state:
        model, layers, single = DGCNN(k), DGCNN_LAYERS, {}
    else:
        single = {
            f"transform.{ours}": f"transform_net.{theirs}"
            for name in ("linear1", "linear2", "transform")
            for ours, theirs in [(f"{name}.weight", f"{name}.weight"), (f"{name}.bias", f"{name}.bias")]
            if f"transform_net.{theirs}" in state
        }
        single |= {
            f"transform.{ours}.{entry}": f"transform_net.{theirs}.{entry}"
            for ours, theirs in [("norm1", "bn3"), ("norm2", "bn4")]
            for entry in STATISTICS
        }
        model, layers = SegmentationBackbone(k), BACKBONE_LAYERS
        if "conv11.weight" in state:
            parts, categories = (
                _size(state, *place, source) for place in (("conv11.weight", 0), ("conv7.0.weight", 1))
            )
            model = DGCNNSegmenter(parts, categories, k=k)
            layers = {f"backbone.{ours}": theirs for ours, theirs in layers.items()} | HEAD_LAYERS
            single = {f"backbone.{ours}": theirs for ours, theirs in single.items()} | {
                "classify.weight": "conv11.weight"
            }
    return model, single | _layer_names(model, layers)


def _size(state: State, name: str, dimension: int, source: str) -> int:
    """A dimension of an entry, which gives the size of the network."""
    if name not in state or state[name].ndim <= dimension or state[name].shape[dimension] < 1:
        raise InputError(f"{source}: {name} is missing or too small; it is not an official DGCNN_partseg checkpoint")
    return state[name].shape[dimension]


def _layer_names(model: nn.Module, layers: dict[str, tuple[str, str]]) -> dict[str, str]:
    """For each of our entries, the official entry."""
    own = model.state_dict()
    names = {}
    for ours, (product, norm) in layers.items():
        weight = next(
            name for name in (f"{ours}.weight", f"{ours}.linear.weight", f"{ours}.second.weight") if name in own
        )
        names[weight] = f"{product}.weight"
        names |= {f"{ours}.norm.{entry}": f"{norm}.{entry}" for entry in STATISTICS}
    return names


def _fill(model: nn.Module, state: State, names: dict[str, str], source: str) -> None:
    own = model.state_dict()
    filled = {}
    for name, value in own.items():
        theirs = names.get(name, name)
        if theirs not in state:
            raise InputError(f"{source} has no entry {theirs}; it is not an official DGCNN or DGCNN_partseg checkpoint")
        if state[theirs].numel() != value.numel() or len(state[theirs].shape) not in (value.ndim, value.ndim + 1, 4):
            expected, found = tuple(value.shape), tuple(state[theirs].shape)
            raise InputError(f"{source}: {theirs} has shape {found}, which does not fit {expected}")
        filled[name] = state[theirs].reshape(value.shape).to(value.dtype)
    model.to_empty(device="cpu").load_state_dict(filled)


def _is_second_registration(name: str) -> bool:
    parts = name.split(".")
    return any(part.startswith("bn") for part in parts[:2])
