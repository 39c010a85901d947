"""Part segmentation: mIoU of a segmenter on a test split, and its labels against those of another model.

Rule `official`, as in the published code: the first points of each cloud, and at each point the most likely of *all*
parts. Rule `clean`: the most likely part of the object's own category, which is an input of the task; averaged over
several random subsets of points if more are stored than used.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_folder
from crosspoint.core.plots import require_plots
from crosspoint.core.results import FLAT, OPTIONAL, Result
from crosspoint.data.frames import Frame
from crosspoint.data.points import normalise, sample_points
from crosspoint.data.sets.datasets import PartClouds, Taxonomy, load_parts
from crosspoint.data.splits import check_stored
from crosspoint.eval.features import ModelInfo, check_seed, describe_model, frame_of_set
from crosspoint.eval.metrics.miou import Ious, allowed_parts, most_likely, object_ious
from crosspoint.eval.metrics.statistics import Paired, Summary, mean_interval, paired, summary
from crosspoint.eval.segmentation_result import Labels, SegmentationResult
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.options import RunOn, Sampling

BATCH = 16
POINTS = 2048
OFFICIAL_RULE = "first points, most likely of all parts"
CLEAN_RULE = "random points, most likely of the category's parts"


Interval = tuple[float, float] | None
"""95 % interval of a mean over objects; None for a single object."""


@dataclass(frozen=True)
class PartSetInfo:
    """Description of the data in a result.

    Attributes:
        test: Number of test objects.
        points: Points per cloud.
        categories: Number of categories.
        parts: Number of parts of all categories.
        path: The folder.
        format: `shapenetpart`.
        stored: Stored points per cloud.
        seed: Random seed of the first subset of points.
        frame: In which clouds are stored; None of an earlier version, which turned nothing.
    """

    test: int
    points: int
    categories: int
    parts: int
    path: str
    format: str
    stored: int
    seed: int
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class PartScores:
    """Scores for one subset of points, as fractions of 1.

    Attributes:
        instance_miou: Mean IoU over objects.
        class_miou: Mean over categories of their mean IoU.
        point_accuracy: Share of the points with the right part.
    """

    instance_miou: float
    class_miou: float
    point_accuracy: float


@dataclass(frozen=True)
class OfficialScores:
    """Scores by the rule of the published code; the interval is that of the instance mIoU."""

    rule: str
    scores: PartScores = field(metadata=FLAT)
    interval: Interval


@dataclass(frozen=True)
class CleanScores:
    """Scores with the parts of the object's own category.

    Attributes:
        rule: How points and parts are chosen.
        summary: Mean and deviation of the instance mIoU over the runs.
        instance_miou: Mean instance mIoU over the runs.
        class_miou: Mean class mIoU over the runs.
        interval: 95 % interval of the instance mIoU.
        runs: Scores of each subset of points.
    """

    rule: str
    summary: Summary = field(metadata=FLAT)
    instance_miou: float
    class_miou: float
    interval: Interval
    runs: tuple[PartScores, ...]


@dataclass(frozen=True)
class CategoryIou:
    """Mean IoU of the objects of a category.

    Attributes:
        category: Name of the category.
        objects: Number of objects.
        official: Mean IoU by the rule of the published code.
        clean: Mean IoU with the category's own parts.
        parts: Mean IoU of each part by name, by the rule `clean`.
    """

    category: str
    objects: int
    official: float
    clean: float
    parts: dict[str, float]


@dataclass(frozen=True)
class MiouDifference:
    """Instance mIoU of candidate and reference.

    Attributes:
        reference: Instance mIoU of the reference.
        candidate: Instance mIoU of the candidate.
        difference: Candidate minus reference.
        interval: 95 % interval of the difference.
        largest_of_an_object: Largest absolute difference of the IoU of an object.
    """

    reference: float
    candidate: float
    difference: float
    interval: Interval
    largest_of_an_object: float


@dataclass(frozen=True)
class LabelComparison:
    """Comparison of the candidate's labels with the reference's, by point and by mIoU.

    Attributes:
        reference: The other model.
        equal_labels: Share of the points with equal labels.
        objects_with_all_equal: Share of the objects with equal labels at all points.
        least_equal: Share of equal labels in the object with the fewest.
        differing_points: Number of points with different labels.
        largest_margin: Largest preference of the reference for its own label at such a point, in logits.
        points: The paired comparison of the labels.
        instance_miou: Instance mIoU of both models.
    """

    reference: ModelInfo
    equal_labels: float
    objects_with_all_equal: float
    least_equal: float
    differing_points: int
    largest_margin: float
    points: Paired
    instance_miou: MiouDifference


@dataclass(frozen=True)
class PartSegResult(Result):
    """The result of `crosspoint eval partseg`.

    Attributes:
        model: The model.
        data: The data.
        official: Scores by the rule of the published code.
        clean: Scores with the parts of the object's own category.
        per_category: Scores of each category, in the order of the labels.
        against: Comparison with another model, or None.
        seconds: Duration of the segmentation, in seconds.
    """

    schema: ClassVar[str] = "crosspoint.partseg/1"

    model: ModelInfo
    data: PartSetInfo
    official: OfficialScores
    clean: CleanScores
    per_category: tuple[CategoryIou, ...] = field(repr=False)
    against: LabelComparison | None
    seconds: float


def partseg(
    model: Path,
    data: Path,
    *,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    against: Path | None = None,
    out: Path | None = None,
) -> PartSegResult:
    """Segment the test split and measure instance and class mIoU (see `crosspoint.eval.metrics.miou`).

    Args:
        model: A part segmenter: run folder, `.safetensors`, bundle, `.onnx` or `.plan`.
        data: A folder in ShapeNetPart's format; with `taxonomy.json` if the parts are not ShapeNetPart's.
        sampling: Points per cloud (default: the model's number if it is fixed, else 2048), and their random subsets;
            and the axis that points up in the data.
        run_on: Device and backend; labels are not cached.
        against: Another segmenter to compare labels with, as the reference; it runs on the CPU.
        out: Folder for the pictures `partseg.png` and `partseg_worst.png`.

    Raises:
        InputError: A model or the data cannot be used, they do not fit together, or `out` cannot be written.
        CheckFailed: A model's output is not finite (`Encoder.segment`).
    """
    from crosspoint.runtime.load import load_encoder

    seed, seeds = sampling.seed, sampling.seeds
    check_seed(seed)
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; give at least 1")
    if out is not None:
        check_folder(out, files=["partseg.png", "partseg_worst.png"], inputs=[data], within=True)
        require_plots()
    frame = frame_of_set(data, sampling.up)
    whole = load_parts(data, None, up=frame.up)
    with ExitStack() as stack:
        encoder = stack.enter_context(load_encoder(model, run_on.device, backend=run_on.backend))
        reference = None if against is None else stack.enter_context(load_encoder(against, "cpu"))
        usual = encoder.specification.points or POINTS
        points = usual if sampling.points is None else sampling.points
        for segmenter in filter(None, (encoder, reference)):
            check_segmenter(segmenter, whole.taxonomy, data=data)
            segmenter.specification.check_points(points)
        check_stored(data, whole.test.points, points=points)
        start = time.perf_counter()
        first = PartClouds(whole.test.points[:, :points], whole.test.labels, whole.test.parts[:, :points])
        official = segment(encoder, first, taxonomy=whole.taxonomy, reference=reference)
        samples = [official]
        if points < whole.test.points.shape[1]:
            drawn = (draw_points(whole.test, points, seed=seed + turn) for turn in range(seeds))
            samples = [segment(encoder, clouds, taxonomy=whole.taxonomy, reference=reference) for clouds in drawn]
        seconds = time.perf_counter() - start
    taxonomy, stored = whole.taxonomy, whole.test.points.shape[1]
    counts = len(first.labels), points, len(taxonomy.categories), len(taxonomy.parts)
    published = _ious(official, official.of_all, taxonomy)
    runs = [_ious(sample, sample.of_own, taxonomy) for sample in samples]
    result = PartSegResult(
        model=describe_model(encoder),
        data=PartSetInfo(*counts, str(data), whole.name, stored, seed, frame),
        official=OfficialScores(
            OFFICIAL_RULE, _scores(published, first.parts, official.of_all), mean_interval(published.of_objects)
        ),
        clean=_clean(runs, samples, stored == points),
        per_category=_per_category(published, runs, taxonomy),
        against=None if reference is None else _compare(describe_model(reference), samples[0], taxonomy),
        seconds=seconds,
    )
    if out is not None:
        from crosspoint.eval.partseg_pictures import draw_results

        draw_results(samples[0], taxonomy, out=out)
    return result


def check_segmenter(segmenter: Encoder, taxonomy: Taxonomy, *, data: Path) -> None:
    """Raise InputError unless a model has the categories and parts of a data set."""
    spec = segmenter.specification
    if spec.categories is None:
        raise InputError(f"{spec.path} is an encoder, not a part segmenter; train one with crosspoint finetune partseg")
    wanted = len(taxonomy.categories), len(taxonomy.parts)
    if (spec.categories, spec.dim) != wanted:
        raise InputError(
            f"{spec.path} has {spec.categories} categories and {spec.dim} parts, but {data} has {wanted[0]} and "
            f"{wanted[1]}; give the data that it was trained on"
        )


def draw_points(clouds: PartClouds, points: int, *, seed: int) -> PartClouds:
    """A random subset of the points of each cloud, without replacement, with their parts."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(clouds.parts.shape[1])
    rows = np.stack([sample_points(numbers, points, rng=rng) for _ in clouds.labels])  # (n, points)
    chosen = np.take_along_axis(clouds.points, rows[..., None], axis=1)
    return PartClouds(chosen, clouds.labels, np.take_along_axis(clouds.parts, rows, axis=1))


def segment(
    encoder: Encoder, clouds: PartClouds, *, taxonomy: Taxonomy, reference: Encoder | None = None
) -> SegmentationResult:
    """Normalise clouds as in training and segment them with the model and, if given, the reference."""
    of_all, of_own, other, margins = [], [], [], []
    for points, category, allowed in track(list(_batches(clouds, taxonomy)), "Segmenting"):
        logits = encoder.segment(points, category)
        of_all.append(most_likely(logits))
        of_own.append(most_likely(logits, allowed))
        if reference is not None:
            expected = reference.segment(points, category)
            other.append(most_likely(expected, allowed))
            margins.append(_at(expected, other[-1]) - _at(expected, of_own[-1]))
    joined = [np.concatenate(pieces) if pieces else None for pieces in (other, margins)]
    return SegmentationResult(clouds, np.concatenate(of_all), np.concatenate(of_own), joined[0], joined[1])


def _batches(
    clouds: PartClouds, taxonomy: Taxonomy
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]]:
    """Normalised points, one-hot categories, and the parts that each object can have."""
    allowed = allowed_parts(clouds.labels, taxonomy.category_parts, parts=len(taxonomy.parts))
    one_hot = np.eye(len(taxonomy.categories), dtype=np.float32)[clouds.labels]
    for start in range(0, len(clouds.labels), BATCH):
        rows = slice(start, start + BATCH)
        yield normalise(clouds.points[rows]), one_hot[rows], allowed[rows]


