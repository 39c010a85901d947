"""The sections of the report that are drawn: training curves, the map of the embeddings, sample shapes."""

import shlex
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.data.sets.renders import PairedRenders
from crosspoint.report.charts import draw_cloud, line_chart, scatter, to_png
from crosspoint.report.html import Html, join, picture, tag
from crosspoint.report.read import Embeddings, Pieces, classes_of, stored_cloud
from crosspoint.report.sections.overview import Missing, command, data_of, model_of

MOST_CLOUDS = 1000  # on the map
PEEK_POINTS = 96  # of the cloud that pointing at a dot shows
SAMPLES = 9
CHARTS = {
    "Loss": (("loss", "loss_imid", "loss_cmid"), "what is minimised, and its parts within and across modalities"),
    "Alignment": (("alignment",), "squared distance of an object's two views; 0 is equal"),
    "Uniformity": (("uniformity",), "the lower, the more evenly embeddings fill the sphere"),
    "Spread": (("spread",), "1 is a uniform sphere, 0 a collapsed embedding"),
    "Linear probe": (
        ("probe_accuracy",),
        "share of held-out objects that a linear SVM gets right",
    ),
    "Objects per second": (("objects_per_second",), "speed of training"),
}


def training_section(pieces: Pieces) -> Html | Missing:
    """Losses and health of the embedding over the steps of training."""
    if not pieces.metrics:
        return Missing("curves of the training", command(pieces, "train --data PAIRS --out", Path("run")))
    charts = []
    for title, (names, note) in CHARTS.items():
        rows = [row for row in pieces.metrics if all(name in row for name in names)]
        if rows:
            step = np.array([row["step"] for row in rows])
            charts.append(line_chart(title, note, step, {n: np.array([row[n] for row in rows]) for n in names}))
    last = pieces.metrics[-1]
    device = pieces.config.get("device")
    where = f" on {device}" if device else ""
    note = tag("p", f"{last['step']:.0f} steps{where}.", class_="quiet")
    return join([note, tag("div", *charts, class_="charts")])


def map_section(pieces: Pieces) -> Html | Missing:
    """t-SNE of the embeddings, coloured by class."""
    embeddings = pieces.embeddings
    if embeddings is None:
        out = Path("embeddings.npz")
        return Missing(
            "a map of the embeddings", command(pieces, "embed", model_of(pieces), data_of(pieces), "--out", out)
        )
    total = len(embeddings.names)
    if total < 5:
        return Missing(f"a map of the embeddings, of which there are only {total}", "crosspoint embed MODEL FOLDER")
    chosen = np.sort(np.random.default_rng(0).choice(total, min(total, MOST_CLOUDS), replace=False))
    names = [embeddings.names[i] for i in chosen]
    classes = classes_of(embeddings.names, pieces.data)
    shown = [""] * len(names) if classes is None else [classes[i].replace("_", " ") for i in chosen]
    clouds = [_peek(stored_cloud(name, pieces.data)) for name in names]
    of = f"{len(names)} of {total}" if len(names) < total else f"{total}"
    note = f"t-SNE of {of} embeddings; near dots have similar embeddings. "
    if classes is None:
        note += "Their names do not tell their classes, and no data in this folder does."
    else:
        note += "Colours are classes, which training did not see; a name stands above the median of its class. "
    if any(cloud is not None for cloud in clouds):
        note += "Point at a dot to see its shape."
    return join([tag("p", note, class_="quiet"), scatter(tsne(embeddings, chosen), shown, clouds)])


def tsne(embeddings: Embeddings, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Places (n, 2) of the chosen embeddings, by t-SNE with a fixed seed on their 50 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    values = embeddings.values[chosen].astype(np.float64)  # (n, D)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # equal embeddings have no variance to divide by
        reduced = PCA(min(50, *values.shape), random_state=0).fit_transform(values)
        machine = TSNE(perplexity=min(30.0, (len(values) - 1) / 3), init="random", random_state=0, n_jobs=1)
        return np.asarray(machine.fit_transform(reduced), np.float64)


def _peek(cloud: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """A few points (P, 3) of a cloud; every cloud gives as many."""
    if cloud is None:
        return None
    some: NDArray[np.float32] = normalise(cloud)[np.linspace(0, len(cloud) - 1, PEEK_POINTS).astype(int)]
    return some


def shapes_section(pieces: Pieces) -> Html | Missing:
    """A few training objects: renderings beside the cloud."""
    if pieces.pairs is None:
        return Missing("sample shapes", command(pieces, "data make-shapes --out", Path("shapes")))
    figures = []
    for i in _samples(pieces.pairs):
        try:
            figures.append(_sample(pieces.pairs, i))
        except InputError as error:
            pieces.remarks.append(str(error))
    note = "What training sees of an object: renderings, and a cloud of points (right)."
    size = f" {len(pieces.pairs)} objects in {shlex.quote(pieces.pairs.root.name)}."
    return join([tag("p", note + size, class_="quiet"), tag("div", *figures, class_="shapes")])


def _samples(pairs: PairedRenders) -> list[int]:
    """One object of each of a few categories, evenly over the alphabet; more of each where there are few."""
    categories = [key.split("/")[0] for key in pairs.keys]
    first = [i for i in range(len(categories)) if i == 0 or categories[i] != categories[i - 1]]
    pool = first if len(first) >= SAMPLES else list(range(len(categories)))
    return [pool[i] for i in np.unique(np.linspace(0, len(pool) - 1, SAMPLES).astype(int))]


def _sample(pairs: PairedRenders, i: int) -> Html:
    from PIL import Image

    images = []
    for view in range(min(2, pairs.views(i))):
        image = Image.fromarray(pairs.image(i, view))
        image.thumbnail((160, 160))
        images.append(picture(to_png(image), f"rendering of {pairs.keys[i]}"))
    points = normalise(pairs.points(i))[:2048]
    images.append(picture(draw_cloud(points), f"points of {pairs.keys[i]}"))
    return tag("figure", tag("div", *images), tag("figcaption", pairs.keys[i].split("/")[0], class_="quiet"))
