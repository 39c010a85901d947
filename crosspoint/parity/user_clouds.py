"""The user's own clouds for comparing models."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.data.frames import ASSUMED, Frame, Up, common_frame, find_frame, to_y_up
from crosspoint.data.io.files import find_files, read_many, up_of
from crosspoint.data.points import normalise, sample_points
from crosspoint.data.sets.datasets import Clouds, PairedRenders, load_parts
from crosspoint.data.sets.layout import EXPECTED, locate
from crosspoint.data.sets.renders import up_of_set
from crosspoint.data.splits import balanced, load_split, take

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class UserClouds:
    """Real clouds, normalised, in one array.

    Attributes:
        points: `(n, N, 3)`; the training part comes first.
        labels: `(n,)`; None if the data has no labels.
        train: Number of clouds in the training part; all if there are no labels.
        source: What was read, in words.
        skipped: Files that could not be used, with the reason.
        frame: In which the clouds are stored; `points` are y-up.
    """

    points: FloatArray
    labels: NDArray[np.int64] | None
    train: int
    source: str
    skipped: tuple[str, ...] = ()
    frame: Frame = ASSUMED


def real_clouds(data: Path, points: int, *, limit: int | None, seed: int, up: Up | None = None) -> UserClouds:
    """Read a data set of any known format, or all readable files of a folder.

    Args:
        data: Folder or file.
        points: Points per cloud; of a data set the first ones, of a file a random choice.
        limit: Largest number of clouds, drawn with `seed` and balanced over the classes; None: all.
        seed: Random seed.
        up: The axis that points up in the data; None for what it says itself, else y, which is announced.

    Raises:
        InputError: There is nothing that can be read, or a dataset's clouds have fewer points.
    """
    data = Path(data)
    if limit is not None and limit < 1:
        raise InputError(f"--clouds is {limit}; give at least 1")
    found = _find_set(data)
    if found is None:
        return _files(data, points, limit, seed, up)
    known, folder = found
    frame = find_frame(up, up_of_set(known, folder), what=f"the clouds of {data}")
    if known in ("modelnet40", "scanobjectnn"):
        split = load_split(data, points, seed=seed, up=frame.up)
        read = _labelled(split.train, split.test, points, limit, seed, f"{known}, SVM tested on {split.test_from}")
    elif known == "shapenetpart":
        parts = load_parts(data, points, up=frame.up)
        train, test = (Clouds(part.points, part.labels) for part in (parts.train, parts.test))
        read = _labelled(train, test, points, limit, seed, f"{known}, SVM of categories, tested on the test split")
    else:
        renders = PairedRenders(data)
        rows = track(_draw(len(renders), limit, seed), "Reading clouds")
        rng = np.random.default_rng(seed)
        clouds = np.stack([sample_points(renders.points(int(row)), points, rng=rng) for row in rows])
        read = UserClouds(normalise(to_y_up(clouds, frame.up)), None, len(clouds), f"{known}, no labels")
    return replace(read, frame=frame)


def _files(data: Path, points: int, limit: int | None, seed: int, up: Up | None) -> UserClouds:
    """Clouds of the files in a folder; files that cannot be read are skipped and listed."""
    files = find_files([data])
    chosen = [files[row] for row in _draw(len(files), limit, seed)]
    frame = common_frame(find_frame(up, up_of(file), what=f"{file.suffix.lower()} files") for file in chosen)
    clouds, skipped = [], []
    for _, result in track(read_many(chosen, points, seed=seed, up=up), "Reading files", total=len(chosen)):
        if isinstance(result, InputError):
            skipped.append(str(result))
        else:
            clouds.append(normalise(result))
    if not clouds:
        raise InputError(f"not one of {len(chosen)} files of {data} could be used; the first: {skipped[0]}")
    points_of_all = np.concatenate(clouds)[:limit]
    return UserClouds(points_of_all, None, len(points_of_all), "files, no labels", tuple(skipped), frame)


def _find_set(data: Path) -> tuple[str, Path] | None:
    """Format and folder of the one data set in `data`; None of files."""
    try:
        return locate(data, tuple(EXPECTED))
    except InputError:
        return None


def _draw(count: int, limit: int | None, seed: int) -> NDArray[np.int64]:
    """Sorted indices of at most `limit` of `count` items."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def _labelled(train: Clouds, test: Clouds, points: int, limit: int | None, seed: int, source: str) -> UserClouds:
    """Both parts, reduced to the limit; without labels if too few clouds are left to train a classifier."""
    whole = len(train.labels) + len(test.labels)
    share = 1.0 if limit is None else min(1.0, limit / whole)
    to_test = math.ceil(share * len(test.labels))
    to_train = len(train.labels) if share == 1 else max(0, (limit or 0) - to_test)
    parts = [
        take(train, balanced(train.labels, to_train, seed=seed)),
        take(test, balanced(test.labels, to_test, seed=seed)),
    ]
    clouds = normalise(np.concatenate([part.points[:, :points] for part in parts]))
    counts = np.unique(parts[0].labels, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < 2:
        return UserClouds(clouds, None, len(clouds), f"{source}; too few clouds of each class for an SVM")
    return UserClouds(clouds, np.concatenate([part.labels for part in parts]), to_train, source)