def _at(logits: NDArray[np.float32], parts: Labels) -> NDArray[np.float32]:
    """The logits `(B, N)` of one part per point."""
    return np.take_along_axis(logits, parts[..., None], axis=2)[..., 0]


def _ious(sample: SegmentationResult, predicted: Labels, taxonomy: Taxonomy) -> Ious:
    return object_ious(
        sample.clouds.parts, predicted, labels=sample.clouds.labels, category_parts=taxonomy.category_parts
    )


def _clean(runs: list[Ious], samples: list[SegmentationResult], all_points: bool) -> CleanScores:
    return CleanScores(
        rule=CLEAN_RULE.replace("random points", "all stored points") if all_points else CLEAN_RULE,
        summary=summary([run.instance for run in runs]),
        instance_miou=float(np.mean([run.instance for run in runs])),
        class_miou=float(np.mean([run.by_class for run in runs])),
        interval=mean_interval(np.mean([run.of_objects for run in runs], axis=0)),
        runs=tuple(_scores(run, s.clouds.parts, s.of_own) for run, s in zip(runs, samples, strict=True)),
    )


def _scores(ious: Ious, truth: Labels, predicted: Labels) -> PartScores:
    return PartScores(ious.instance, ious.by_class, float(np.mean(truth == predicted)))


