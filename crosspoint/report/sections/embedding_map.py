"""Section: a t-SNE map of the embeddings, coloured by class."""

import warnings
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from crosspoint.core.errors import require
from crosspoint.data.points import normalise
from crosspoint.report.embedded import classes_of, stored_cloud
from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command, data_of, model_of
from crosspoint.report.read import Pieces
from crosspoint.report.scatter import scatter

FEWEST = 5  # fewest embeddings for a map
PEEK_POINTS = 96  # points of the cloud that is shown when pointing at an embedding


def embedding_map(pieces: Pieces) -> Markup | Missing:
    """A point for each embedding; of very many embeddings, a random sample."""
    embedded = pieces.embeddings
    if embedded is None:
        words = ("embed", model_of(pieces), data_of(pieces), "--out", Path("embeddings.npz"))
        return Missing("a map of the embeddings", command(pieces, *words))
    count = len(embedded.values)
    if count < FEWEST:
        return Missing(f"a map of the embeddings, of which there are only {count}", "crosspoint embed MODEL FOLDER")
    classes = classes_of(embedded.names, pieces.data)
    clouds = [_peek(stored_cloud(name, pieces.data)) for name in embedded.names or [""] * count]
    shown = [""] * count if classes is None else [name.replace("_", " ") for name in classes]
    return render(
        "embedding_map",
        source=pieces.short(embedded.path),
        count=count,
        total=embedded.total,
        named=embedded.names is not None,
        classes=classes is not None,
        peeks=any(cloud is not None for cloud in clouds),
        scatter=scatter(tsne(embedded.values), shown, clouds=clouds),
    )


def tsne(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Positions (n, 2) of embeddings (n, D): t-SNE with a fixed seed on their 50 principal components."""
    require("sklearn.manifold", "report", purpose="the map of embeddings")
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # division by the variance, which is 0 for equal embeddings
        reduced = PCA(min(50, *values.shape), random_state=0).fit_transform(values.astype(np.float64))
        perplexity = min(30.0, (len(values) - 1) / 3)
        placed = TSNE(perplexity=perplexity, init="random", random_state=0, n_jobs=1).fit_transform(reduced)
    return np.asarray(placed, np.float64)


def _peek(cloud: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """A few points (P, 3) of a cloud, the same number for every cloud."""
    if cloud is None:
        return None
    some: NDArray[np.float32] = normalise(cloud)[np.linspace(0, len(cloud) - 1, PEEK_POINTS).astype(int)]
    return some
