"""Reads the metadata of a `.safetensors` file without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from crosspoint.core.errors import InputError
from crosspoint.core.reading import readable, reading

KIND = "a readable safetensors file"
AGAIN = "give a run folder or a .safetensors file of this package, or copy it again"


@dataclass(frozen=True)
class WeightsMetadata:
    """Metadata that `crosspoint.models.weights.save_model` writes beside the weights.

    Attributes:
        model: The network's `config`.
        recipe: How the weights came about, which is different for each command that makes weights; None if unsaid.
    """

    model: dict[str, int | str]
    recipe: Any


def read_metadata(path: Path) -> WeightsMetadata:
    """The metadata of a file of weights.

    Raises:
        InputError: The file is missing or damaged, or was not written by this package.
    """
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; give a run folder or a .safetensors file")
    readable(path)
    with reading(path, KIND, advice=AGAIN), safe_open(path, "np") as file:
        return parse_metadata(file.metadata())


def parse_metadata(metadata: dict[str, str] | None) -> WeightsMetadata:
    """Parse the metadata of a safetensors file, as `read_metadata` does.

    Raises:
        InputError: This package did not write them.
        ValueError: They are not JSON.
    """
    text = (metadata or {}).get("crosspoint")
    if text is None:
        raise InputError("was not written by crosspoint: it does not name its network; give other weights")
    values = json.loads(text)
    if not (
        isinstance(values, dict)
        and isinstance(values.get("model"), dict)
        and "recipe" in values
        and isinstance(values["recipe"], dict | None)
    ):
        raise InputError(f"does not name its network and how it was trained; {AGAIN}")
    return WeightsMetadata(values["model"], values["recipe"])
