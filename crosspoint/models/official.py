"""Imports checkpoints of other repositories.

- The official `DGCNN` and `DGCNN_partseg` of CrossPoint (github.com/MohamedAfham/CrossPoint).
- PointNet, alone or as the `feature_model` of a classifier (github.com/vinits5/learning3d).
- The trunk of DGCNN for S3DIS (github.com/antao97/dgcnn.pytorch).

The modules of DGCNN register every batch normalisation twice, as `bn1` and inside `conv1`. Only the one inside is used
here: in the official T-Net, `bn3` (512) is not the same layer as `conv3.1` (1024).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from crosspoint.core.content import read_once
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_file
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.pointnet import PointNet
from crosspoint.models.scenes import CHANNELS, SceneBackbone
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone
from crosspoint.models.torch_file import is_plain, parse_torch_file
from crosspoint.models.weights import Config, save_model

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
SCENE_LAYERS = {ours: theirs for ours, theirs in BACKBONE_LAYERS.items() if not ours.startswith("transform")}
POINTNET_LAYERS = 5
FEATURES = "feature_model."  # prefix of the encoder in a PointNet classifier
HEAD_LAYERS = {
    "category": ("conv7.0", "conv7.1"),
    "hidden.0": ("conv8.0", "conv8.1"),
    "hidden.1": ("conv9.0", "conv9.1"),
    "hidden.2": ("conv10.0", "conv10.1"),
}


@dataclass(frozen=True)
class Imported:
    """A network with the weights of a checkpoint, and the checkpoint's entries that are not part of it (the heads)."""

    model: nn.Module
    unused: tuple[str, ...]

    @property
    def config(self) -> Config:
        """The network's configuration."""
        config: Config = self.model.config  # type: ignore[assignment]
        return config


