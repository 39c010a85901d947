"""Weights on disk: safetensors whose metadata say which network they are of and how they were made."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save_file
from torch import Tensor, nn

from crosspoint.artefacts import atomic_file
from crosspoint.core.content import Content, read_once
from crosspoint.core.reading import reading
from crosspoint.errors import InputError
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.heads import PointHead
from crosspoint.models.image import ImageEncoder
from crosspoint.models.pointnet import PointNet
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone

Config = dict[str, int | str]
KIND, AGAIN = "a readable safetensors file", "export or copy it again"

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


@dataclass(frozen=True)
class Weights:
    """A `.safetensors` file, read once.

    Attributes:
        path: Where it lies.
        sha256: Of its bytes.
        config: The network that it holds.
        recipe: How the weights came about, as `save_model` was told.
        tensors: By name.
    """

    path: Path
    sha256: str
    config: Config
    recipe: Any
    tensors: dict[str, Tensor]

    def network(self) -> nn.Module:
        """The network, in evaluation mode on the CPU.

        Raises:
            InputError: The weights are not those of the network that the file names.
        """
        with reading(self.path, KIND, AGAIN):
            model = build(self.config)
        own = model.state_dict()
        wrong = [name for name in own if name not in self.tensors or self.tensors[name].shape != own[name].shape]
        if wrong or len(self.tensors) != len(own):
            first = (wrong or [*self.tensors])[0]
            raise InputError(f"{self.path} does not hold the weights of its network (first difference: {first})")
        model.load_state_dict(self.tensors)
        return model.eval()


def read_weights(path: Path) -> Weights:
    """Read a file of `save_model`.

    Raises:
        InputError: The file is missing, damaged or of another origin.
    """
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; give a run folder or a .safetensors file")
    return parse_weights(read_once(path))


def parse_weights(content: Content) -> Weights:
    """As `read_weights`, of a file that has been read."""
    with reading(content.path, KIND, AGAIN):
        tensors = load(content.data)
        header = json.loads(content.data[8 : 8 + int.from_bytes(content.data[:8], "little")])  # the format's own
        metadata = header.get("__metadata__", {}).get("crosspoint")
        if metadata is None:
            raise InputError("was not written by crosspoint: it does not say which network it holds")
        about = json.loads(metadata)
        return Weights(content.path, content.sha256, {**about["model"]}, about["recipe"], tensors)


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_model` wrote beside the weights: `{"model": config, "recipe": …}`; raises as `read_weights` does."""
    weights = read_weights(path)
    return {"model": weights.config, "recipe": weights.recipe}


def load_model(path: Path) -> nn.Module:
    """The network in a `.safetensors` file, in evaluation mode on the CPU.

    Raises:
        InputError: The file is missing, damaged, or does not fit the network that it names.
    """
    return read_weights(path).network()
