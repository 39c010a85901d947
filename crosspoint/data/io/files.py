"""Files of points and meshes of every format, one way to read them all."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.reading import list_folder, read_start, reading, regular
from crosspoint.data.io import clouds, meshes
from crosspoint.data.io.inflate import format_of
from crosspoint.data.io.ply_header import HEADER_BYTES, read_header
from crosspoint.data.points import Coordinates, check_count, sample_points

SUFFIXES = clouds.SUFFIXES | meshes.SUFFIXES
MESH_POINTS = 2048  # drawn from a mesh when no number is asked for: what the published data sets hold


def read_points(
    path: Path, count: int | None, seed: int, at_most: bool = False, *, columns: str | None = None
) -> Coordinates:
    """Read the points of a file: drawn by area from a mesh, chosen without replacement from a cloud.

    A file of a mesh format without faces is a cloud. What is drawn depends on the seed and the file's name alone.

    Args:
        path: A file with one of `SUFFIXES`.
        count: Points per cloud; if None, `MESH_POINTS` from a mesh and all of a cloud.
        seed: Seed of the draw.
        at_most: Take a cloud of fewer points than `count` whole instead of refusing it.
        columns: Of text, the names or numbers of the columns of x, y and z, `"x,y,z"` or `"2,3,4"`; of `.bin`, how many
            float32 a row has, `"5"`. Told by the file itself if None.

    Returns:
        (n, N, 3), not normalised, in float64 unless the file holds float32; n is 1 unless it holds several clouds.

    Raises:
        InputError: The file is bad in any way, has fewer than `count` points, or clouds of different sizes.
    """
    path = Path(path)
    regular(path)
    if count is not None:
        check_count(count)
    rng = _generator(path, seed)
    if format_of(path) in meshes.SUFFIXES:
        shape = meshes.read_shape(path)
        if len(shape.faces):
            with reading(path, "a mesh"):
                return meshes.sample_surface(*shape, count or MESH_POINTS, rng)[0][None]
        found = clouds.without_missing(path, iter([shape.vertices]))
    else:
        found = clouds.iterate_clouds(path, columns)
    with reading(path, "a cloud"):
        chosen = [
            cloud if count is None or (at_most and len(cloud) <= count) else sample_points(cloud, count, rng)
            for cloud in found
        ]
        return clouds.joined(chosen)


def read_many(paths: Iterable[Path], count: int | None, seed: int) -> Iterator[tuple[Path, Coordinates | InputError]]:
    """`read_points` of each path in turn; a bad file yields its InputError instead of ending the work."""
    for path in paths:
        try:
            yield path, read_points(path, count, seed)
        except InputError as error:
            yield path, error


def is_mesh(path: Path) -> bool:
    """Whether a file is read as a mesh: it is of a mesh format, and has faces."""
    path = Path(path)
    suffix = format_of(path)
    if suffix == ".ply" and path.suffix.lower() == suffix:
        return _announces_faces(path)
    try:
        return suffix in meshes.SUFFIXES and len(meshes.read_shape(path).faces) > 0
    except InputError:
        return suffix != ".ply"


def _announces_faces(path: Path) -> bool:
    """By the header of a `.ply`; not if there is none that can be read."""
    try:
        return read_header(read_start(path, HEADER_BYTES)).count("face") > 0
    except InputError:
        return False


def find_files(inputs: Sequence[Path]) -> list[Path]:
    """Files to read: each given file, and every file with one of `SUFFIXES` in the given folders and their subfolders.

    Hidden files are passed over, links are followed, a file that is reached twice is returned once. A subfolder that
    cannot be listed stands among the files, so that reading it says why.

    Returns:
        Paths, sorted, each beginning with the input under which it was found.

    Raises:
        InputError: An input is not there, a given file has another suffix, a given folder cannot be listed or holds no
            file that can be read.
    """
    found: dict[str, Path] = {}  # real path: path as found
    for given in map(Path, inputs):
        for path in _in_folder(given) if os.path.isdir(given) else [_single(given)]:
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def _single(path: Path) -> Path:
    if not os.path.exists(path):
        raise InputError(f"{path}: there is no such file or folder")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: cannot be read; give {', '.join(sorted(SUFFIXES))}")
    return path


def _in_folder(folder: Path) -> list[Path]:
    """The files in a folder and below, without recursion: folders may lie thousands deep."""
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()  # a link may lead back to a folder above it
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        try:
            status = os.stat(place)
            with os.scandir(place) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError:
            found.append(Path(place))
            continue
        if (status.st_dev, status.st_ino) not in visited:
            visited.add((status.st_dev, status.st_ino))
            folders = [entry for entry in listed if _is_folder(entry)]
            waiting += sorted((entry.path for entry in folders), reverse=True)
            files = set(listed) - set(folders)
            found += [Path(entry.path) for entry in files if os.path.splitext(entry.name)[1].lower() in SUFFIXES]
    if found == [folder]:
        list_folder(folder)  # says why it cannot be
    if not found:
        raise InputError(f"{folder}: is empty of files that can be read; they end in {', '.join(sorted(SUFFIXES))}")
    return found


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _generator(path: Path, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
