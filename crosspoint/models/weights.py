"""Weights on disk: safetensors whose metadata say which network they are of and how they were made."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from crosspoint.core.files import atomic_file
from crosspoint.errors import InputError
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.heads import PointHead
from crosspoint.models.image import ImageEncoder
from crosspoint.models.pointnet import PointNet
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone

Config = dict[str, int | str]

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "dgcnn": DGCNN,
    "pointnet": PointNet,
    "dgcnn_seg": SegmentationBackbone,
    "dgcnn_partseg": DGCNNSegmenter,
    "resnet": ImageEncoder,
    "point_head": PointHead,
}


def build(config: Config) -> nn.Module:
    """The network that a `config` describes, with random weights.

    Raises:
        InputError: The architecture is not known.
    """
    arguments = dict(config)
    name = arguments.pop("architecture", None)
    if name not in ARCHITECTURES:
        raise InputError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[str(name)](**arguments)


def save_model(model: nn.Module, path: Path, recipe: dict[str, Any] | None = None) -> None:
    """Write a network's weights and `config`, and how they were made, to a `.safetensors` file, atomically.

    Args:
        model: Has an attribute `config`.
        path: Where to.
        recipe: Whatever says how the weights came about; JSON-serialisable.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = json.dumps({"model": model.config, "recipe": recipe}, sort_keys=True)
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {"crosspoint": metadata})


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_model` wrote beside the weights: `{"model": config, "recipe": …}`.

    Raises:
        InputError: The file is missing, damaged or of another origin.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = (file.metadata() or {}).get("crosspoint")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a run folder or a .safetensors file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}); export or copy it again") from error
    if metadata is None:
        raise InputError(f"{path} was not written by crosspoint: it does not say which network it holds")
    result: dict[str, Any] = json.loads(metadata)
    return result


def load_model(path: Path) -> nn.Module:
    """The network in a `.safetensors` file, in evaluation mode on the CPU.

    Raises:
        InputError: The file is missing, damaged, or does not fit the network that it names.
    """
    model = build(read_metadata(path)["model"])
    with safe_open(path, "pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    own = model.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    if wrong or len(state) != len(own):
        raise InputError(
            f"{path} does not hold the weights of its network (first difference: {(wrong or [*state])[0]})"
        )
    model.load_state_dict(state)
    return model.eval()
