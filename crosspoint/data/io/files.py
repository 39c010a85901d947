"""Reads point-cloud and mesh files of every format through one function."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.reading import list_folder, reading, regular
from crosspoint.data.io import clouds, meshes
from crosspoint.data.io.mesh_files import ply_faces
from crosspoint.data.points import Points, check_count, sample_points

SUFFIXES = clouds.SUFFIXES | meshes.SUFFIXES
MESH_POINTS = 2048  # points drawn from a mesh by default, as many as the published data sets hold


def read_points(path: Path, count: int | None, *, seed: int, at_most: bool = False) -> Points:
    """Read the points of a file: sampled by area from a mesh, drawn without replacement from a point cloud.

    A `.ply` with faces is a mesh; without faces it is a cloud. The sample depends only on the seed and the file's name.

    Args:
        path: A file with one of `SUFFIXES`.
        count: Points per cloud. None: `MESH_POINTS` for a mesh, all points for a cloud.
        seed: Random seed of the sample.
        at_most: If a cloud has fewer points than `count`, take all of them instead of raising an error.

    Returns:
        (n, N, 3), not normalised; n is 1 unless the file holds an (n, N, 3) array.

    Raises:
        InputError: The file cannot be read, is damaged, or has fewer than `count` points.
    """
    path = Path(path)
    regular(path)
    if count is not None:
        check_count(count)
    rng = _generator(path, seed)
    if is_mesh(path):
        mesh = meshes.read_mesh(path)
        return meshes.sample_surface(mesh.vertices, mesh.faces, count=count or MESH_POINTS, rng=rng)[0][None]
    found = clouds.read_clouds(path)  # (n, N, 3)
    if count is None or (at_most and found.shape[1] <= count):
        return found
    with reading(path, "a cloud"):
        return np.stack([sample_points(cloud, count, rng=rng) for cloud in found])


def read_many(paths: Iterable[Path], count: int | None, *, seed: int) -> Iterator[tuple[Path, Points | InputError]]:
    """`read_points` of each path in turn. A bad file yields its InputError, and the iteration goes on."""
    for path in paths:
        try:
            yield path, read_points(path, count, seed=seed)
        except InputError as error:
            yield path, error


def is_mesh(path: Path) -> bool:
    """Whether a file is read as a mesh. The suffix decides, and the header of a `.ply`."""
    path = Path(path)
    if path.suffix.lower() != ".ply":
        return path.suffix.lower() in meshes.SUFFIXES
    return ply_faces(path)


def find_files(inputs: Sequence[Path]) -> list[Path]:
    """List the files to read: each given file, and all files with one of `SUFFIXES` in the given folders, recursively.

    Hidden files are skipped, links are followed, and a file that is found twice is returned once. A subfolder that
    cannot be listed is returned like a file, so that reading it reports the reason.

    Returns:
        Sorted paths. Each begins with the input under which it was found.

    Raises:
        InputError: An input does not exist, a given file has another suffix, a given folder cannot be listed, or a
            folder holds no readable file.
    """
    found: dict[str, Path] = {}  # real path: path as it was found
    for given in map(Path, inputs):
        for path in _in_folder(given) if os.path.isdir(given) else [_single(given)]:
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def _single(path: Path) -> Path:
    if not os.path.exists(path):
        raise InputError(f"{path}: does not exist; give an existing file or folder")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: has no known suffix; give a file that ends in {', '.join(sorted(SUFFIXES))}")
    return path


def _in_folder(folder: Path) -> list[Path]:
    """Files in a folder and below; a loop instead of recursion, because folders may be nested thousands deep."""
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()  # because a link may lead back to a parent folder
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
        list_folder(folder)  # raises the reason
    if not found:
        raise InputError(f"{folder}: holds no file that can be read; files end in {', '.join(sorted(SUFFIXES))}")
    return found


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _generator(path: Path, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
