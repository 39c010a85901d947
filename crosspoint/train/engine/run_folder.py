"""The folder of a run: what it was started with, and whether it may go on."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

import crosspoint
from crosspoint.core.console import track
from crosspoint.core.content import Content
from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256, write_json
from crosspoint.core.outputs import check_folder
from crosspoint.core.reading import read_json, regular
from crosspoint.core.system.processes import available_cpus
from crosspoint.core.workspaces import in_use, remove_partial_files
from crosspoint.train.engine.checkpoint import newest
from crosspoint.train.pretrain.pairs import Source
from crosspoint.train.pretrain.recipes import R, Recipe, choose_recipe, recipe_from

SCHEMA = "crosspoint.run/1"
AGAIN = "restore it or start the run anew elsewhere"
READERS, CHUNK = 8, 256  # threads that hash files, and files at a time


def resolve_recipe(
    out: Path, recipe: str | R | None, *, overrides: Sequence[str], resume: bool, recipes: Mapping[str, Callable[[], R]]
) -> R:
    """The recipe of a new run, or of the one in `out`, which must not change.

    Args:
        out: The run's folder.
        recipe: A recipe or the name of one; `clean` or that of the run if None.
        overrides: `key=value` for fields of the recipe.
        resume: Whether a run in `out` may go on.
        recipes: Those that can be named, all of one class.

    Raises:
        InputError: `out` is something else, holds a run that is not to be resumed, or was started differently.
    """
    check_folder(out)
    config = out / "config.json"
    if not config.exists():
        if out.exists() and in_use(out):
            raise InputError(f"{out} exists and is not a run; choose a new folder for --out")
        return (
            choose_recipe(recipes, recipe or "clean", overrides=overrides) if isinstance(recipe, str | None) else recipe
        )
    if not resume:
        raise InputError(f"{out} holds a run already; go on with --resume or choose another --out")
    saved = read_recipe(out, type(recipes["clean"]()))
    if recipe is None and not overrides:
        return saved
    asked = (
        choose_recipe(recipes, recipe or saved.name, overrides=overrides) if isinstance(recipe, str | None) else recipe
    )
    changed = [
        f"{field} was {getattr(saved, field)}, now {getattr(asked, field)}"
        for field in saved.__dataclass_fields__
        if getattr(saved, field) != getattr(asked, field)
    ]
    if changed:
        raise InputError(
            f"{out} was started with another recipe ({'; '.join(changed)}); resume with --resume alone, "
            "or choose another --out"
        )
    return saved


def read_recipe(run: Path, kind: Callable[..., R]) -> R:
    """The recipe, of class `kind`, that a run was started with.

    Raises:
        InputError: The run's `config.json` is missing or damaged, or is of another kind of run.
    """
    return recipe_from(read_config(run)["recipe"], str(run / "config.json"), kind=kind)


def read_config(run: Path) -> dict[str, Any]:
    """What a run was started with: the content of `config.json`.

    Raises:
        InputError: The file is missing or damaged.
    """
    config = run / "config.json"
    content = read_json(config, "the start of a run", advice=AGAIN)
    recipe = content.get("recipe") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(recipe, dict) or not isinstance(recipe.get("name"), str):
        raise InputError(f"{config}: does not say how a run was started; {AGAIN}")
    return content


def check_origin(out: Path, start: Content | None) -> str | None:
    """SHA-256 of the file that a run starts from, or None; a run that was begun must not change it.

    Raises:
        InputError: The run in `out` was started from something else.
    """
    given = None if start is None else start.sha256
    config = out / "config.json"
    if not config.exists() or (given is None and newest(out / "checkpoints") is not None):
        return given
    before = read_config(out).get("init_sha256")
    if given != before:
        was = "random weights" if before is None else f"weights with SHA-256 {str(before)[:64]}"
        raise InputError(f"{out} was started from {was}; resume with the same --init, or choose another --out")
    return given


def start_folder(
    out: Path, recipe: Recipe, *, objects: int, data: str, device: torch.device, init_sha256: str | None
) -> None:
    """Write `config.json`.

    Args:
        out: The run's folder.
        recipe: Of the run.
        objects: How many there are.
        data: Their fingerprint.
        device: Where it trains.
        init_sha256: Of the weights that the run starts from, if they are not random.
    """
    versions = {"crosspoint": crosspoint.__version__, "torch": torch.__version__}
    contents = {"objects": objects, "sha256": data}
    start = {"schema": SCHEMA, "recipe": recipe.as_dict(), "data": contents, "init_sha256": init_sha256}
    write_json(out / "config.json", {**start, "device": device.type, "versions": versions})


def tidy(out: Path) -> None:
    """Delete what a killed run left half written; nothing else, whatever its name."""
    for folder in (out, out / "checkpoints"):
        remove_partial_files(folder)


def fingerprint(source: Source) -> str:
    """SHA-256 of the objects' names and of the content of all files, in order.

    All data is read once for it, as one epoch does.

    Raises:
        InputError: A file cannot be read.
    """
    digest = hashlib.sha256("\n".join(source.keys).encode())
    files = list(source.files())
    with ThreadPoolExecutor(min(READERS, available_cpus()), thread_name_prefix="hash") as pool:
        for start in track(range(0, len(files), CHUNK), "Reading the data's content"):
            for content in pool.map(_content, files[start : start + CHUNK]):
                digest.update(content.encode())
    return digest.hexdigest()


def _content(file: Path) -> str:
    regular(file)
    try:
        return sha256(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
