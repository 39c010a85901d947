"""Reads point-cloud and mesh files of every format through one function."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from crosspoint.core.console import announce
from crosspoint.core.errors import CrosspointError, InputError, MissingDependency
from crosspoint.core.reading import read_start, reading, regular
from crosspoint.data.frames import Up, to_y_up
from crosspoint.data.io import clouds, meshes, scans
from crosspoint.data.io.folders import ALL, SUFFIXES, Patterns, search_folder
from crosspoint.data.io.formats.ply_header import HEADER_BYTES, read_header
from crosspoint.data.io.inflate import format_of
from crosspoint.data.io.scans import bags
from crosspoint.data.io.scans.e57 import read_e57
from crosspoint.data.io.scans.las import read_las
from crosspoint.data.points import Coordinates, check_count, drawing, sample_points

UP: dict[str, Up] = {  # of glTF by its specification (2.0, 3.4), of scans by the custom of all who write them
    **dict.fromkeys((".gltf", ".glb"), "y"),
    **dict.fromkeys((".bin", ".las", ".laz", ".e57", ".bag", ".mcap", ".db3"), "z"),
}
MESH_POINTS = 2048  # points drawn from a mesh by default, as many as the published data sets hold


def read_points(
    path: Path,
    count: int | None,
    *,
    seed: int,
    at_most: bool = False,
    draws: int = 1,
    columns: str | None = None,
    up: Up = "y",
) -> Coordinates:
    """Read the points of a file: sampled by area from a mesh, drawn without replacement from a point cloud.

    A file of a mesh format without faces is a cloud. The sample depends only on the seed and on the number of points of
    a cloud or the faces of a mesh: a copy that was renamed, moved, turned or scaled gives the same points.

    Args:
        path: A file with one of `SUFFIXES`.
        count: Points per cloud. None: `MESH_POINTS` for a mesh, all points for a cloud.
        seed: Random seed of the sample.
        at_most: If a cloud has fewer points than `count`, take all of them instead of raising an error.
        draws: How often points are drawn from each cloud; what is taken whole is repeated.
        columns: Text: names or numbers of the columns of x, y and z, `"x,y,z"` or `"2,3,4"`. `.bin`: number of float32
            per row, `"5"`. None: found from the file.
        up: The axis that points up in the file.

    Returns:
        (n * draws, N, 3), y-up and not normalised, the draws of a cloud one after the other; float64 unless the file
        holds float32. n is 1 unless the file holds several clouds.

    Raises:
        InputError: The file cannot be read, is damaged, has fewer than `count` points, or has clouds of several sizes.
    """
    found = list(iterate_points(path, count, seed=seed, at_most=at_most, draws=draws, columns=columns, up=up))
    with reading(path, "a cloud"):
        return clouds.joined(found)


def iterate_points(
    path: Path,
    count: int | None,
    *,
    seed: int,
    at_most: bool = False,
    draws: int = 1,
    columns: str | None = None,
    up: Up = "y",
) -> Iterator[Coordinates]:
    """The clouds of a file as of `read_points`, one after the other, each (N, 3); they may differ in size."""
    path = Path(path)
    file, topic = bags.split_topic(path)
    regular(file)
    if count is not None:
        check_count(count)
    suffix = format_of(file)
    if suffix in meshes.SUFFIXES:
        shape = meshes.read_geometry(path)
        if len(shape.faces):
            rng = drawing(seed, len(shape.vertices), faces=shape.faces)
            vertices = to_y_up(shape.vertices, up)  # first: what is drawn depends on the last bit of areas
            with reading(path, "a mesh"):
                for _ in range(draws):
                    yield meshes.sample_surface(vertices, shape.faces, count=count or MESH_POINTS, rng=rng)[0]
            return
        found = clouds.without_missing(path, iter([shape.vertices]))
    elif suffix in scans.SUFFIXES:
        found = clouds.without_missing(path, _scans(file, suffix, topic))
    else:
        found = clouds.iterate_clouds(path, columns)
    for cloud in found:
        if count is None or (at_most and len(cloud) <= count):
            yield from [to_y_up(cloud, up)] * draws
            continue
        rng = drawing(seed, len(cloud))
        for _ in range(draws):
            with reading(path, "a cloud"):
                drawn = sample_points(cloud, count, rng=rng)
            yield to_y_up(drawn, up)


def _scans(path: Path, suffix: str, topic: str | None) -> Iterator[Coordinates]:
    """Read the clouds of a scan format: LAS, E57 or a bag."""
    if suffix in (".las", ".laz"):
        yield read_las(path)
    else:
        yield from read_e57(path) if suffix == ".e57" else bags.read_bag(path, topic)


def read_many(
    paths: Iterable[Path], count: int | None, *, seed: int, columns: str | None = None, up: Up | None = None
) -> Iterator[tuple[Path, Coordinates | InputError]]:
    """`read_points` of each path in turn. A bad file yields its InputError, and the iteration goes on.

    A file that needs a missing package yields an InputError too. `up` None: as a file's format says, else y.
    """
    for path in paths:
        try:
            yield path, read_points(path, count, seed=seed, columns=columns, up=up or up_of(path) or "y")
        except (InputError, MissingDependency) as error:
            yield path, as_input_error(error)


def as_input_error(error: CrosspointError) -> InputError:
    """Convert the error of one file among many to an InputError, also the one of a missing package."""
    return error if isinstance(error, InputError) else InputError(str(error))


def is_mesh(path: Path) -> bool:
    """Whether a file is read as a mesh: it has a mesh format and faces."""
    path = Path(path)
    suffix = format_of(path)
    if suffix == ".ply" and path.suffix.lower() == suffix:
        return _ply_faces(path)
    try:
        return suffix in meshes.SUFFIXES and len(meshes.read_geometry(path).faces) > 0
    except InputError:
        return suffix != ".ply"


def _ply_faces(path: Path) -> bool:
    """Whether the header of a `.ply` has faces; False if the header cannot be read."""
    try:
        return read_header(read_start(path, HEADER_BYTES)).count("face") > 0
    except InputError:
        return False


def up_of(path: Path) -> Up | None:
    """The axis that points up in files of this format; None where the format does not say."""
    return UP.get(format_of(bags.split_topic(path)[0]))


def find_files(
    inputs: Sequence[Path], patterns: Patterns = ALL, *, columns: str | None = None, tell: bool = True
) -> list[Path]:
    """List the files to read: each given file, and all files with one of `SUFFIXES` in the given folders, recursively.

    Hidden files are skipped, links are followed, and a file that is found twice is returned once. A subfolder that
    cannot be listed is returned like a file, so that reading it reports the reason. `search_folder` says what else is
    skipped.

    Args:
        inputs: Files and folders.
        patterns: Which files of folders to read.
        columns: Columns of text that the user names, see `read_points`; text without them is skipped in folders.
        tell: Count the skipped files in a line on standard error.

    Returns:
        Sorted paths. Each begins with the input under which it was found.

    Raises:
        InputError: An input does not exist, a given file has another suffix, a given folder cannot be listed, or a
            folder holds no readable file.
    """
    found: dict[str, Path] = {}  # real path: path as found
    for given in map(Path, inputs):
        for path in _in_folder(given, patterns, columns, tell) if os.path.isdir(given) else [_single(given)]:
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def _single(path: Path) -> Path:
    file = bags.split_topic(path)[0]
    if not os.path.exists(file):
        raise InputError(f"{path}: does not exist; give an existing file or folder")
    if format_of(file) not in SUFFIXES:
        raise InputError(f"{path}: has no known suffix; give a file that ends in {', '.join(sorted(SUFFIXES))}")
    return path


def _in_folder(folder: Path, patterns: Patterns, columns: str | None, tell: bool) -> list[Path]:
    found = search_folder(folder, patterns, columns=columns)
    if not found.files:
        known = f"; files end in {', '.join(sorted(SUFFIXES))}"
        passed = f"{found.summary()}" or "there are none" if patterns == ALL else "none matches the patterns"
        raise InputError(f"{folder}: holds no file that can be read ({passed}){known}")
    if tell and found.passed:
        announce(f"{folder}: {found.summary()}")
    return found.files
