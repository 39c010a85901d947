"""Weights on disk: safetensors whose metadata say which network they are of and how they were made."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from crosspoint.artefacts import atomic_file
from crosspoint.core.reading import ADVICE, reading, reason_of, regular
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

AGAIN = "give a run folder or a .safetensors file of this package, or copy it again"
LARGEST_NUMBER = 2**31 - 1  # of neighbours, parts, categories, channels
LARGEST_FILE = 4 << 30  # bytes of weights; those of the largest network here are 94 MB


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


@contextlib.contextmanager
def open_weights(path: Path, framework: str = "pt") -> Iterator[Any]:
    """An open `.safetensors` file; what is wrong with it, and what is found wrong while it is open, is one line.

    Args:
        path: The file.
        framework: Of the tensors that are read: `"pt"` or `"np"`.

    Raises:
        InputError: The file is missing, no regular file, too large, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a run folder or a .safetensors file")
    size = regular(path).st_size
    with reading(path, "a .safetensors file of weights", AGAIN):
        if size > LARGEST_FILE:
            raise InputError(f"has {size:,} bytes, more than any weights of this package; {ADVICE}")
        with safe_open(path, framework) as file:
            yield file


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_model` wrote beside the weights: `{"model": config, "recipe": …}`.

    Raises:
        InputError: The file is missing, damaged or of another origin.
    """
    with open_weights(path) as file:
        return _metadata(file)


def _metadata(file: Any) -> dict[str, Any]:
    text = (file.metadata() or {}).get("crosspoint")
    if text is None:
        raise InputError("was not written by crosspoint: it does not say which network it holds; give other weights")
    values = json.loads(text)
    if not (
        isinstance(values, dict)
        and isinstance(values.get("model"), dict)
        and "recipe" in values
        and isinstance(values["recipe"], dict | None)
    ):
        raise InputError(f"does not say which network it holds and how it was made; {AGAIN}")
    return values


def load_model(path: Path) -> nn.Module:
    """The network in a `.safetensors` file, in evaluation mode on the CPU.

    Raises:
        InputError: The file is missing, damaged, or does not fit the network that it names.
    """
    with open_weights(path) as file:
        config = _metadata(file)["model"]
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
