"""Part segmentation: mIoU of a segmenter on a test split, and its labels against those of another model.

`official` is the rule of the published code: the first points of each cloud, and at each point the most likely of *all*
parts. `clean` chooses among the parts of the object's own category, which the task gives, and repeats over several
random choices of points where more are stored than used.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_folder
from crosspoint.core.plots import require_plots
from crosspoint.data.points import normalise, sample_points
from crosspoint.data.sets.datasets import PartClouds, Taxonomy, load_parts
from crosspoint.data.splits import check_stored
from crosspoint.eval.features import check_seed, describe_model
from crosspoint.eval.metrics.miou import Ious, allowed_parts, most_likely, object_ious
from crosspoint.eval.metrics.statistics import mean_interval, paired, summary
from crosspoint.eval.segmentation_result import Labels, SegmentationResult
from crosspoint.runtime.encoder import Encoder

BATCH = 16
POINTS = 2048
OFFICIAL_RULE = "first points, most likely of all parts"
CLEAN_RULE = "random points, most likely of the category's parts"


def partseg(
    model: Path,
    data: Path,
    points: int | None = None,
    seed: int = 0,
    seeds: int = 3,
    device: str = "cpu",
    backend: str | None = None,
    against: Path | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Segment the test split and measure instance and class mIoU (see `crosspoint.eval.metrics.miou`).

    Args:
        model: A part segmenter: run folder, `.safetensors`, bundle, `.onnx` or `.plan`.
        data: A folder in ShapeNetPart's format, with a `taxonomy.json` where the parts are not ShapeNetPart's.
        points: Points per cloud; None for the number that the model fixes, else 2048.
        seed: Of the first random choice of points.
        seeds: Choices of points in `clean` where more are stored than used.
        device: Where the model runs.
        backend: What runs it; None for the usual one.
        against: Another segmenter, the reference that labels are compared with; it runs on the CPU.
        out: Folder for the pictures `partseg.png` and `partseg_worst.png`.

    Returns:
        JSON-serialisable; mIoUs are fractions of one.

    Raises:
        InputError: A model or the data cannot be used, they do not fit each other, or `out` cannot be written to.
        CheckFailed: A model returns NaN or infinite values (`Encoder.segment`).
    """
    from crosspoint.runtime.load import load_encoder

    check_seed(seed)
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; give at least 1")
    if out is not None:
        check_folder(out, files=["partseg.png", "partseg_worst.png"], inputs=[data], within=True)
        require_plots()
    whole = load_parts(data, None)
    with load_encoder(model, device, backend) as encoder:
        points = points or encoder.specification.points or POINTS
        reference = None if against is None else load_encoder(against, "cpu")
        try:
            for segmenter in filter(None, (encoder, reference)):
                check_segmenter(segmenter, whole.taxonomy, data)
                segmenter.specification.check_points(points)
            check_stored(data, whole.test.points, points)
            start = time.perf_counter()
            first = PartClouds(whole.test.points[:, :points], whole.test.labels, whole.test.parts[:, :points])
            official = segment(encoder, first, whole.taxonomy, reference)
            samples = [official]
            if points < whole.test.points.shape[1]:
                drawn = (draw_points(whole.test, points, seed + turn) for turn in range(seeds))
                samples = [segment(encoder, clouds, whole.taxonomy, reference) for clouds in drawn]
            seconds = time.perf_counter() - start
            models = [describe_model(segmenter) for segmenter in (encoder, reference) if segmenter is not None]
        finally:
            if reference is not None:
                reference.close()
    result = _result(models, official, samples, whole.taxonomy)
    result["data"] |= {"path": str(data), "format": whole.name, "stored": whole.test.points.shape[1], "seed": seed}
    result["seconds"] = seconds
    if out is not None:
        from crosspoint.eval.partseg_pictures import draw_results

        draw_results(samples[0], whole.taxonomy, out)
    return result


def check_segmenter(segmenter: Encoder, taxonomy: Taxonomy, data: Path) -> None:
    """Raise InputError unless a model segments into the categories and parts of a set."""
    spec = segmenter.specification
    if spec.categories is None:
        raise InputError(f"{spec.path} is an encoder, not a part segmenter; make one: crosspoint finetune partseg")
    wanted = len(taxonomy.categories), len(taxonomy.parts)
    if (spec.categories, spec.dim) != wanted:
        raise InputError(
            f"{spec.path} knows {spec.categories} categories and {spec.dim} parts, {data} has {wanted[0]} and "
            f"{wanted[1]}; give the data that it was trained for"
        )


