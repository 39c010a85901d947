"""Weights on disk, as far as they can be read without torch: a guarded safetensors file and what it says of itself."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open

from crosspoint.core.reading import readable, reading
from crosspoint.errors import InputError

AGAIN = "give a run folder or a .safetensors file of this package, or copy it again"


@contextlib.contextmanager
def open_weights(path: Path, framework: str) -> Iterator[Any]:
    """An open `.safetensors` file; what is wrong with it, and what is found wrong while it is open, is one line.

    Args:
        path: The file.
        framework: Of the tensors that are read: `"pt"` or `"np"`.

    Raises:
        InputError: The file is missing, no regular file, too large, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a run folder or a .safetensors file")
    readable(path)
    with reading(path, "a .safetensors file of weights", AGAIN), safe_open(path, framework) as file:
        yield file


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_model` wrote beside the weights: `{"model": config, "recipe": …}`.

    Raises:
        InputError: The file is missing, damaged or of another origin.
    """
    with open_weights(path, "np") as file:
        return metadata_of(file)


def metadata_of(file: Any) -> dict[str, Any]:
    """The same of an open file."""
    text = (file.metadata() or {}).get("crosspoint")
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
