"""Files of embeddings: what is in them, written atomically, and read back with every doubt checked."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.files import atomic_file
from crosspoint.errors import InputError, require
from crosspoint.runtime.encoder import FloatArray

PARQUET = "writing and reading Parquet"
KEY = b"crosspoint"  # in the metadata of a Parquet file


@dataclass(frozen=True)
class Embeddings:
    """Embeddings and where they come from.

    Attributes:
        vectors: `(n, D)` float32.
        names: Of the n clouds.
        model_sha256: Of the file that was run.
        about: How they were made, JSON-serialisable: `model`, `points`, `at_most`, `seed`, `base` (the folder that
            names are relative to) and, of a part, `skipped`.
    """

    vectors: FloatArray
    names: list[str]
    model_sha256: str
    about: dict[str, Any]


def save(path: Path, embeddings: Embeddings) -> None:
    """Write `.npz`, `.parquet`, or `.npy` (vectors alone), atomically; the same embeddings give the same bytes.

    Raises:
        InputError: The place cannot be written to.
        MissingDependency: pyarrow is not installed.
    """
    with atomic_file(path) as temporary:
        write(temporary, embeddings)


def write(path: Path, embeddings: Embeddings) -> None:
    """As `save`, to a file that is already temporary."""
    if path.suffix == ".npy":
        np.save(path, embeddings.vectors)
    elif path.suffix == ".npz":
        about = np.array(json.dumps(embeddings.about, sort_keys=True))
        sha256, names = np.array(embeddings.model_sha256), np.array(embeddings.names, dtype=np.str_)
        np.savez(path, embeddings=embeddings.vectors, names=names, model_sha256=sha256, about=about)
    else:
        _write_parquet(path, embeddings)


def _write_parquet(path: Path, embeddings: Embeddings) -> None:
    """Columns `name` (string) and `embedding` (list of D float32, of fixed size)."""
    arrow, parquet = require("pyarrow", "parquet", PARQUET), require("pyarrow.parquet", "parquet", PARQUET)
    values = arrow.array(embeddings.vectors.reshape(-1))
    vectors = arrow.FixedSizeListArray.from_arrays(values, embeddings.vectors.shape[1])
    about = {"model_sha256": embeddings.model_sha256, **embeddings.about}
    table = arrow.table({"name": arrow.array(embeddings.names, arrow.string()), "embedding": vectors})
    table = table.replace_schema_metadata({KEY: json.dumps(about, sort_keys=True)})
    parquet.write_table(table, path, compression="none", use_dictionary=False)  # noise does not compress


def load(path: Path) -> Embeddings:
    """Read one `.npz` or `.parquet` file that `save` wrote.

    Raises:
        InputError: It is missing, damaged or something else.
        MissingDependency: pyarrow is not installed.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".parquet"):
        raise InputError(f"{path} does not say which model made it; give embeddings as .npz, .parquet or their folder")
    if path.suffix == ".parquet":
        require("pyarrow.parquet", "parquet", PARQUET)
    try:
        result = _load_npz(path) if path.suffix == ".npz" else _load_parquet(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give what crosspoint embed wrote") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is damaged or not a file of embeddings ({reason}); embed again") from error
    if result.vectors.ndim != 2 or len(result.names) != len(result.vectors):
        raise InputError(f"{path}: its {len(result.names)} names do not fit {result.vectors.shape}; embed again")
    return result


def _load_npz(path: Path) -> Embeddings:
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"])) if "about" in file else {}
        vectors = np.asarray(file["embeddings"], np.float32)
        return Embeddings(vectors, file["names"].tolist(), str(file["model_sha256"]), about)


def _load_parquet(path: Path) -> Embeddings:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        table = file.read()
    about = json.loads(table.schema.metadata[KEY])
    column = table["embedding"].combine_chunks()
    vectors = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    return Embeddings(np.asarray(vectors, np.float32), table["name"].to_pylist(), about.pop("model_sha256"), about)


def read_about(path: Path) -> dict[str, Any]:
    """What a part says of itself, `model_sha256` and all, without reading its vectors."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {"model_sha256": str(file["model_sha256"]), **json.loads(str(file["about"]))}
    import pyarrow.parquet as parquet

    about: dict[str, Any] = json.loads(parquet.read_schema(path).metadata[KEY])
    return about
