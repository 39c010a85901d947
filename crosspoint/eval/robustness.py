"""How accuracy falls as clouds get worse: rotated, noisy, thinned, occluded, seen from one side, or with fewer points.

The paper has no such measurement. A linear SVM is fitted on features of intact training clouds, with C by
cross-validation; test clouds are corrupted, brought to mean 0 and radius 1 again as every cloud is, and embedded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_folder
from crosspoint.core.plots import require_plots
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.points import normalise
from crosspoint.data.rendering.raycast import camera
from crosspoint.data.rendering.render import ELEVATIONS
from crosspoint.data.splits import Split, load_split
from crosspoint.data.visible import visible
from crosspoint.eval.curve import CurveModel, SeverityAccuracy, SeverityCurve
from crosspoint.eval.features import (
    ModelInfo,
    Reference,
    SplitInfo,
    check_seed,
    describe_model,
    describe_split,
    embed_clouds,
    open_encoders,
)
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.statistics import paired, wilson
from crosspoint.eval.options import RunOn, Sampling
from crosspoint.runtime.encoder import Encoder

Cloud = NDArray[np.float64]  # (N, 3), mean 0 and radius 1
Corrupt = Callable[[Cloud, float, np.random.Generator], Cloud]


@dataclass(frozen=True)
class Corruption:
    """A way to corrupt clouds.

    Attributes:
        title: What it does, with the unit of its severity.
        severities: From harmless to severe.
        corrupt: From a cloud `(N, 3)`, a severity and a source of randomness to the corrupted cloud.
        intact: Whether the first severity leaves a cloud as it is.
    """

    title: str
    severities: tuple[float, ...]
    corrupt: Corrupt
    intact: bool = True


def rotate(cloud: Cloud, degrees: float, rng: np.random.Generator) -> Cloud:
    """Turn about a random axis by a given angle (Rodrigues' formula).

    `x cos φ + (a × x) sin φ + a (a · x)(1 − cos φ)`
    """
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    angle = np.deg2rad(degrees)
    along = np.outer(cloud @ axis, axis)  # (N, 3)
    turned: Cloud = cloud * np.cos(angle) + np.cross(axis, cloud) * np.sin(angle) + along * (1 - np.cos(angle))
    return turned


def add_noise(cloud: Cloud, deviation: float, rng: np.random.Generator) -> Cloud:
    """Move every coordinate by N(0, deviation²), in units of the cloud's radius."""
    noisy: Cloud = cloud + deviation * rng.standard_normal(cloud.shape)
    return noisy


def drop(cloud: Cloud, share: float, rng: np.random.Generator) -> Cloud:
    """Lose a share of the points at random; copies of those that are left take their places."""
    return _refill(cloud, rng.permutation(len(cloud))[: _left(len(cloud), share)], rng)


def occlude(cloud: Cloud, share: float, rng: np.random.Generator) -> Cloud:
    """Lose the share of the points that lies farthest in a random direction; copies of the others take their places."""
    direction = rng.standard_normal(3)
    return _refill(cloud, np.argsort(cloud @ direction)[: _left(len(cloud), share)], rng)


def thin(cloud: Cloud, share: float, rng: np.random.Generator) -> Cloud:
    """Keep a share of the points, drawn at random, and give the model that few."""
    kept: Cloud = cloud[rng.permutation(len(cloud))[: max(1, round(share * len(cloud)))]]
    return kept


def view(cloud: Cloud, distance: float, rng: np.random.Generator) -> Cloud:
    """Keep what a sensor at a distance, in radii, sees from a random side; copies of it take the places of the rest."""
    return _seen(cloud, distance, rng.uniform(0, 360), rng.uniform(*ELEVATIONS), rng)


def view_from(cloud: Cloud, elevation: float, rng: np.random.Generator) -> Cloud:
    """Likewise from `VIEW_DISTANCE` and a random azimuth, at an elevation in degrees above the horizon; y is up."""
    return _seen(cloud, VIEW_DISTANCE, rng.uniform(0, 360), elevation, rng)


def _seen(cloud: Cloud, distance: float, azimuth: float, elevation: float, rng: np.random.Generator) -> Cloud:
    sensor = distance * camera(np.deg2rad(azimuth), np.deg2rad(elevation))[2]
    return _refill(cloud, np.flatnonzero(visible(cloud, sensor)), rng)


def _left(count: int, lost: float) -> int:
    return max(1, round((1 - lost) * count))


def _refill(cloud: Cloud, kept: NDArray[np.int64], rng: np.random.Generator) -> Cloud:
    """The points kept, each once, and random copies of them up to the old number."""
    copies = rng.choice(kept, len(cloud) - len(kept))
    refilled: Cloud = cloud[np.concatenate([kept, copies])]
    return refilled


PICTURE = "robustness.png"
POINTS = 1024
VIEW_DISTANCE = 3.0  # radii: of the camera of `crosspoint data scan`
CORRUPTIONS = {
    "rotation": Corruption("rotation about a random axis, degrees", (0, 15, 30, 60, 90, 180), rotate),
    "noise": Corruption("noise, standard deviation in radii", (0, 0.01, 0.02, 0.03, 0.05, 0.1), add_noise),
    "dropped": Corruption("points dropped, share", (0, 0.25, 0.5, 0.75, 0.875, 0.95), drop),
    "occlusion": Corruption("occlusion, share hidden", (0, 0.1, 0.2, 0.3, 0.5, 0.7), occlude),
    "fewer": Corruption("fewer points, share left", (1, 0.75, 0.5, 0.25, 0.125, 0.0625), thin),
    "view": Corruption("single view, distance of the sensor in radii (0: whole)", (0, 16, 8, 4, 2, 1.5), view),
    "view-elevation": Corruption(
        "single view, elevation of the sensor in degrees", (-30, 0, 30, 60, 90), view_from, intact=False
    ),
}


@dataclass(frozen=True)
class RobustnessResult(Result):
    """What was found of corrupted clouds.

    Attributes:
        models: What was measured.
        data: On what.
        curves: One for each model and corruption.
        remarks: What was left out, and why.
        against: The model that every other is compared with, if there is one.
    """

    schema: ClassVar[str] = "crosspoint.robustness/1"

    models: tuple[ModelInfo, ...]
    data: SplitInfo
    curves: tuple[SeverityCurve, ...]
    remarks: tuple[str, ...]
    against: Reference | None = field(default=None, metadata=OPTIONAL)


Predictions = dict[tuple[str, float], NDArray[np.int64]]
"""Predicted classes of corrupted test clouds, `(m,)`, by corruption and severity."""


def robustness(
    models: Sequence[Path],
    data: Path,
    *,
    corruptions: Sequence[str] = tuple(CORRUPTIONS),
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    against: Path | None = None,
    out: Path | None = None,
) -> RobustnessResult:
    """Accuracy of several models over the severity of each corruption.

    Every model meets the same corrupted clouds. Where a model's number of points is fixed, `fewer` is left out for it.

    Args:
        models: Anything that can embed: PyTorch weights, bundles, engines.
        data: A folder in ModelNet40's or ScanObjectNN's format.
        corruptions: Names in `CORRUPTIONS`.
        sampling: Points per cloud (1024 by default), the first ones; the seed of the held-out part where there is no
            test split, of the folds and of the corruptions.
        run_on: Where models run.
        against: A model that every other is compared with, on the same corrupted clouds; one of `models`, or another,
            which is run by what its file is for.
        out: Folder for the picture `robustness.png`.

    Raises:
        InputError: A model or the data cannot be used, or a corruption is not known.
    """
    check_seed(sampling.seed)
    unknown = [name for name in corruptions if name not in CORRUPTIONS]
    if unknown or not corruptions or not models:
        what = f"{unknown[0]!r} is not one" if unknown else "none was given"
        raise InputError(f"known corruptions are {', '.join(CORRUPTIONS)}; {what}")
    if out is not None:
        check_folder(out, files=[PICTURE], inputs=[data], within=True)
        require_plots()
    points = POINTS if sampling.points is None else sampling.points
    split = load_split(data, points, sampling.seed)
    about = describe_split(data, split, points, sampling.seed)
    runs = [(model, run_on) for model in models]
    own_backend = RunOn(run_on.device, None, run_on.cache)
    if against is not None and (against, own_backend) not in runs:
        runs.append((against, own_backend))
    measured, remarks = [], []
    for model, where in runs:
        with open_encoders(model, None, where, points) as encoders:
            encoder = encoders[0]
            usable = [name for name in corruptions if name != "fewer" or encoder.specification.points is None]
            if len(usable) < len(corruptions):
                remarks.append(f"{model} takes exactly {points} points, so `fewer` is left out; `dropped` has copies")
            found = _predict(encoder, split, usable, about, where.cache)
            measured.append(Measured(describe_model(encoder), usable, found))
    reference = None if against is None else measured[runs.index((against, own_backend))]
    result = RobustnessResult(
        models=tuple(each.model for each in measured[: len(models)]),
        data=about,
        curves=_curves(measured, len(models), reference, split.test.labels),
        remarks=tuple(remarks),
        against=None if reference is None else Reference(reference.model),
    )
    if out is not None:
        from crosspoint.eval.figures import draw_curves

        draw_curves(result.curves, {name: CORRUPTIONS[name].title for name in corruptions}, Path(out) / PICTURE)
    return result


def corrupt_all(clouds: NDArray[np.float32], name: str, severity: float, seed: int) -> NDArray[np.float32]:
    """Corrupt clouds `(n, N, 3)`, each in its own way; what is random depends on the corruption and the seed alone."""
    corruption = CORRUPTIONS[name]
    if corruption.intact and severity == corruption.severities[0]:
        return normalise(clouds)
    number = list(CORRUPTIONS).index(name)
    corrupted = [
        corruption.corrupt(cloud.astype(np.float64), severity, np.random.default_rng((seed, number, i)))
        for i, cloud in enumerate(normalise(clouds))
    ]
    return normalise(np.stack(corrupted))


@dataclass(frozen=True)
class Measured:
    """A model, the corruptions that it was measured with, and its predictions."""

    model: ModelInfo
    corruptions: list[str]
    predictions: Predictions


def _predict(encoder: Encoder, split: Split, names: Sequence[str], about: SplitInfo, cache: Path | None) -> Predictions:
    """Predicted classes of corrupted test clouds; too few points are left out."""
    train = embed_clouds(encoder, split.train.points[:, : about.points], "Embedding, intact", cache=cache)
    products = linear.gram(train)
    c, _ = linear.choose_c(train, split.train.labels, products, about.seed)
    classifier = linear.fit(train, split.train.labels, c, products)
    found: Predictions = {}
    for name in names:
        for severity in CORRUPTIONS[name].severities:
            clouds = corrupt_all(split.test.points[:, : about.points], name, severity, about.seed)
            if clouds.shape[1] >= encoder.specification.min_points:
                features = embed_clouds(encoder, clouds, f"Embedding, {name} {severity:g}", cache=cache)
                found[name, severity] = classifier.predict(features)
    return found


def _curves(
    measured: Sequence[Measured], count: int, reference: Measured | None, truth: NDArray[np.int64]
) -> tuple[SeverityCurve, ...]:
    """The curves of all models; the first `count`, those that were asked for, are compared with the reference."""
    curves = []
    for number, each in enumerate(measured):
        label = CurveModel(each.model.path, each.model.backend, each.model.precision)
        known = {} if reference is None or number >= count else reference.predictions
        for name in each.corruptions:
            found = {key: predicted for key, predicted in each.predictions.items() if key[0] == name}
            rows = [_row(key[1], truth, predicted, known.get(key)) for key, predicted in found.items()]
            curves.append(SeverityCurve(label, name, tuple(rows)))
    return tuple(curves)


def _row(
    severity: float, truth: NDArray[np.int64], predicted: NDArray[np.int64], reference: NDArray[np.int64] | None
) -> SeverityAccuracy:
    right = predicted == truth
    against = None if reference is None else paired(truth, reference, predicted)
    return SeverityAccuracy(severity, float(right.mean()), wilson(int(right.sum()), len(right)), against)
