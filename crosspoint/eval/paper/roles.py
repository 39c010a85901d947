"""Which part a model plays in a table of the paper: what it is, and what it was trained with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosspoint.core.errors import InputError
from crosspoint.core.reading import read_json
from crosspoint.core.weights_file import read_metadata
from crosspoint.runtime.load import load_encoder, require_released
from crosspoint.runtime.released import trained
from crosspoint.runtime.signing import find_key_files


@dataclass(frozen=True)
class Facts:
    """What a model's files say of it.

    Attributes:
        config: The network's `config`; at least `architecture`.
        recipe: How it was trained; empty where that is not recorded, as in an exported model.
        objects: Objects it was pretrained on; None where that is not recorded.
    """

    config: Mapping[str, Any]
    recipe: Mapping[str, Any]
    objects: int | None

    def value(self, field: str) -> str | None:
        """The value, as text, of a field of the config or of the recipe; None where it is not recorded."""
        found = self.config.get(field, self.recipe.get(field))
        return None if found is None else str(found)


def weights_of(model: Path, names: Sequence[str]) -> Path | None:
    """The safetensors file that a path names: itself, or the first of `names` in a run folder; None of other models."""
    model = Path(model)
    if model.is_file():
        return model if model.suffix == ".safetensors" else None
    return next((model / name for name in names if (model / name).is_file()), None)


def read_facts(model: Path, names: Sequence[str] = ("encoder.safetensors", "segmenter.safetensors")) -> Facts:
    """What is recorded of a model.

    Args:
        model: Anything that `load_encoder` opens, or weights of another kind.
        names: Files of a run folder to look for.

    Raises:
        InputError: It cannot be read, or no key that is set covers it.
    """
    path = weights_of(model, names)
    if path is None:
        with load_encoder(model) as encoder:
            return Facts({"architecture": encoder.specification.architecture}, {}, None)
    if find_key_files():
        require_released(path)
    written = read_metadata(path)
    return Facts(written["model"], written["recipe"] or {}, _objects(path.parent))


def _objects(folder: Path) -> int | None:
    """Objects that the run in a folder was trained on; None where that is not recorded."""
    try:
        objects = read_json(folder / "config.json", "the start of a run")["data"]["objects"]
    except (InputError, KeyError, TypeError, IndexError):
        return None
    return objects if type(objects) is int else None


def assign(
    models: Sequence[str], role_of: Callable[[Facts], str | None], *, roles: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, list[Path]], dict[Path, Facts]]:
    """Sort models by role.

    Args:
        models: `PATH`, or `ROLE=PATH` where the file does not say which role it has.
        role_of: From what is known of a model to its role; None where that is not recorded.
        roles: Known ones.
        names: Files of a run folder to look for.

    Returns:
        Models by role, in the order of `roles`, and what is known of each.

    Raises:
        InputError: A model cannot be read, or has none of the roles.
    """
    sorted_: dict[str, list[Path]] = {role: [] for role in roles}
    known: dict[Path, Facts] = {}
    for text in models:
        role, equals, rest = text.partition("=")
        given = equals and role in roles
        path = trained(rest if given else text)
        known[path] = read_facts(path, names)
        if not given:
            role = role_of(known[path]) or "not recorded"
        if role not in roles:
            raise InputError(
                f"{path}: its part is {role}, and {', '.join(roles)} are asked for; give another model, or say its "
                f"part with --model {roles[0]}={path}"
            )
        sorted_[role].append(path)
    return {role: paths for role, paths in sorted_.items() if paths}, known
