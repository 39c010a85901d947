"""Files of points and meshes of every format, one way to read them all."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from crosspoint.core.console import announce
from crosspoint.core.errors import CrosspointError, InputError, MissingDependency
from crosspoint.core.reading import read_start, reading, regular
from crosspoint.data.io import clouds, meshes, scans
from crosspoint.data.io.folders import ALL, SUFFIXES, Patterns, search_folder
from crosspoint.data.io.formats.ply_header import HEADER_BYTES, read_header
from crosspoint.data.io.inflate import format_of
from crosspoint.data.io.scans import bags
from crosspoint.data.io.scans.e57 import read_e57
from crosspoint.data.io.scans.las import read_las
from crosspoint.data.points import Coordinates, check_count, sample_points

UP = {".gltf": "y", ".glb": "y", **dict.fromkeys((".bin", ".las", ".laz", ".e57", ".bag", ".mcap", ".db3"), "z")}
MESH_POINTS = 2048  # drawn from a mesh when no number is asked for: what the published data sets hold


def read_points(
    path: Path, count: int | None, *, seed: int, at_most: bool = False, columns: str | None = None
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
    file, topic = bags.split_topic(path)
    regular(file)
    if count is not None:
        check_count(count)
    rng = _generator(path, seed)
    suffix = format_of(file)
    if suffix in meshes.SUFFIXES:
        shape = meshes.read_geometry(path)
        if len(shape.faces):
            with reading(path, "a mesh"):
                return meshes.sample_surface(*shape, count=count or MESH_POINTS, rng=rng)[0][None]
        found = clouds.without_missing(path, iter([shape.vertices]))
    elif suffix in scans.SUFFIXES:
        found = clouds.without_missing(path, _scans(file, suffix, topic))
    else:
        found = clouds.iterate_clouds(path, columns)
    chosen = []
    for cloud in found:
        with reading(path, "a cloud"):
            whole = count is None or (at_most and len(cloud) <= count)
            chosen.append(cloud if whole or count is None else sample_points(cloud, count, rng=rng))
    with reading(path, "a cloud"):
        return clouds.joined(chosen)


def _scans(path: Path, suffix: str, topic: str | None) -> Iterator[Coordinates]:
    """The clouds of a file that holds a sensor's scans."""
    if suffix in (".las", ".laz"):
        yield read_las(path)
    else:
        yield from read_e57(path) if suffix == ".e57" else bags.read_bag(path, topic)


def read_many(
    paths: Iterable[Path], count: int | None, *, seed: int, columns: str | None = None
) -> Iterator[tuple[Path, Coordinates | InputError]]:
    """`read_points` of each path in turn; a bad file yields its InputError instead of ending the work.

    So does one for which a package is missing.
    """
    for path in paths:
        try:
            yield path, read_points(path, count, seed=seed, columns=columns)
        except (InputError, MissingDependency) as error:
            yield path, as_input_error(error)


def as_input_error(error: CrosspointError) -> InputError:
    """What is wrong with one file of many, also where it is that a package is missing."""
    return error if isinstance(error, InputError) else InputError(str(error))


def is_mesh(path: Path) -> bool:
    """Whether a file is read as a mesh: it is of a mesh format, and has faces."""
    path = Path(path)
    suffix = format_of(path)
    if suffix == ".ply" and path.suffix.lower() == suffix:
        return _announces_faces(path)
    try:
        return suffix in meshes.SUFFIXES and len(meshes.read_geometry(path).faces) > 0
    except InputError:
        return suffix != ".ply"


def _announces_faces(path: Path) -> bool:
    """By the header of a `.ply`; not if there is none that can be read."""
    try:
        return read_header(read_start(path, HEADER_BYTES)).count("face") > 0
    except InputError:
        return False


def up_of(path: Path) -> str | None:
    """The axis that points up in files of this format, `"y"` or `"z"`; None where the format does not say."""
    return UP.get(format_of(bags.split_topic(path)[0]))


def find_files(inputs: Sequence[Path], patterns: Patterns = ALL, *, tell: bool = True) -> list[Path]:
    """Files to read: each given file, and every file with one of `SUFFIXES` in the given folders and their subfolders.

    Hidden files are passed over, links are followed, a file that is reached twice is returned once. A subfolder that
    cannot be listed stands among the files, so that reading it says why. See `search_folder` for what is passed over.

    Args:
        inputs: Files and folders.
        patterns: Which files of folders to read.
        tell: Whether a line on standard error counts what is passed over.

    Returns:
        Paths, sorted, each beginning with the input under which it was found.

    Raises:
        InputError: An input is not there, a given file has another suffix, a given folder cannot be listed or holds no
            file that can be read.
    """
    found: dict[str, Path] = {}  # real path: path as found
    for given in map(Path, inputs):
        for path in _in_folder(given, patterns, tell) if os.path.isdir(given) else [_single(given)]:
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def _single(path: Path) -> Path:
    file = bags.split_topic(path)[0]
    if not os.path.exists(file):
        raise InputError(f"{path}: there is no such file or folder")
    if format_of(file) not in SUFFIXES:
        raise InputError(f"{path}: cannot be read; give {', '.join(sorted(SUFFIXES))}")
    return path


def _in_folder(folder: Path, patterns: Patterns, tell: bool) -> list[Path]:
    found = search_folder(folder, patterns)
    if not found.files:
        known = f"; they end in {', '.join(sorted(SUFFIXES))}"
        passed = f"{found.summary()}" or "there are none" if patterns == ALL else "of those that the patterns allow"
        raise InputError(f"{folder}: is empty of files that can be read ({passed}){known}")
    if tell and found.passed:
        announce(f"{folder}: {found.summary()}")
    return found.files


def _generator(path: Path, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
