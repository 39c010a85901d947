"""Are two models the same? Their embeddings and accuracies compared, and a gate by the candidate's precision."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.eval.features import check_seed, describe_model
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.statistics import paired
from crosspoint.parity.numeric import LIMIT, Comparison
from crosspoint.parity.user_clouds import UserClouds, hostile_clouds, random_clouds, real_clouds
from crosspoint.runtime.encoder import Encoder

FloatArray = NDArray[np.float32]

ACCURACY_LIMITS = {"fp16": 0.002, "bf16": 0.002, "int8": 0.005}
"""Largest difference of the SVM accuracies, by precision."""
FP32_ACCURACY_LIMIT, SIGNIFICANT = 0.002, 0.05
"""An fp32 model fails, for all its near ties, if accuracies differ by more and McNemar's test finds that no chance."""


def parity(
    reference: Path,
    candidate: Path,
    data: Path,
    points: int | None = None,
    clouds: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    backend: str | None = None,
    reference_device: str = "cpu",
    by_interval: bool = False,
) -> dict[str, Any]:
    """Compare a candidate model with a reference on real and on hostile clouds.

    The candidate's precision decides the gate: fp32 by the largest relative L2 error of any embedding, near ties among
    neighbours aside (`crosspoint.parity.numeric`), and where there are labels by its predictions too; the lower ones by
    the difference of linear-SVM accuracies on the same objects, which needs labelled data: without labels they do not
    pass.

    Args:
        reference: The model to be equal to; of a released model its trained network, where PyTorch is installed.
        candidate: The model in question.
        data: A dataset in any known format, or a folder of cloud and mesh files.
        points: Points per cloud; None for the number that a model fixes, else 1024.
        clouds: Use at most this many clouds of `data`; None for all.
        seed: Of every random choice.
        device: Where the candidate runs.
        backend: What runs the candidate; None for the usual one.
        reference_device: Where the reference runs.
        by_interval: Judge accuracies by the worse end of the 95 % interval of their paired difference.

    Returns:
        JSON-serialisable; `passed` is the gate's verdict.

    Raises:
        InputError: A model or the data cannot be used, or the embeddings differ in width.
        CheckFailed: A model returns NaN or infinite values (`Encoder.embed`).
    """
    from crosspoint.runtime.load import load_encoder
    from crosspoint.runtime.released import trained

    with load_encoder(trained(reference), reference_device) as a, load_encoder(candidate, device, backend) as b:
        check_seed(seed)
        points = points or b.specification.points or a.specification.points or 1024
        _check_pair(a, b, points)
        probe = real_clouds(data, points, clouds, seed)
        first, second = embed(a, probe.points, 32, "Reference"), embed(b, probe.points, 32, "Candidate")
        comparisons = [Comparison(f"real ({len(first)})", probe.points, first, second)]
        comparisons += _hostile(a, b, points, seed) + _batches(a, b, probe, seed) + _point_counts(a, b, points, seed)
        explain = b.specification.precision == "fp32"
        numeric = [comparison.row(a, seed, explain) for comparison in comparisons]
        models = {"reference": describe_model(a), "candidate": describe_model(b)}
    task = None if probe.labels is None else task_parity(probe, probe.labels, first, second, seed)
    gate = judge(models["candidate"]["precision"], numeric, task, by_interval)
    return {
        **models,
        "data": {"path": str(data), "source": probe.source, "clouds": len(first), "points": points, "seed": seed}
        | {"skipped": probe.skipped},
        "numeric": numeric,
        "task": task,
        "gate": gate,
        "passed": gate["passed"],
    }


def _check_pair(a: Encoder, b: Encoder, points: int) -> None:
    first, second = a.specification, b.specification
    if first.dim != second.dim:
        raise InputError(
            f"{first.path} gives {first.dim} values per cloud and {second.path} {second.dim}; "
            "compare models of the same architecture"
        )
    if second.precision not in {"fp32", *ACCURACY_LIMITS}:
        raise InputError(f"{second.path} has the precision {second.precision!r}, for which there is no gate")
    first.check_points(points)
    second.check_points(points)


def embed(encoder: Encoder, clouds: FloatArray, batch: int, description: str | None = None) -> FloatArray:
    """Embeddings `(n, D)` of normalised clouds `(n, N, 3)`, in calls of `batch`; a bar where there is a description."""
    starts = range(0, len(clouds), batch)
    steps = starts if description is None else track(starts, description)
    return np.concatenate([encoder.embed(clouds[start : start + batch]) for start in steps])


def _hostile(a: Encoder, b: Encoder, points: int, seed: int) -> list[Comparison]:
    hostile = hostile_clouds(points, seed)
    return [Comparison(name, cloud, embed(a, cloud, 1), embed(b, cloud, 1)) for name, cloud in hostile.items()]


