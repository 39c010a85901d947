"""Measures accuracy on corrupted clouds: rotated, noisy, with dropped or hidden points, single views, or fewer points.

This is not in the paper. A linear SVM is trained on features of intact training clouds, with C by cross-validation.
Test clouds are corrupted, normalised again to mean 0 and radius 1, and embedded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError, require
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
    ReferenceModel,
    SplitInfo,
    check_seed,
    describe_model,
    describe_split,
    embed_clouds,
    frame_of_set,
    open_encoders,
)
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.statistics import paired, wilson
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.options import RunOn, Sampling

Cloud = NDArray[np.float64]  # (N, 3), mean 0 and radius 1


class Corrupt(Protocol):
    """Changes a cloud `(N, 3)` by an amount, e.g. degrees or a share of its points."""

    def __call__(self, cloud: Cloud, amount: float, /, *, rng: np.random.Generator) -> Cloud:
        """The corrupted cloud."""


@dataclass(frozen=True)
class Corruption:
    """A corruption of clouds.

    Attributes:
        title: What it does, with the unit of its severity.
        severities: Severities, mildest first; with `intact`, the first one does not change a cloud.
        corrupt: Function from a cloud `(N, 3)`, a severity and a random generator to the corrupted cloud.
        intact: Whether the first severity leaves a cloud as it is.
    """

    title: str
    severities: tuple[float, ...]
    corrupt: Corrupt
    intact: bool = True


def rotate(cloud: Cloud, degrees: float, *, rng: np.random.Generator) -> Cloud:
    """Rotate about a random axis by an angle (Rodrigues' formula).

    `x cos φ + (a × x) sin φ + a (a · x)(1 − cos φ)`
    """
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    angle = np.deg2rad(degrees)
    along = np.outer(cloud @ axis, axis)  # (N, 3)
    turned: Cloud = cloud * np.cos(angle) + np.cross(axis, cloud) * np.sin(angle) + along * (1 - np.cos(angle))
    return turned


def add_noise(cloud: Cloud, deviation: float, *, rng: np.random.Generator) -> Cloud:
    """Add N(0, deviation²) to every coordinate, in units of the cloud's radius."""
    noisy: Cloud = cloud + deviation * rng.standard_normal(cloud.shape)
    return noisy


def drop(cloud: Cloud, share: float, *, rng: np.random.Generator) -> Cloud:
    """Drop a random share of the points and replace them with copies of the others."""
    return _refill(cloud, rng.permutation(len(cloud))[: _left(len(cloud), share)], rng)


def occlude(cloud: Cloud, share: float, *, rng: np.random.Generator) -> Cloud:
    """Drop the share of the points that is farthest in a random direction; replace them with copies of the others."""
    direction = rng.standard_normal(3)
    return _refill(cloud, np.argsort(cloud @ direction)[: _left(len(cloud), share)], rng)


def thin(cloud: Cloud, share: float, *, rng: np.random.Generator) -> Cloud:
    """Keep a random share of the points, so that the model gets fewer points."""
    kept: Cloud = cloud[rng.permutation(len(cloud))[: max(1, round(share * len(cloud)))]]
    return kept


def view(cloud: Cloud, distance: float, *, rng: np.random.Generator) -> Cloud:
    """Keep the points that a sensor sees from a random side at a distance, in radii; replace the others with copies."""
    return _seen(cloud, distance, azimuth=rng.uniform(0, 360), elevation=rng.uniform(*ELEVATIONS), rng=rng)


def view_from(cloud: Cloud, elevation: float, *, rng: np.random.Generator) -> Cloud:
    """Keep the points that a sensor sees from an elevation in degrees, at `VIEW_DISTANCE`; y is up."""
    return _seen(cloud, VIEW_DISTANCE, azimuth=rng.uniform(0, 360), elevation=elevation, rng=rng)


def _seen(cloud: Cloud, distance: float, *, azimuth: float, elevation: float, rng: np.random.Generator) -> Cloud:
    sensor = distance * camera(np.deg2rad(azimuth), np.deg2rad(elevation))[2]
    return _refill(cloud, np.flatnonzero(visible(cloud, sensor)), rng)


def _left(count: int, lost: float) -> int:
    return max(1, round((1 - lost) * count))


def _refill(cloud: Cloud, kept: NDArray[np.int64], rng: np.random.Generator) -> Cloud:
    """The kept points, each once, and random copies of them up to the old number."""
    copies = rng.choice(kept, len(cloud) - len(kept))
    refilled: Cloud = cloud[np.concatenate([kept, copies])]
    return refilled


PICTURE = "robustness.png"
POINTS = 1024
VIEW_DISTANCE = 3.0  # in radii; as the camera of `crosspoint data scan`
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
    """The result of `crosspoint eval robustness`.

    Attributes:
        models: The models.
        data: The data.
        curves: A curve for each model and corruption.
        remarks: What was left out, and why.
        against: The model that all others are compared with, or None.
    """

    schema: ClassVar[str] = "crosspoint.robustness/1"

    models: tuple[ModelInfo, ...]
    data: SplitInfo
    curves: tuple[SeverityCurve, ...]
    remarks: tuple[str, ...]
    against: ReferenceModel | None = field(default=None, metadata=OPTIONAL)


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
    """Measure the accuracy of several models for each severity of each corruption.

    All models get the same corrupted clouds. `fewer` is left out for models with a fixed number of points.

    Args:
        models: The models: PyTorch weights, bundles, engines.
        data: A folder in ModelNet40's or ScanObjectNN's format.
        corruptions: Names of corruptions, from `CORRUPTIONS`.
        sampling: Points per cloud (default 1024; the first ones are taken); and the seed of the held-out part (if there
            is no test split), the folds and the corruptions; the axis that points up in the data.
        run_on: Device, backend and cache.
        against: A model that all others are compared with, on the same corrupted clouds; one of `models`, or another
            one, which runs on the backend of its file type.
        out: Folder for the picture `robustness.png`.

    Raises:
        InputError: A model or the data cannot be used, or a corruption is unknown.
        MissingDependency: scikit-learn is not installed, or for a picture matplotlib.
    """
    require("sklearn.svm", "eval", purpose="measuring robustness")
    check_seed(sampling.seed)
    unknown = [name for name in corruptions if name not in CORRUPTIONS]
    if unknown or not corruptions or not models:
        what = f"{unknown[0]!r} is not one" if unknown else "none was given"
        raise InputError(f"known corruptions are {', '.join(CORRUPTIONS)}; {what}")
    if out is not None:
        check_folder(out, files=[PICTURE], inputs=[data], within=True)
        require_plots()
    points = POINTS if sampling.points is None else sampling.points
    frame = frame_of_set(data, sampling.up)
    split = load_split(data, points, seed=sampling.seed, up=frame.up)
    about = describe_split(data, split, points=points, seed=sampling.seed, frame=frame)
    runs = [(model, run_on) for model in models]
    own_backend = RunOn(run_on.device, None, run_on.cache)
    if against is not None and (against, own_backend) not in runs:
        runs.append((against, own_backend))
    measured, remarks = [], []
    for model, where in runs:
        with open_encoders(model, None, run_on=where, points=points) as encoders:
            encoder = encoders[0]
            usable = [name for name in corruptions if name != "fewer" or encoder.specification.points is None]
            if len(usable) < len(corruptions):
                remarks.append(f"{model} takes exactly {points} points, so `fewer` is left out; `dropped` has copies")
            found = _predict(encoder, split, usable, about, where.cache)
            measured.append(ModelPredictions(describe_model(encoder), usable, found))
    reference = None if against is None else measured[runs.index((against, own_backend))]
    result = RobustnessResult(
        models=tuple(each.model for each in measured[: len(models)]),
        data=about,
        curves=_curves(measured, len(models), reference, split.test.labels),
        remarks=tuple(remarks),
        against=None if reference is None else ReferenceModel(reference.model),
    )
    if out is not None:
        from crosspoint.eval.figures import draw_curves

        draw_curves(result.curves, {name: CORRUPTIONS[name].title for name in corruptions}, path=Path(out) / PICTURE)
    return result


def corrupt_all(clouds: NDArray[np.float32], name: str, *, severity: float, seed: int) -> NDArray[np.float32]:
    """Corrupt clouds `(n, N, 3)`, each in its own way; random numbers depend only on the corruption and the seed."""
    corruption = CORRUPTIONS[name]
    if corruption.intact and severity == corruption.severities[0]:
        return normalise(clouds)
    number = list(CORRUPTIONS).index(name)
    corrupted = [
        corruption.corrupt(cloud.astype(np.float64), severity, rng=np.random.default_rng((seed, number, i)))
        for i, cloud in enumerate(normalise(clouds))
    ]
    return normalise(np.stack(corrupted))


@dataclass(frozen=True)
class ModelPredictions:
    """A model, its corruptions, and its predictions."""

    model: ModelInfo
    corruptions: list[str]
    predictions: Predictions


def _predict(encoder: Encoder, split: Split, names: Sequence[str], about: SplitInfo, cache: Path | None) -> Predictions:
    """Predict the classes of corrupted test clouds; severities with too few points for the model are left out."""
    train = embed_clouds(encoder, split.train.points[:, : about.points], description="Embedding, intact", cache=cache)
    products = linear.gram(train)
    c, _ = linear.choose_c(train, split.train.labels, products=products, seed=about.seed)
    classifier = linear.fit(train, split.train.labels, c=c, products=products)
    found: Predictions = {}
    for name in names:
        for severity in CORRUPTIONS[name].severities:
            clouds = corrupt_all(split.test.points[:, : about.points], name, severity=severity, seed=about.seed)
            if clouds.shape[1] >= encoder.specification.min_points:
                features = embed_clouds(encoder, clouds, description=f"Embedding, {name} {severity:g}", cache=cache)
                found[name, severity] = classifier.predict(features)
    return found


def _curves(
    measured: Sequence[ModelPredictions], count: int, reference: ModelPredictions | None, truth: NDArray[np.int64]
) -> tuple[SeverityCurve, ...]:
    """The curves of all models; the first `count` are compared with the reference."""
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
    against = None if reference is None else paired(truth, reference, second=predicted)
    return SeverityAccuracy(severity, float(right.mean()), wilson(int(right.sum()), len(right)), against)
