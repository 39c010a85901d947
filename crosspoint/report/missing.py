"""What is not on the page, with the command that would add it."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from crosspoint.report.read import Pieces


@dataclass(frozen=True)
class Missing:
    """Something that is not on the page, with the command that would add it."""

    what: str
    command: str


def command(pieces: Pieces, *words: str | Path) -> str:
    """A command line to copy; paths are relative to the report's folder."""
    written = [shlex.quote(str(pieces.folder / word)) if isinstance(word, Path) else word for word in words]
    return " ".join(["crosspoint", *written])


def data_of(pieces: Pieces) -> str:
    """The labelled data in the folder, for a command to copy."""
    return "DATA" if pieces.data_folder is None else shlex.quote(str(pieces.data_folder))


def model_of(pieces: Pieces) -> str:
    """The model in the folder, for a command to copy."""
    place = pieces.run or pieces.bundle
    return "MODEL" if place is None else shlex.quote(str(place))
