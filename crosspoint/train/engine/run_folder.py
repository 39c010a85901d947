"""The run folder: the settings of the run, and the checks before it is resumed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

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
from crosspoint.models.kernels.choice import choose_kernels
from crosspoint.train.engine.checkpoint import newest
from crosspoint.train.engine.recipes import BaseRecipe, R, Values, choose_recipe, recipe_from
from crosspoint.train.pretrain.pairs import PairSource

SCHEMA = "crosspoint.run/1"
AGAIN = "restore it or start the run anew elsewhere"
READERS, CHUNK = 8, 256  # threads that hash files, and files per chunk


def resolve_recipe(
    out: Path, recipe: str | R | None, *, overrides: Sequence[str], resume: bool, recipes: Mapping[str, Callable[[], R]]
) -> R:
    """The recipe of a new run, or of the run in `out`, which must not change.

    Args:
        out: Run folder.
        recipe: A recipe, or the name of one; None: that of the run in `out`, else `clean`.
        overrides: `key=value` for fields of the recipe.
        resume: Whether a run in `out` may be continued.
        recipes: Recipes by name, all of one class.

    Raises:
        InputError: `out` is not a run, holds a run and `resume` is False, or was started with another recipe.
    """
    check_folder(out)
    config = out / "config.json"
    if not config.exists():
        if out.exists() and in_use(out):
            raise InputError(f"{out} exists and is not a run folder; choose a new folder for --out")
        return (
            choose_recipe(recipes, recipe or "clean", overrides=overrides) if isinstance(recipe, str | None) else recipe
        )
    if not resume:
        raise InputError(f"{out} already holds a run; continue it with --resume, or choose another --out")
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
    """The recipe, of class `kind`, with which a run was started.

    Raises:
        InputError: The run's `config.json` is missing or damaged, or belongs to another kind of run.
    """
    return recipe_from(read_config(run).recipe, str(run / "config.json"), kind=kind)


@dataclass(frozen=True)
class Start:
    """What a run was started with.

    Attributes:
        recipe: The recipe's fields, which the recipe's class checks.
        init_sha256: Of the weights that pretraining starts from; None for random ones.
        initial: Where the backbone of a segmenter comes from, which `crosspoint.train.partseg.weights` checks.
    """

    recipe: Values
    init_sha256: str | None
    initial: object


def read_config(run: Path) -> Start:
    """The settings of a run, from its `config.json`.

    Raises:
        InputError: The file is missing or damaged.
    """
    config = run / "config.json"
    content = read_json(config, "the start of a run", advice=AGAIN)
    recipe = content.get("recipe") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(recipe, dict) or not isinstance(recipe.get("name"), str):
        raise InputError(f"{config}: does not say how a run was started; {AGAIN}")
    sha256 = content.get("init_sha256")
    return Start(recipe, None if sha256 is None else str(sha256), content.get("initial"))


def check_origin(out: Path, start: Content | None) -> str | None:
    """SHA-256 of the file of initial weights, or None. A resumed run must have the same one.

    Raises:
        InputError: The run in `out` was started from other weights.
    """
    given = None if start is None else start.sha256
    config = out / "config.json"
    if not config.exists() or (given is None and newest(out / "checkpoints") is not None):
        return given
    before = read_config(out).init_sha256
    if given != before:
        was = "random weights" if before is None else f"weights with SHA-256 {before[:64]}"
        raise InputError(f"{out} was started from {was}; resume with the same --init, or choose another --out")
    return given


def start_folder(
    out: Path, recipe: BaseRecipe, *, objects: int, data: str, device: torch.device, init_sha256: str | None
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
    kernels = str(choose_kernels(device))
    write_json(out / "config.json", {**start, "device": device.type, "kernels": kernels, "versions": versions})


def tidy(out: Path) -> None:
    """Delete what a killed run left half written; nothing else, whatever its name."""
    for folder in (out, out / "checkpoints"):
        remove_partial_files(folder)


def fingerprint(source: PairSource) -> str:
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