def _batches(a: Encoder, b: Encoder, probe: UserClouds, seed: int) -> list[Comparison]:
    """The candidate in calls of 1, 2, an odd and the largest number of clouds, against the reference one by one.

    Engines can be wrong at batches above 1 only, so the same clouds go through in every size, hostile ones among them.
    """
    largest = b.specification.max_batch or 32
    pool = np.concatenate([*hostile_clouds(probe.points.shape[1], seed).values(), probe.points[:largest]])
    clouds = pool[np.arange(max(largest, 14)) % len(pool)]
    expected = embed(a, clouds, 1)
    sizes = sorted({1, 2, 7, largest})
    return [Comparison(f"batches of {size}", clouds, expected, embed(b, clouds, size)) for size in sizes]


def _point_counts(a: Encoder, b: Encoder, points: int, seed: int) -> list[Comparison]:
    """Four random clouds each of the fewest and of the most points that both take, where they take a range."""
    first, second = a.specification, b.specification
    if first.points is not None or second.points is not None:
        return []
    fewest = max(first.min_points, second.min_points)
    limits = [limit for limit in (first.max_points, second.max_points) if limit is not None]
    rows = []
    for count in sorted({fewest, min(limits, default=2 * points)}):
        clouds = random_clouds(4, count, seed)
        rows.append(Comparison(f"{count} points", clouds, embed(a, clouds, 4), embed(b, clouds, 4)))
    return rows


def task_parity(
    probe: UserClouds, labels: NDArray[np.int64], first: FloatArray, second: FloatArray, seed: int
) -> dict[str, Any]:
    """Linear-SVM accuracy on either side, and the paired comparison of the predictions.

    C is chosen by cross-validation on the reference's features of the training part and used on both sides.
    """
    train = slice(0, probe.train)
    products = linear.gram(first[train])
    c, _ = linear.choose_c(first[train], labels[train], products, seed)
    reference = linear.fit(first[train], labels[train], c, products)
    candidate = linear.fit(second[train], labels[train], c)
    test = slice(probe.train, None)
    return {"C": c, **paired(labels[test], reference.predict(first[test]), candidate.predict(second[test]))}


def judge(
    precision: str, numeric: list[dict[str, Any]], task: dict[str, Any] | None, by_interval: bool = False
) -> dict[str, Any]:
    """The gate of a precision: what was measured, the limit, and the tolerance that would have passed."""
    if precision == "fp32":
        gate = _judge_numbers(numeric)
        return _judge_predictions(task, by_interval) or gate if task is not None and gate["passed"] else gate
    limit, rule = ACCURACY_LIMITS[precision], _rule(by_interval)
    if task is None:
        return _verdict(precision, rule, limit, None, False)
    measured = _difference(task, by_interval)
    return _verdict(precision, rule, limit, measured, measured <= limit + 1e-12)


def _judge_numbers(numeric: list[dict[str, Any]]) -> dict[str, Any]:
    worst = max(numeric, key=lambda row: float(row["relative_l2_unexplained"]))
    measured = worst["relative_l2_unexplained"]
    rule = "largest relative L2 error that near ties do not explain"
    return _verdict("fp32", rule, LIMIT, measured, measured <= LIMIT) | {"worst": worst["clouds"]}


def _judge_predictions(task: dict[str, Any], by_interval: bool) -> dict[str, Any] | None:
    """A failed verdict if predictions differ where embeddings do not: near ties may be excused, their harm may not."""
    measured = _difference(task, by_interval)
    too_far = measured > FP32_ACCURACY_LIMIT + 1e-12
    if too_far and (by_interval or task["mcnemar_p"] < SIGNIFICANT):
        return _verdict("fp32", _rule(by_interval), FP32_ACCURACY_LIMIT, measured, False)
    return None


def _difference(task: dict[str, Any], by_interval: bool) -> float:
    """Of the accuracies, as a distance: the difference itself, or the worse end of its interval."""
    values = task["interval"] if by_interval else [task["difference"]]
    return max(abs(float(value)) for value in values)


def _rule(by_interval: bool) -> str:
    of = "worse end of the 95 % interval of the " if by_interval else ""
    return f"{of}difference of linear-SVM accuracies"


def _verdict(precision: str, rule: str, limit: float, measured: float | None, passed: bool) -> dict[str, Any]:
    return {
        "tier": precision,
        "rule": rule,
        "limit": limit,
        "measured": measured,
        "would_pass_at": None if measured is None else round_up(measured),
        "passed": passed,
    }


def round_up(value: float) -> float:
    """The next number of two significant digits that is not below a non-negative `value`."""
    if value <= 0:
        return 0.0
    exponent = math.floor(math.log10(value)) - 1
    rounded = float(f"{math.ceil(value / 10.0**exponent)}e{exponent}")
    return rounded if rounded >= value else float(f"{math.ceil(value / 10.0**exponent) + 1}e{exponent}")


def verdict(gate: dict[str, Any]) -> str:
    """The gate in one line."""
    if gate["measured"] is None:
        return f"{gate['tier']}: not passed, the {gate['rule']} was not measured; give more labelled --data"
    worst = f" ({gate['worst']})" if "worst" in gate else ""
    judged = "passed" if gate["passed"] else f"not passed, would pass at {gate['would_pass_at']:.1e}"
    return f"{gate['tier']}: {gate['rule']} {gate['measured']:.2e}{worst}, limit {gate['limit']:g}: {judged}"
