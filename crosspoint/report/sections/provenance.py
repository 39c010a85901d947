"""Section: versions, the recipe, and the hashes of all files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.report.embedded import Embedded
from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command
from crosspoint.report.read import Pieces
from crosspoint.runtime.manifest import load_manifest, verify_files


@dataclass(frozen=True)
class Hashed:
    """A file with its SHA-256 and a remark; `kind` shows the remark as a badge, `good` or `bad`."""

    name: str
    sha256: str
    remark: str = ""
    kind: str = ""


def provenance(pieces: Pieces) -> Markup | Missing:
    """Versions and hashes, to compare with another copy."""
    bundled = {} if pieces.manifest is None else pieces.manifest.versions
    versions, hashes = {**pieces.config.versions, **bundled}, list(_hashes(pieces))
    if not (versions or hashes or pieces.config.recipe):
        return Missing("versions and hashes", command(pieces, "train --data PAIRS --out", Path("run")))
    return render("provenance", versions=versions, hashes=hashes, recipe=pieces.config.recipe)


def _hashes(pieces: Pieces) -> Iterator[Hashed]:
    weights = None if pieces.run is None else pieces.run / "encoder.safetensors"
    found = [Hashed(weights.name, sha256(weights))] if weights is not None and weights.is_file() else []
    if pieces.bundle is not None:
        try:
            checked = verify_files(load_manifest(pieces.bundle))
            found += [Hashed(name, digest, "as exported", "good") for name, digest in checked.items()]
        except InputError as error:
            found.append(Hashed(pieces.bundle.name, "", str(error), "bad"))
    yield from found
    if pieces.embeddings is not None and pieces.embeddings.sha256 is not None:
        yield _origin(pieces.embeddings, pieces.embeddings.sha256, found)


def _origin(embedded: Embedded, digest: str, found: list[Hashed]) -> Hashed:
    """The model that made the embeddings, by name if it is in the folder."""
    origin = next((each.name for each in found if each.sha256 == digest), "not in this folder")
    separator = ", " if origin == "not in this folder" else ": "
    return Hashed(embedded.path.name, digest, f"the model of the embeddings{separator}{origin}")
