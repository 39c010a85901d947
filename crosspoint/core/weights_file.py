"""What a file of weights says of itself, read without torch."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from crosspoint.core.errors import InputError
from crosspoint.core.reading import readable, reading

KIND = "a readable safetensors file"
AGAIN = "give a run folder or a .safetensors file of this package, or copy it again"


def read_metadata(path: Path) -> dict[str, Any]:
    """What `crosspoint.models.weights.save_model` wrote beside the weights: `{"model": config, "recipe": …}`.

    Raises:
        InputError: The file is missing, damaged or of another origin.
    """
    if not Path(path).exists():
        raise InputError(f"{path} does not exist; give a run folder or a .safetensors file")
    readable(path)
    with reading(path, KIND, advice=AGAIN), safe_open(path, "np") as file:
        return parse_metadata(file.metadata())


def parse_metadata(metadata: dict[str, str] | None) -> dict[str, Any]:
    """The same from the metadata of a safetensors file.

    Raises:
        InputError: They were written by something else.
        ValueError: They are no JSON.
    """
    text = (metadata or {}).get("crosspoint")
    if text is None:
        raise InputError("was not written by crosspoint: it does not say which network it holds; give other weights")
    values = json.loads(text)
    if not (
        isinstance(values, dict)
        and isinstance(values.get("model"), dict)
        and "recipe" in values
        and isinstance(values["recipe"], dict | None)
    ):
        raise InputError(f"does not say which network it holds and how it was made; {AGAIN}")
    return values