def import_official(checkpoint: Path, k: int | None = None, *, out: Path) -> Imported:
    """Convert the encoder or segmenter of a checkpoint and write it to `out`.

    Args:
        checkpoint: A file of `torch.save` holding a state dict, with or without `module.` prefixes and heads.
        k: Number of neighbours of a DGCNN, not stored in the checkpoint: 15 in the official pretraining, 40 in its part
            segmentation, 20 for S3DIS. None for PointNet.
        out: The `.safetensors` file to write.

    Returns:
        The network in evaluation mode, and the entries that were left out.

    Raises:
        InputError: The file cannot be read safely, or is not a checkpoint of these networks.
    """
    check_file(out, kind=".safetensors", inputs=[checkpoint])
    state = read_checkpoint(checkpoint)
    imported = convert(state.entries, k, source=str(checkpoint))
    save_model(imported.model, out, recipe=state.recipe(k))
    return imported


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A checkpoint of another repository.

    Attributes:
        path: The file.
        sha256: SHA-256 of its bytes.
        entries: Tensors by name, without the prefix `module.`.
    """

    path: Path
    sha256: str
    entries: State

    @property
    def is_classifier(self) -> bool:
        """Whether it holds a PointNet classifier: an encoder and a head."""
        return f"{FEATURES}conv1.weight" in self.entries

    def recipe(self, k: int | None) -> dict[str, str | int | None]:
        """The origin of the weights, for the file that they are saved to."""
        return {"imported": self.path.name, "sha256": self.sha256, **({} if k is None else {"k": k})}


def read_checkpoint(path: Path) -> ForeignCheckpoint:
    """Read a checkpoint without running code in it.

    Raises:
        InputError: It is missing, damaged, or no state dict.
    """
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; give the path of a .pth checkpoint")
    content = read_once(path)
    loaded = parse_torch_file(content, "a checkpoint", advice=ADVICE, before_1_6=True)
    if not isinstance(loaded, dict) or not all(isinstance(name, str) and is_plain(loaded[name]) for name in loaded):
        raise InputError(f"{content.path}: does not hold a state dict; {ADVICE}")
    entries = {name.removeprefix("module."): value for name, value in loaded.items()}
    return ForeignCheckpoint(Path(path), content.sha256, entries)


def convert(state: State, k: int | None = None, *, source: str) -> Imported:
    """Build the network of a state dict and fill it.

    Raises:
        InputError: An entry is missing or has another shape, or k is missing or has no meaning.
    """
    with torch.device("meta"):  # no memory is allocated for shapes that the file claims
        model, names = _match(state, k, source)
    _fill(model, state, names, source)
    used = {*names.values()}
    if not isinstance(model, PointNet):
        used |= {name for name in state if _is_second_registration(name)}
    return Imported(model.eval(), tuple(sorted(set(state) - used)))


def _match(state: State, k: int | None, source: str) -> tuple[nn.Module, dict[str, str]]:
    """The network of a state dict, without weights, and for each of its entries the name in the state dict."""
    prefix = FEATURES if f"{FEATURES}conv1.weight" in state else ""
    if f"{prefix}conv1.weight" in state:
        if k is not None:
            raise InputError(f"{source} is a PointNet, which has no neighbour graphs; leave --k out")
        return PointNet(bias=int(f"{prefix}conv1.bias" in state)), _pointnet_names(prefix)
    if "conv1.0.weight" not in state:
        raise InputError(
            f"{source} has no entry conv1.0.weight or conv1.weight, so it is none of the DGCNN and PointNet "
            "checkpoints that can be imported; export its network to ONNX with torch.onnx.export, and use that file"
        )
    if k is None:
        raise InputError(
            f"{source} is a DGCNN, and does not say its number of neighbours; give --k, e.g. 15 for the official "
            "pretraining, 40 for part segmentation, 20 for S3DIS"
        )
    if "transform_net.conv1.0.weight" in state:
        return _match_segmentation(state, k, source)
    if state["conv1.0.weight"].shape[1:2] == (2 * CHANNELS,):
        scene = SceneBackbone(k)
        return scene, _layer_names(scene, SCENE_LAYERS)
    model = DGCNN(k)
    return model, _layer_names(model, DGCNN_LAYERS)


def _match_segmentation(state: State, k: int, source: str) -> tuple[nn.Module, dict[str, str]]:
    """The official segmentation backbone, or the whole segmenter."""
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
    if "conv11.weight" not in state:
        backbone = SegmentationBackbone(k)
        return backbone, single | _layer_names(backbone, BACKBONE_LAYERS)
    parts, categories = (_size(state, *place, source) for place in (("conv11.weight", 0), ("conv7.0.weight", 1)))
    model = DGCNNSegmenter(parts, categories, k=k)
    layers = {f"backbone.{ours}": theirs for ours, theirs in BACKBONE_LAYERS.items()} | HEAD_LAYERS
    single = {f"backbone.{ours}": theirs for ours, theirs in single.items()} | {"classify.weight": "conv11.weight"}
    return model, single | _layer_names(model, layers)


def _pointnet_names(prefix: str) -> dict[str, str]:
    """For each entry of `PointNet`, the entry in a checkpoint with `conv1`, `bn1`, `conv2`, …."""
    names: dict[str, str] = {}
    for i in range(POINTNET_LAYERS):
        names |= {f"linears.{i}.{entry}": f"{prefix}conv{i + 1}.{entry}" for entry in ("weight", "bias")}
        names |= {f"norms.{i}.{entry}": f"{prefix}bn{i + 1}.{entry}" for entry in STATISTICS}
    return names


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
        if theirs not in state and theirs.endswith("num_batches_tracked"):  # PyTorch before 0.4.1 had none
            filled[name] = torch.zeros((), dtype=value.dtype)
            continue
        if theirs not in state:
            raise InputError(f"{source} has no entry {theirs}; it is not a whole {_kind(model)} checkpoint")
        if state[theirs].numel() != value.numel() or len(state[theirs].shape) not in (value.ndim, value.ndim + 1, 4):
            expected, found = tuple(value.shape), tuple(state[theirs].shape)
            raise InputError(f"{source}: {theirs} has shape {found}, which does not fit {expected}")
        filled[name] = state[theirs].reshape(value.shape).to(value.dtype)
    model.to_empty(device="cpu").load_state_dict(filled)


def _kind(model: nn.Module) -> str:
    kinds = {PointNet: "PointNet", SceneBackbone: "DGCNN for S3DIS", DGCNN: "DGCNN"}
    return kinds.get(type(model), "DGCNN_partseg")


def _is_second_registration(name: str) -> bool:
    parts = name.split(".")
    return any(part.startswith("bn") for part in parts[:2])