def draw_points(clouds: PartClouds, points: int, seed: int) -> PartClouds:
    """A random choice of the points of each cloud, without replacement, with their parts."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(clouds.parts.shape[1])
    rows = np.stack([sample_points(numbers, points, rng) for _ in clouds.labels])  # (n, points)
    chosen = np.take_along_axis(clouds.points, rows[..., None], axis=1)
    return PartClouds(chosen, clouds.labels, np.take_along_axis(clouds.parts, rows, axis=1))


def segment(
    encoder: Encoder, clouds: PartClouds, taxonomy: Taxonomy, reference: Encoder | None = None
) -> SegmentationResult:
    """Normalise clouds as in training and segment them, by two models where there is a reference; with a bar."""
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
    """Normalised points, one-hot categories and the parts that each object may have."""
    allowed = allowed_parts(clouds.labels, taxonomy.category_parts, len(taxonomy.parts))
    one_hot = np.eye(len(taxonomy.categories), dtype=np.float32)[clouds.labels]
    for start in range(0, len(clouds.labels), BATCH):
        rows = slice(start, start + BATCH)
        yield normalise(clouds.points[rows]), one_hot[rows], allowed[rows]


def _at(logits: NDArray[np.float32], parts: Labels) -> NDArray[np.float32]:
    """The logits `(B, N)` of one part per point."""
    return np.take_along_axis(logits, parts[..., None], axis=2)[..., 0]


def _result(
    models: list[dict[str, Any]], official: SegmentationResult, samples: list[SegmentationResult], taxonomy: Taxonomy
) -> dict[str, Any]:
    numbers = taxonomy.category_parts
    published = object_ious(official.clouds.parts, official.of_all, official.clouds.labels, numbers)
    runs = [object_ious(sample.clouds.parts, sample.of_own, sample.clouds.labels, numbers) for sample in samples]
    objects = np.mean([run.of_objects for run in runs], axis=0)
    same = samples[0] is official
    count, points = official.of_own.shape
    return {
        "model": models[0],
        "data": {"test": count, "points": points, "categories": len(numbers), "parts": len(taxonomy.parts)},
        "official": {
            "rule": OFFICIAL_RULE,
            **_scores(published, official.clouds.parts, official.of_all),
            "interval": mean_interval(published.of_objects),
        },
        "clean": {
            "rule": CLEAN_RULE.replace("random points", "all stored points") if same else CLEAN_RULE,
            **summary([run.instance for run in runs]),
            "instance_miou": float(np.mean([run.instance for run in runs])),
            "class_miou": float(np.mean([run.by_class for run in runs])),
            "interval": mean_interval(objects),
            "runs": [_scores(run, s.clouds.parts, s.of_own) for run, s in zip(runs, samples, strict=True)],
        },
        "per_category": _per_category(published, runs, taxonomy),
        "against": _compare(models[1], samples[0], numbers) if len(models) > 1 else None,
    }


def _scores(ious: Ious, truth: Labels, predicted: Labels) -> dict[str, float]:
    accuracy = float(np.mean(truth == predicted))
    return {"instance_miou": ious.instance, "class_miou": ious.by_class, "point_accuracy": accuracy}


def _per_category(official: Ious, runs: list[Ious], taxonomy: Taxonomy) -> list[dict[str, Any]]:
    rows = []
    for label, before in official.by_category.items():
        of_parts = np.mean([run.by_part(label) for run in runs], axis=0)
        names = [taxonomy.parts[part] for part in taxonomy.category_parts[label]]
        rows.append(
            {
                "category": taxonomy.categories[label],
                "objects": int(np.sum(official.labels == label)),
                "official": before,
                "clean": float(np.mean([run.by_category[label] for run in runs])),
                "parts": dict(zip(names, of_parts.tolist(), strict=True)),
            }
        )
    return rows


def _compare(
    reference: dict[str, Any], sample: SegmentationResult, numbers: tuple[tuple[int, ...], ...]
) -> dict[str, Any]:
    """The candidate's labels against the reference's, point by point and in mIoU."""
    assert sample.reference is not None
    assert sample.margins is not None
    truth, labels = sample.clouds.parts, sample.clouds.labels
    before = object_ious(truth, sample.reference, labels, numbers)
    after = object_ious(truth, sample.of_own, labels, numbers)
    equal = np.mean(sample.reference == sample.of_own, axis=1)  # (n,)
    difference = after.of_objects - before.of_objects
    return {
        "reference": reference,
        "equal_labels": float(equal.mean()),
        "objects_with_all_equal": float(np.mean(equal == 1)),
        "least_equal": float(equal.min()),
        "differing_points": int(np.sum(sample.reference != sample.of_own)),
        "largest_margin": float(sample.margins.max()),
        "points": paired(truth.ravel(), sample.reference.ravel(), sample.of_own.ravel()),
        "instance_miou": {
            "reference": before.instance,
            "candidate": after.instance,
            "difference": float(difference.mean()),
            "interval": mean_interval(difference),
            "largest_of_an_object": float(np.abs(difference).max()),
        },
    }
