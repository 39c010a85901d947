"""A cache of embeddings, found again by the hash of the model and of the clouds."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.reading import reading, regular
from crosspoint.runtime.specification import Specification

HEADER = 1 << 20  # largest part of a file besides its features, in bytes
FORMAT = "crosspoint.features/1"
FloatArray = NDArray[np.float32]


def cached(
    folder: Path | None,
    specification: Specification,
    *,
    clouds: FloatArray,
    compute: Callable[[], FloatArray],
    as_stored: bool = False,
) -> FloatArray:
    """Read the embeddings of `clouds` from `folder`, or compute and store them.

    The key is the SHA-256 of the model's specification without its path (file hash, precision, backend, device,
    neighbours) and of the clouds' values. Another model, engine, device or choice of points has another key. A damaged
    file is reported, computed again and replaced.

    Args:
        folder: Folder of the cache, made if needed; None: no cache.
        specification: Specification of the model.
        clouds: `(n, N, 3)` float32, before they are normalised.
        compute: Computes the embeddings `(n, D)`.
        as_stored: Whether they are not normalised.

    Raises:
        InputError: The folder cannot be written to.
    """
    if folder is None:
        return compute()
    about = description(specification, clouds) | ({"as_stored": True} if as_stored else {})
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    path = Path(folder) / f"{key[:32]}.safetensors"
    if path.exists():
        found = read(path, key, shape=(len(clouds), specification.dim))
        if found is not None:
            return found
        click.echo(f"{path} is damaged or of another origin; its features are computed again", err=True)
    features = compute()
    write(path, key, about=about, features=features)
    return features


def description(specification: Specification, clouds: FloatArray) -> dict[str, object]:
    """Everything that decides the embeddings, JSON-serialisable."""
    values = np.ascontiguousarray(clouds, np.float32)
    model = {name: value for name, value in dataclasses.asdict(specification).items() if name != "path"}
    data = {"shape": list(values.shape), "sha256": hashlib.sha256(values.view(np.uint8).data).hexdigest()}
    return {"format": FORMAT, "model": model, "clouds": data}


def read(path: Path, key: str, *, shape: tuple[int, int]) -> FloatArray | None:
    """Read features of this `shape`; None unless key, shape, type and checksum are right."""
    from safetensors import safe_open

    try:
        with reading(path, "a cache of features"):
            if regular(path).st_size > 4 * math.prod(shape) + HEADER:
                return None
            with safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                features: FloatArray = file.get_tensor("features")
    except InputError:
        return None
    right = metadata.get("key") == key and features.shape == shape and features.dtype == np.float32
    return features if right and metadata.get("sha256") == _checksum(features) else None


def write(path: Path, key: str, *, about: dict[str, object], features: FloatArray) -> None:
    """Store features `(n, D)` in a safetensors file, atomically, so that two processes may do so at once."""
    from safetensors.numpy import save_file

    metadata = {"key": key, "about": json.dumps(about, sort_keys=True), "sha256": _checksum(features)}
    with atomic_file(path) as temporary:
        save_file({"features": np.ascontiguousarray(features)}, temporary, metadata)


def _checksum(features: FloatArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(features).view(np.uint8).data).hexdigest()