def _per_category(official: Ious, runs: list[Ious], taxonomy: Taxonomy) -> tuple[CategoryIou, ...]:
    rows = []
    for label, before in official.by_category.items():
        of_parts = np.mean([run.by_part(label) for run in runs], axis=0)
        names = [taxonomy.parts[part] for part in taxonomy.category_parts[label]]
        rows.append(
            CategoryIou(
                category=taxonomy.categories[label],
                objects=int(np.sum(official.labels == label)),
                official=before,
                clean=float(np.mean([run.by_category[label] for run in runs])),
                parts=dict(zip(names, of_parts.tolist(), strict=True)),
            )
        )
    return tuple(rows)


def _compare(reference: ModelInfo, sample: SegmentationResult, taxonomy: Taxonomy) -> LabelComparison:
    assert sample.reference is not None
    assert sample.margins is not None
    before, after = (_ious(sample, labels, taxonomy) for labels in (sample.reference, sample.of_own))
    equal = np.mean(sample.reference == sample.of_own, axis=1)  # (n,)
    difference = after.of_objects - before.of_objects
    return LabelComparison(
        reference=reference,
        equal_labels=float(equal.mean()),
        objects_with_all_equal=float(np.mean(equal == 1)),
        least_equal=float(equal.min()),
        differing_points=int(np.sum(sample.reference != sample.of_own)),
        largest_margin=float(sample.margins.max()),
        points=paired(sample.clouds.parts.ravel(), sample.reference.ravel(), second=sample.of_own.ravel()),
        instance_miou=MiouDifference(
            reference=before.instance,
            candidate=after.instance,
            difference=float(difference.mean()),
            interval=mean_interval(difference),
            largest_of_an_object=float(np.abs(difference).max()),
        ),
    )
