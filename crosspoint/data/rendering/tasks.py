"""Mesh files and where their outputs go, in the layout of ShapeNetRender."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_folder, write_json
from crosspoint.core.outputs import check_content, check_known, is_schema
from crosspoint.core.reading import read_json
from crosspoint.core.workspaces import in_use, remove_partial_files
from crosspoint.data.frames import Up, find_frame
from crosspoint.data.io.folders import ALL, Patterns

COMPRESSION = 4  # PNG level: the file size of zlib's default 6 in two thirds of its time
NAME_BYTES = 200  # longest file name: 255 on most systems, less the suffixes that are added


def picture_name(view: int) -> str:
    """File name of a view: 00.png, 01.png and so on."""
    return f"{view:02d}.png"


@dataclass(frozen=True)
class Task:
    """A mesh file, and the category and name of its outputs."""

    mesh: Path
    category: str
    name: str

    def cloud(self, out: Path) -> Path:
        """Path of the point cloud in `out`."""
        return out / "ShapeNet" / self.category / f"{self.name}.ply"

    def pictures(self, out: Path) -> Path:
        """Folder of the pictures in `out`."""
        return out / "ShapeNetRendering" / self.category / self.name / "rendering"

    def finished(self, out: Path, views: int) -> bool:
        """Whether the cloud and all pictures exist. Each gets its name only when it is complete."""
        pictures = self.pictures(out)
        return self.cloud(out).exists() and all((pictures / picture_name(view)).exists() for view in range(views))

    def generator(self, seed: int) -> np.random.Generator:
        """Random generator of this mesh; it depends only on the seed, the category and the name."""
        digest = hashlib.sha256(os.fsencode(f"{self.category}/{self.name}")).digest()
        return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])


@dataclass(frozen=True)
class SkippedMesh:
    """A mesh that gave no output, and why."""

    file: str
    reason: str


def find_tasks(inputs: Sequence[Path], *, patterns: Patterns = ALL, up: Up | None = None) -> list[Task]:
    """One task per mesh file, in the order of the output paths.

    Args:
        inputs: Mesh files and folders of them.
        patterns: Which files of folders are read.
        up: The axis that points up in the meshes. None: y, which is announced where the format does not say.

    Raises:
        InputError: There are no meshes, or two meshes get the same name.
    """
    from crosspoint.data.io.files import find_files, up_of
    from crosspoint.data.io.meshes import SUFFIXES

    found: dict[Path, str] = {}  # absolute path: category
    for given in inputs:
        for file in find_files([given], patterns):
            if file.suffix.lower() in SUFFIXES or os.path.isdir(file):  # a folder that cannot be listed is reported
                found.setdefault(Path(os.path.abspath(file)), _category(file, Path(given)))
    if not found:
        raise InputError(f"{', '.join(map(str, inputs))}: no meshes found; meshes end in {', '.join(sorted(SUFFIXES))}")
    stems: dict[tuple[str, str], int] = {}
    for file, category in found.items():
        stems[category, file.stem] = stems.get((category, file.stem), 0) + 1
    tasks: dict[tuple[str, str], Task] = {}
    for file, category in found.items():
        name = file.stem if stems[category, file.stem] == 1 else f"{file.stem}_{file.suffix[1:].lower()}"
        other = tasks.setdefault((category, name), Task(file, category, name))
        if other.mesh != file:
            raise InputError(f"{other.mesh} and {file} would both become {category}/{name}; rename one of them")
        find_frame(up, up_of(file), what=f"{file.suffix.lower()} files")
    return [tasks[key] for key in sorted(tasks)]


def _category(file: Path, given: Path) -> str:
    parts = file.relative_to(given).parent.parts if given.is_dir() else ()
    return "_".join(parts) or file.resolve().parent.name


def claim(out: Path, settings_file: str, *, schema: str, settings: Mapping[str, object]) -> None:
    """Check that `out` is new or was made with these settings; store them in a new one, whose clouds are y-up.

    Args:
        out: Output folder.
        settings_file: Name of the file in it that holds the settings.
        schema: Schema of that file, `crosspoint.<kind>/1`.
        settings: Values by option name.

    Raises:
        InputError: `out` holds other files or was made with other settings.
    """
    file = out / settings_file
    if not file.exists():
        if out.exists() and in_use(out):
            raise InputError(f"{out} holds files that this command did not make; choose another --out")
        write_json(file, {"schema": schema, **settings, "stored_up": "y"})
        return
    stored = read_json(file, "the settings of an output folder", advice=f"delete {out} or choose another --out")
    if not is_schema(stored, schema.partition(".")[2].partition("/")[0]):
        raise InputError(f"{file} was not written by this command; choose another --out")
    for name, value in settings.items():
        before = stored.get(name, "y" if name == "up" else None)  # earlier versions turned nothing
        if before != value:
            raise InputError(f"{out} was made with --{name} {before}, not {value}; give that value, or another --out")


def check_pictures(folder: Path) -> None:
    """Raise InputError if a folder holds other files than pictures of views."""
    check_known(folder, re.compile(r"\d{2,}\.png").fullmatch)


def check_places(tasks: Iterable[Task], out: Path) -> None:
    """Raise InputError if other files than pictures of views would be replaced."""
    for task in tasks:
        check_content(task.pictures(out), check_pictures)


def check_name(name: str) -> None:
    """Raise InputError if a name is too long for a file."""
    if len(os.fsencode(name)) > NAME_BYTES:
        raise InputError(f"its name is longer than {NAME_BYTES} bytes; shorten it")


def remove_partial_outputs(tasks: Iterable[Task], out: Path) -> None:
    """Delete partial files of a killed run."""
    for folder in {place for task in tasks for place in (task.cloud(out).parent, task.pictures(out).parent)}:
        remove_partial_files(folder)


def write_pictures(folder: Path, pictures: npt.NDArray[np.uint8]) -> None:
    """Write pictures (views, size, size, 4) as 00.png and so on; the folder gets its name when all are written."""
    from PIL import Image

    with atomic_folder(folder, check_pictures) as temporary:
        for index, rgba in enumerate(pictures):
            Image.fromarray(rgba).save(temporary / picture_name(index), compress_level=COMPRESSION)
