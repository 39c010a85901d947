"""Initial weights of a run: a point encoder, or all branches of another run."""

from pathlib import Path

from crosspoint.core.content import Content
from crosspoint.core.errors import InputError
from crosspoint.models.crosspoint import CrossPoint
from crosspoint.models.pointnet import fold_biases
from crosspoint.models.weights import parse_weights
from crosspoint.runtime.released import names, resolve
from crosspoint.train.engine.checkpoint import newest, parse_checkpoint
from crosspoint.train.pretrain.distillation import Distillation
from crosspoint.train.pretrain.recipes import Recipe


def find_initial_weights(init: Path) -> Path:
    """Find the file of initial weights: of a released model, `init` itself, or the newest checkpoint of a run folder.

    Raises:
        InputError: The file does not exist.
    """
    init = resolve(init, ".safetensors")
    if init.is_dir():
        found = newest(init / "checkpoints")
        if found is None:
            raise InputError(f"{init} has no checkpoint; give another run folder, a .safetensors file or {names()}")
        return found
    if not init.is_file():
        raise InputError(f"{init} does not exist; give a .safetensors file, a run folder or {names()}")
    return init


def load_initial_weights(start: Content, network: CrossPoint | Distillation, *, recipe: Recipe) -> None:
    """Load initial weights into a network: the point encoder from weights, all branches from a checkpoint.

    Raises:
        InputError: They belong to another architecture, or cannot be read.
    """
    if start.path.suffix == ".safetensors":
        _load_encoder(start, network, recipe)
    else:
        _load_branches(start, network)
    if isinstance(network, Distillation):
        network.follow()


def _load_encoder(start: Content, network: CrossPoint | Distillation, recipe: Recipe) -> None:
    weights = parse_weights(start)
    held = weights.config.get("architecture")
    if held != recipe.backbone:
        raise InputError(
            f"{start.path} holds a {held}, the recipe trains a {recipe.backbone}; --set backbone={held} or give other "
            "weights"
        )
    network.points.load_state_dict(fold_biases(weights.network().state_dict()))


def _load_branches(start: Content, network: CrossPoint | Distillation) -> None:
    state = parse_checkpoint(start)["network"]
    own = {name: values for name, values in network.state_dict().items() if not name.startswith("teacher.")}
    for name, values in own.items():
        if name not in state or state[name].shape != values.shape:
            raise InputError(
                f"{start.path} holds no {name.partition('.')[0]} like the recipe's; start with the same backbone and "
                "image_depth and an objective that the run had, or give its encoder.safetensors"
            )
    network.load_state_dict({**network.state_dict(), **{name: state[name] for name in own}})
