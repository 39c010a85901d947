"""Saves checkpoints atomically, and finds the newest readable one."""

from pathlib import Path
from typing import Any, TypedDict, cast

import click
import torch
from torch import Tensor, nn

from crosspoint.core.content import Content
from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.reading import reading
from crosspoint.models.torch_file import load_torch_file, parse_torch_file

KEPT = 2
MOST_STEPS = 2**53
ADVICE = "give another checkpoint, or start the run anew in another folder"


class ParameterGroup(TypedDict, total=False):
    """What an optimiser says of a group of parameters, besides its own options: their numbers."""

    params: list[int]


class OptimiserState(TypedDict):
    """What an optimiser holds of each parameter, by its number."""

    state: dict[int, dict[str, Tensor | None]]
    param_groups: list[ParameterGroup]


class State(TypedDict, total=False):
    """What a run keeps.

    Attributes:
        network: Its tensors by name.
        optimiser: Of its parameters.
        data: What tells the data that the run is trained on from others.
        scaler: Of fp16, in pretraining.
        best: The state whose weights are kept, if a test split chooses it.
    """

    network: dict[str, Tensor]
    optimiser: OptimiserState
    data: str
    scaler: dict[str, float]
    best: dict[str, float] | None


class Checkpoint(State):
    """What a checkpoint file holds: the state, and the steps that were done."""

    step: int


def state_of(optimiser: torch.optim.Optimizer) -> OptimiserState:
    """What a checkpoint keeps of an optimiser."""
    return cast(OptimiserState, optimiser.state_dict())


def save_checkpoint(folder: Path, step: int, *, state: State) -> Path:
    """Save the state after `step` steps, then remove all but the newest `KEPT` checkpoints.

    Raises:
        InputError: The disk is full or the folder cannot be written; earlier checkpoints are kept.
    """
    path = folder / f"step-{step:08d}.pt"
    with atomic_file(path) as temporary:
        torch.save({"step": step, **state}, temporary)
    for old in _paths(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))


def newest(folder: Path) -> Path | None:
    """The newest checkpoint in a folder; None if there is none."""
    return next(reversed(_paths(folder)), None)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote.

    Raises:
        InputError: The file cannot be read.
    """
    return _checked(path, load_torch_file(path, "a checkpoint", advice=ADVICE))


def parse_checkpoint(content: Content) -> Checkpoint:
    """Like `read_checkpoint`, for content that was already read."""
    return _checked(content.path, parse_torch_file(content, "a checkpoint", advice=ADVICE))


def _checked(path: Path, state: Any) -> Checkpoint:
    whole = isinstance(state, dict) and isinstance(state.get("network"), dict) and type(state.get("step")) is int
    if not whole or not 0 <= state["step"] < MOST_STEPS:
        raise InputError(f"{path}: does not hold a run's network and steps; {ADVICE}")
    return cast(Checkpoint, {str(name): value for name, value in state.items()})


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load the newest readable checkpoint. Each newer one that cannot be read is reported on standard error.

    Raises:
        InputError: There is no checkpoint, or none can be read.
    """
    for path in reversed(_paths(folder)):
        try:
            return read_checkpoint(path)
        except InputError as error:
            click.echo(f"{error}; going back to the one before", err=True)
    if newest(folder) is not None:
        raise InputError(f"no checkpoint in {folder} can be read; start the run anew in another folder")
    raise InputError(f"there is no checkpoint in {folder} to resume from; start without --resume in a new folder")


def restore(folder: Path, network: nn.Module, *, optimiser: torch.optim.Optimizer, data: str) -> Checkpoint:
    """Restore network and optimiser from the newest readable checkpoint.

    Args:
        folder: Folder of the checkpoints.
        network: The network, newly made.
        optimiser: The optimiser of its parameters.
        data: Fingerprint of the training data, which must equal the one in the checkpoint.

    Returns:
        The whole checkpoint; it may hold more.

    Raises:
        InputError: There is no readable checkpoint, it belongs to another network, or the data has changed.
    """
    state = load_checkpoint(folder)
    if state.get("data") != data:
        raise InputError("the training data has changed since the run started; give the same data, or start a new run")
    with reading(folder, "the checkpoints of this run", advice=ADVICE):
        network.load_state_dict(state["network"])
        _load_optimiser(optimiser, state["optimiser"])
    return state


def _load_optimiser(optimiser: torch.optim.Optimizer, state: OptimiserState) -> None:
    """Load the moments of an optimiser. Its options come from the recipe; the learning rate is set at every step."""
    own = optimiser.state_dict()["param_groups"]
    if [group["params"] for group in state["param_groups"]] != [group["params"] for group in own]:
        raise InputError(f"the optimiser is of another network; {ADVICE}")
    optimiser.load_state_dict({"state": state["state"], "param_groups": own})
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value is not None and not (isinstance(value, Tensor) and value.shape in ((), parameter.shape)):
                raise InputError(f"the optimiser's {str(name)[:40]} does not fit its parameter; {ADVICE}")
