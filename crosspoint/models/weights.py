"""Weights on disk: safetensors whose metadata say which network they are of and how they were made."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from crosspoint.artefacts import atomic_file
from crosspoint.core.reading import reason_of
from crosspoint.core.weights_file import AGAIN, metadata_of, open_weights, read_metadata
from crosspoint.errors import InputError
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.heads import PointHead
from crosspoint.models.image import ImageEncoder
from crosspoint.models.pointnet import PointNet
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone

__all__ = ["build", "load_model", "read_metadata", "save_model"]

Config = dict[str, int | str]

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "dgcnn": DGCNN,
    "pointnet": PointNet,
    "dgcnn_seg": SegmentationBackbone,
    "dgcnn_partseg": DGCNNSegmenter,
    "resnet": ImageEncoder,
    "point_head": PointHead,
}

LARGEST_NUMBER = 2**31 - 1  # of neighbours, parts, categories, channels


def build(config: Config) -> nn.Module:
    """The network that a `config` describes, with random weights.

    Raises:
        InputError: The architecture is not known, or an argument is unknown, missing or no number that it can have.
    """
    arguments = dict(config)
    name = arguments.pop("architecture", None)
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise InputError(f"unknown architecture {str(name)[:40]!r}; known are {', '.join(ARCHITECTURES)}")
    for key, value in arguments.items():
        if type(value) is not int or not 1 <= value <= LARGEST_NUMBER:
            raise InputError(f"{name} cannot have {key[:40]} = {str(value)[:40]}; give a whole number from 1 on")
    try:
        return ARCHITECTURES[name](**arguments)
    except (TypeError, ValueError) as error:  # what Python says of arguments, and a network of their values
        raise InputError(f"{name} cannot be built ({reason_of(error)}); give the arguments that it has") from error


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


def load_model(path: Path) -> nn.Module:
    """The network in a `.safetensors` file, in evaluation mode on the CPU.

    Raises:
        InputError: The file is missing, damaged, or does not fit the network that it names.
    """
    with open_weights(path, "pt") as file:
        config = metadata_of(file)["model"]
        _check_shapes(file, config)
        model = build(config)
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a mapping)
        return model.eval()


def _check_shapes(file: Any, config: Config) -> None:
    """Compare what a file holds with the network that it names, before memory is taken for either."""
    with torch.device("meta"):
        own = {name: list(tensor.shape) for name, tensor in build(config).state_dict().items()}
    held = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    wrong = [name for name in (*own, *held) if own.get(name) != held.get(name)]
    if wrong:
        raise InputError(f"does not hold the weights of its network (first difference: {wrong[0][:80]}); {AGAIN}")
