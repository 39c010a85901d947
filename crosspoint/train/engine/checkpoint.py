"""Checkpoints of a run: written whole or not at all, the newest readable one found again."""

from pathlib import Path
from typing import Any

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


def save_checkpoint(folder: Path, step: int, *, state: dict[str, Any]) -> Path:
    """Write the state after `step` steps, then remove all but the newest `KEPT` checkpoints.

    Raises:
        InputError: The disk is full or the folder cannot be written to; the checkpoints before are still there.
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
    """The newest checkpoint in a folder, if there is one."""
    return next(reversed(_paths(folder)), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote.

    Raises:
        InputError: The file cannot be read.
    """
    return _checked(path, load_torch_file(path, "a checkpoint", advice=ADVICE))


def parse_checkpoint(content: Content) -> dict[str, Any]:
    """As `read_checkpoint`, of a file that has been read."""
    return _checked(content.path, parse_torch_file(content, "a checkpoint", advice=ADVICE))


def _checked(path: Path, state: Any) -> dict[str, Any]:
    whole = isinstance(state, dict) and isinstance(state.get("network"), dict) and type(state.get("step")) is int
    if not whole or not 0 <= state["step"] < MOST_STEPS:
        raise InputError(f"{path}: does not hold a run's network and steps; {ADVICE}")
    return {str(name): value for name, value in state.items()}


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The newest readable checkpoint; a line on standard error says so of each newer one that is not.

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


def restore(folder: Path, network: nn.Module, *, optimiser: torch.optim.Optimizer, data: str) -> dict[str, Any]:
    """Bring network and optimiser back to the newest readable checkpoint.

    Args:
        folder: Of the checkpoints.
        network: As it was made.
        optimiser: Of its parameters.
        data: What tells the data that the run is trained on from others; the checkpoint has it too.

    Returns:
        The whole checkpoint, for what else is in it.

    Raises:
        InputError: There is no readable checkpoint, it is of another network, or the data has changed since.
    """
    state = load_checkpoint(folder)
    if state.get("data") != data:
        raise InputError("the data is not what the run was started with; give the same folder or start a new run")
    with reading(folder, "the checkpoints of this run", advice=ADVICE):
        network.load_state_dict(state["network"])
        _load_optimiser(optimiser, state["optimiser"])
    return state


def _load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load an optimiser's moments; its options are those of the recipe, and the learning rate is set at every step."""
    own = optimiser.state_dict()["param_groups"]
    if [group["params"] for group in state["param_groups"]] != [group["params"] for group in own]:
        raise InputError(f"the optimiser is of another network; {ADVICE}")
    optimiser.load_state_dict({"state": state["state"], "param_groups": own})
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value is not None and not (isinstance(value, Tensor) and value.shape in ((), parameter.shape)):
                raise InputError(f"the optimiser's {str(name)[:40]} does not fit its parameter; {ADVICE}")
