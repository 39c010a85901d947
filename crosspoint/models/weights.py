"""Saves and loads weights as safetensors; the metadata describe the network and how it was trained."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from crosspoint.core.content import Content, read_once
from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.reading import reading, reason_of
from crosspoint.core.results import to_json
from crosspoint.core.weights_file import AGAIN, KIND, parse_metadata, read_metadata
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.heads import PointHead
from crosspoint.models.image import ImageEncoder
from crosspoint.models.pointnet import PointNet
from crosspoint.models.scenes import SceneBackbone
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone

__all__ = ["Weights", "build", "load_model", "parse_weights", "read_metadata", "read_weights", "save_model"]

Config = dict[str, int | str]

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "dgcnn": DGCNN,
    "pointnet": PointNet,
    "dgcnn_seg": SegmentationBackbone,
    "dgcnn_partseg": DGCNNSegmenter,
    "dgcnn_semseg": SceneBackbone,
    "resnet": ImageEncoder,
    "point_head": PointHead,
}

LARGEST_NUMBER = 2**31 - 1  # of neighbours, parts, categories and channels


def build(config: Config) -> nn.Module:
    """Build the network that a `config` describes, with random weights.

    Raises:
        InputError: The architecture is unknown, or an argument is unknown, missing or out of range.
    """
    arguments = dict(config)
    name = arguments.pop("architecture", None)
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise InputError(f"unknown architecture {str(name)[:40]!r}; give one of {', '.join(ARCHITECTURES)}")
    for key, value in arguments.items():
        if type(value) is not int or not 1 <= value <= LARGEST_NUMBER:
            raise InputError(f"{name} cannot have {key[:40]} = {str(value)[:40]}; give a whole number of at least 1")
    try:
        return ARCHITECTURES[name](**arguments)
    except (TypeError, ValueError) as error:  # Python's errors for wrong arguments, and those of the network
        raise InputError(f"{name} cannot be built ({reason_of(error)}); give the arguments that it has") from error


def save_model(model: nn.Module, path: Path, *, recipe: object = None) -> None:
    """Save a network's weights, `config` and recipe as a `.safetensors` file, atomically.

    Args:
        model: A network with an attribute `config`.
        path: Output file.
        recipe: How the weights were trained: a dataclass, or what `json.dumps` takes.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = json.dumps({"model": model.config, "recipe": to_json(recipe)}, sort_keys=True)
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {"crosspoint": metadata})


@dataclass(frozen=True)
class Weights:
    """A `.safetensors` file, read once.

    Attributes:
        path: Path of the file.
        sha256: SHA-256 of its bytes.
        config: Description of its network.
        recipe: How the weights were trained, as given to `save_model`.
        tensors: Tensors, by name.
    """

    path: Path
    sha256: str
    config: Config
    recipe: Any
    tensors: dict[str, Tensor]

    def network(self) -> nn.Module:
        """Build the network with these weights, in evaluation mode on the CPU.

        Raises:
            InputError: The weights do not fit the network that the file names.
        """
        with reading(self.path, KIND, advice=AGAIN):
            self._check_shapes()
            model = build(self.config)
            model.load_state_dict(self.tensors)
            return model.eval()

    def _check_shapes(self) -> None:
        """Compare the tensors with the network that the file names, before memory is allocated for it."""
        with torch.device("meta"):
            own = {name: tensor.shape for name, tensor in build(self.config).state_dict().items()}
        held = {name: tensor.shape for name, tensor in self.tensors.items()}
        wrong = [name for name in (*own, *held) if own.get(name) != held.get(name)]
        if wrong:
            raise InputError(f"does not hold the weights of its network (first difference: {wrong[0][:80]}); {AGAIN}")


def read_weights(path: Path) -> Weights:
    """Read a file that `save_model` wrote.

    Raises:
        InputError: The file is missing or damaged, or this package did not write it.
    """
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; give a run folder or a .safetensors file")
    return parse_weights(read_once(path))


def parse_weights(content: Content) -> Weights:
    """Like `read_weights`, for content that was already read."""
    with reading(content.path, KIND, advice=AGAIN):
        tensors = load(content.data)
        header = json.loads(content.data[8 : 8 + int.from_bytes(content.data[:8], "little")])  # the format's own
        about = parse_metadata(header.get("__metadata__"))
        return Weights(content.path, content.sha256, about.model, about.recipe, tensors)


def load_model(path: Path) -> nn.Module:
    """Load the network of a `.safetensors` file, in evaluation mode on the CPU.

    Raises:
        InputError: The file is missing, damaged, or does not fit the network that it names.
    """
    return read_weights(path).network()
