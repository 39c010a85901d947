"""What a run starts from, if not from random weights: a point encoder, or all branches of another run."""

from pathlib import Path

from crosspoint.errors import InputError
from crosspoint.models.crosspoint import CrossPoint
from crosspoint.models.weights import load_model, read_metadata
from crosspoint.train.checkpoint import newest, read_checkpoint
from crosspoint.train.recipes import Recipe


def find_start(init: Path) -> Path:
    """The file that holds the weights: `init` itself, or the newest checkpoint of a run folder.

    Raises:
        InputError: There is no such file.
    """
    if init.is_dir():
        found = newest(init / "checkpoints")
        if found is None:
            raise InputError(f"{init} has no checkpoint; give a run folder or a .safetensors file to start from")
        return found
    if not init.is_file():
        raise InputError(f"{init} does not exist; give a .safetensors file or a run folder to start from")
    return init


def load_start(file: Path, network: CrossPoint, recipe: Recipe) -> None:
    """Give a network the weights that `find_start` found; what the file does not hold stays as it is.

    Raises:
        InputError: They are of another architecture, or cannot be read.
    """
    if file.suffix == ".safetensors":
        held = read_metadata(file)["model"]["architecture"]
        if held != recipe.backbone:
            raise InputError(
                f"{file} holds a {held}, the recipe trains a {recipe.backbone}; "
                f"--set backbone={held} or give other weights"
            )
        network.points.load_state_dict(load_model(file).state_dict())
        return
    state, own = read_checkpoint(file)["network"], network.state_dict()
    shared = {name: values for name, values in state.items() if name in own and values.shape == own[name].shape}
    for part, module in network.named_children():
        names = {f"{part}.{name}" for name in module.state_dict()}
        if not names <= shared.keys():
            raise InputError(
                f"{file} holds no {part} like the recipe's; start with the same backbone and image_depth and an "
                "objective that the run had, or give its encoder.safetensors"
            )
    network.load_state_dict({name: shared[name] for name in own})
