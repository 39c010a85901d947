"""Divide the training split of a labelled set so that near-duplicates lie on one side; writes a new set.

    python tools/validation_split.py modelnet40_ply_hdf5_2048 --out validation
    crosspoint eval svm pointnet --data validation

A fifth drawn at random flatters: an object that is held out often has its near-duplicate in the training part. Here
objects are first grouped by their embeddings: complete linkage, so that any two objects of a group are within a cosine
distance. Then groups are dealt to five folds with about equal shares of each class, and one fold is the test split of
the new set. Memory grows with the square of the objects: 10,000 take 1.2 GB.
"""

import argparse
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.model_selection import StratifiedGroupKFold

from crosspoint import load
from crosspoint.data.sets.datasets import load_classification
from crosspoint.data.splits import sample

WITHIN = 0.02  # 9,843 objects of ModelNet40 are then 2,946 groups of dgcnn@4, the largest of 88
FOLDS = 5


def near_duplicates(embeddings: NDArray[np.float32], within: float) -> NDArray[np.int64]:
    """A group number for each of `(n, D)` embeddings; any two of a group have a cosine distance of at most `within`."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    distances = np.maximum(1 - unit @ unit.T, 0)  # (n, n)
    upper = distances[np.triu_indices(len(unit), 1)].astype(np.float64)
    return np.asarray(fcluster(linkage(upper, "complete"), within, "distance"), np.int64)


def divide(labels: NDArray[np.int64], groups: NDArray[np.int64], *, fold: int, seed: int) -> NDArray[np.bool_]:
    """Which of `(n,)` objects are held out: a fold of whole groups with about its share of each class."""
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels, groups)
    held_out = np.zeros(len(labels), bool)
    held_out[list(folds)[fold][1]] = True
    return held_out


def write_set(
    out: Path, points: NDArray[np.float32], labels: NDArray[np.int64], *, held_out: NDArray[np.bool_], names: list[str]
) -> None:
    """Write clouds `(n, N, 3)` in ModelNet40's format; those of `held_out` are the test split."""
    out.mkdir(parents=True)
    (out / "shape_names.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for split, rows in (("train", ~held_out), ("test", held_out)):
        with h5py.File(out / f"ply_data_{split}0.h5", "w") as file:
            file["data"], file["label"] = points[rows], labels[rows, None].astype(np.uint8)


def main() -> None:
    """Embed the training split, group it and write the new set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder in ModelNet40's or ScanObjectNN's format")
    parser.add_argument("--out", type=Path, required=True, help="new folder, in ModelNet40's format")
    parser.add_argument("--model", default="dgcnn", help="encoder whose neighbours are grouped")
    parser.add_argument("--points", type=int, default=1024, help="points of each cloud that are embedded")
    parser.add_argument("--within", type=float, default=WITHIN, help="cosine distance within a group")
    parser.add_argument("--fold", type=int, choices=range(FOLDS), default=0, help="fold that is held out")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the points and the folds")
    arguments = parser.parse_args()
    whole = load_classification(arguments.data, None)
    points, labels = whole.train.points, whole.train.labels
    with load(arguments.model) as encoder:
        drawn = sample(points, arguments.points, seed=arguments.seed)
        embeddings = encoder.embed(drawn, normalise=True, up="y")
    groups = near_duplicates(embeddings, arguments.within)
    held_out = divide(labels, groups, fold=arguments.fold, seed=arguments.seed)
    write_set(arguments.out, points, labels, held_out=held_out, names=list(whole.class_names))
    sizes = np.bincount(groups)
    print(f"{len(labels)} objects in {np.count_nonzero(sizes)} groups, the largest of {sizes.max()}")
    print(f"{arguments.out}: {np.count_nonzero(~held_out)} to train, {np.count_nonzero(held_out)} held out")


if __name__ == "__main__":
    main()
