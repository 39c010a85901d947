"""Finds the role of a model in a table of the paper, from its network and its recipe."""

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
class ModelFacts:
    """What the files of a model record.

    Attributes:
        config: Description of the network, at least `architecture`.
        recipe: How it was trained; empty if that is not recorded, as in exported models.
        objects: Number of objects in its pretraining; None if that is not recorded.
    """

    config: Mapping[str, Any]
    recipe: Mapping[str, Any]
    objects: int | None

    def value(self, field: str) -> str | None:
        """The value of a field of the config or recipe, as text; None if it is not recorded."""
        found = self.config.get(field, self.recipe.get(field))
        return None if found is None else str(found)


def weights_of(model: Path, names: Sequence[str]) -> Path | None:
    """The safetensors file of a model: the path, or the first of `names` in a run folder; else None."""
    model = Path(model)
    if model.is_file():
        return model if model.suffix == ".safetensors" else None
    return next((model / name for name in names if (model / name).is_file()), None)


def read_facts(model: Path, names: Sequence[str] = ("encoder.safetensors", "segmenter.safetensors")) -> ModelFacts:
    """Read what the files of a model record.

    Args:
        model: Anything that `load_encoder` opens, or weights of another kind.
        names: Files of a run folder to look for.

    Raises:
        InputError: It cannot be read, or is not signed with a key that is set.
    """
    path = weights_of(model, names)
    if path is None:
        with load_encoder(model) as encoder:
            return ModelFacts({"architecture": encoder.specification.architecture}, {}, None)
    if find_key_files():
        require_released(path)
    written = read_metadata(path)
    return ModelFacts(written.model, written.recipe or {}, _objects(path.parent))


def _objects(folder: Path) -> int | None:
    """Number of training objects of the run in a folder; None if it is not recorded."""
    try:
        objects = read_json(folder / "config.json", "the start of a run")["data"]["objects"]
    except (InputError, KeyError, TypeError, IndexError):
        return None
    return objects if type(objects) is int else None


def assign(
    models: Sequence[str], role_of: Callable[[ModelFacts], str | None], *, roles: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, list[Path]], dict[Path, ModelFacts]]:
    """Sort models by role.

    Args:
        models: `PATH`, or `ROLE=PATH` if the file does not record its role.
        role_of: Function from a model's facts to its role, or None.
        roles: The known roles.
        names: Files of a run folder to look for.

    Returns:
        The models of each role, in the order of `roles`, and the facts of each model.

    Raises:
        InputError: A model cannot be read, or has none of the roles.
    """
    sorted_: dict[str, list[Path]] = {role: [] for role in roles}
    known: dict[Path, ModelFacts] = {}
    for text in models:
        role, equals, rest = text.partition("=")
        given = equals and role in roles
        path = trained(rest if given else text)
        known[path] = read_facts(path, names)
        if not given:
            role = role_of(known[path]) or "not recorded"
        if role not in roles:
            raise InputError(
                f"{path} has the role {role}, but {', '.join(roles)} are needed; give another model, or name its "
                f"role: --model {roles[0]}={path}"
            )
        sorted_[role].append(path)
    return {role: paths for role, paths in sorted_.items() if paths}, known
