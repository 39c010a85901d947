"""Checkpoints of a run: written whole or not at all, the newest readable one found again."""

import pickle
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from crosspoint.core.files import atomic_file
from crosspoint.errors import InputError

KEPT = 2


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
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
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} cannot be read ({reason})") from error
    return state


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


def restore(folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer, data: str) -> dict[str, Any]:
    """Bring network and optimiser back to the newest readable checkpoint.

    Args:
        folder: Of the checkpoints.
        network: As it was made.
        optimiser: Of its parameters.
        data: What tells the data that the run is trained on from others; the checkpoint has it too.

    Returns:
        The whole checkpoint, for what else is in it.

    Raises:
        InputError: There is no readable checkpoint, or the data has changed since.
    """
    state = load_checkpoint(folder)
    if state["data"] != data:
        raise InputError("the data is not what the run was started with; give the same folder or start a new run")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return state
