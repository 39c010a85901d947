"""Compares the embeddings and accuracies of two models, and decides by the candidate's precision."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import require
from crosspoint.core.results import FLAT, OPTIONAL, Result, key
from crosspoint.data.frames import Frame
from crosspoint.eval.features import ModelInfo, check_seed, describe_model
from crosspoint.eval.metrics.statistics import Paired
from crosspoint.parity.accuracy import BATCH, SvmAccuracy, embed
from crosspoint.parity.clouds import CloudSet, gate_clouds
from crosspoint.parity.gate import ODD, Gate, Report, unexplained
from crosspoint.parity.limits import SIGNIFICANT, holds, loss
from crosspoint.parity.measures import Errors
from crosspoint.parity.near_ties import NearTies
from crosspoint.parity.pair import check_pair
from crosspoint.parity.user_clouds import real_clouds
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.options import RunOn, Sampling

FEWEST = 14  # fewest clouds that are compared at every batch size
EQUAL = "largest relative L2 error that near ties do not explain"


@dataclass(frozen=True)
class Verdict:
    """The verdict of a comparison.

    Attributes:
        precision: Precision of the candidate, whose limits apply.
        rule: What was measured.
        limit: The limit: a relative L2 error, or a share of the objects.
        measured: The measured value; None if it could not be measured.
        would_pass_at: The smallest limit, with two digits, that would have passed.
        passed: Whether it is within the limit.
        worst: The clouds with the worst value, if others were better.
    """

    precision: str = field(metadata=key("tier"))
    rule: str
    limit: float
    measured: float | None
    would_pass_at: float | None = field(init=False)
    passed: bool
    worst: str | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        """Compute the other fields from the rest."""
        object.__setattr__(self, "would_pass_at", None if self.measured is None else round_up(self.measured))

    def __str__(self) -> str:
        """The verdict in one line."""
        if self.measured is None:
            return f"{self.precision}: not passed, the {self.rule} was not measured; give more labelled --data"
        worst = f" ({self.worst})" if self.worst else ""
        judged = "passed" if self.passed else f"not passed, would pass at {self.would_pass_at:.1e}"
        return f"{self.precision}: {self.rule} {self.measured:.2e}{worst}, limit {self.limit:g}: {judged}"


@dataclass(frozen=True)
class ParityData:
    """The clouds of a comparison.

    Attributes:
        path: Path of the data.
        source: What was read, in words.
        clouds: Number of clouds.
        points: Of each.
        seed: Of every random choice.
        skipped: Files that could not be used, with the reason.
        frame: In which clouds are stored; None of an earlier version, which turned nothing.
    """

    path: str
    source: str
    clouds: int
    points: int
    seed: int
    skipped: tuple[str, ...]
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class EmbeddingErrors:
    """Comparison of the embeddings of some clouds.

    Attributes:
        clouds: Name of the clouds.
        errors: Errors of the candidate's embeddings, relative to the reference's.
        near_ties: Errors that near ties explain; None for precisions whose embeddings do not decide.
    """

    clouds: str
    errors: Errors = field(metadata=FLAT)
    near_ties: NearTies | None = field(metadata=FLAT)


@dataclass(frozen=True)
class SvmParity:
    """Linear-SVM accuracies of both models on the same clouds.

    Attributes:
        c: C of both SVMs, chosen by cross-validation on the reference's features.
        paired: Comparison of the accuracies.
    """

    c: float = field(metadata=key("C"))
    paired: Paired = field(metadata=FLAT)


@dataclass(frozen=True)
class ParityResult(Result):
    """The result of `parity`.

    Attributes:
        reference: The reference model.
        candidate: The model to check.
        data: The real clouds.
        numeric: Comparison of the embeddings, the real clouds first.
        task: SVM accuracies of both models; None without labels.
        gate: The verdict.
        passed: Whether the candidate passed.
    """

    schema: ClassVar[str] = "crosspoint.parity/1"

    reference: ModelInfo
    candidate: ModelInfo
    data: ParityData
    numeric: tuple[EmbeddingErrors, ...]
    task: SvmParity | None
    gate: Verdict
    passed: bool = field(init=False)

    def __post_init__(self) -> None:
        """Compute the other fields from the rest."""
        object.__setattr__(self, "passed", self.gate.passed)


def parity(
    reference: Path,
    candidate: Path,
    *,
    data: Path,
    clouds: int | None = None,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    reference_device: str = "cpu",
    by_interval: bool = False,
) -> ParityResult:
    """Compare a candidate model with a reference on real and on hostile clouds.

    The precision of the candidate decides the check. fp32: the largest relative L2 error of an embedding that near ties
    do not explain (`crosspoint.parity.near_ties`), and with labels also the predictions. Lower precisions: the loss of
    linear-SVM accuracy on the same objects; this needs labelled data, and without it they do not pass.

    Args:
        reference: The reference model. For a released model it is the trained network, if PyTorch is installed.
        candidate: The model to check.
        data: A data set in any known format, or a folder of cloud and mesh files.
        clouds: Largest number of clouds from `data`; None: all.
        sampling: Points per cloud, by default the number of a model if it is fixed, else 1024; the seed; and the axis
            that points up in `data`.
        run_on: Device and backend of the candidate.
        reference_device: Device of the reference.
        by_interval: Judge accuracies by the worse end of the 95 % interval of their paired difference.

    Raises:
        InputError: A model or the data cannot be used, or the embeddings differ in width.
        CheckFailed: A model's output is not finite (`Encoder.embed`).
        MissingDependency: `data` has labels, and scikit-learn is not installed.
    """
    from crosspoint.runtime.load import load_encoder
    from crosspoint.runtime.released import trained

    seed = sampling.seed
    with (
        load_encoder(trained(reference), reference_device) as a,
        load_encoder(candidate, run_on.device, backend=run_on.backend, trust=run_on.trust) as b,
    ):
        check_seed(seed)
        points = sampling.points or b.specification.points or a.specification.points or 1024
        check_pair(a, b, points=points)
        probe = real_clouds(data, points, limit=clouds, seed=seed, up=sampling.up)
        if probe.labels is not None:
            require("sklearn.svm", "eval", purpose="comparing accuracy")
        first, second = (
            embed(a, probe.points, batch=BATCH, description="Reference"),
            embed(b, probe.points, batch=BATCH, description="Candidate"),
        )
        real = CloudSet("real clouds", {"points": probe.points}, first.astype(np.float64))
        report = _compare(a, b, real, second, seed)
        models = describe_model(a), describe_model(b)
    task = paired = None
    if probe.labels is not None:
        accuracy = SvmAccuracy(first, probe, seed=seed)
        paired = accuracy.compare_features(second)
        task = SvmParity(accuracy.c, paired)
    about = ParityData(str(data), probe.source, len(first), points, seed, tuple(probe.skipped), probe.frame)
    numeric = tuple(EmbeddingErrors(case.name, case.errors, case.near_ties) for case in report.cases)
    gate = judge(report, paired, by_interval=by_interval)
    return ParityResult(*models, about, numeric, task, gate)


def _compare(a: Encoder, b: Encoder, real: CloudSet, second: NDArray[np.float32], seed: int) -> Report:
    """Compare on the real clouds, whose embeddings are known, and on the synthetic clouds of the gate."""
    points = real.inputs["points"].shape[1]
    largest, precision = b.specification.max_batch or 32, b.specification.precision
    least = max(largest, FEWEST)
    counts = _point_counts(a, b, points)
    gate = Gate(a, gate_clouds(points, counts=counts, seed=seed, ordinary_clouds=least), least=least, seed=seed)
    report = gate.measure(b, precision, batches=sorted({1, 2, ODD, largest}))
    return replace(report, cases=(gate.compare(real, second, precision=precision, batch=BATCH), *report.cases))


def _point_counts(a: Encoder, b: Encoder, points: int) -> set[int]:
    """The smallest and the largest number of points that both models take, if it is a range."""
    first, second = a.specification, b.specification
    if first.points is not None or second.points is not None:
        return set()
    limits = [limit for limit in (first.max_points, second.max_points) if limit is not None]
    return {max(first.min_points, second.min_points), min(limits, default=2 * points)}


def judge(report: Report, task: Paired | None, *, by_interval: bool = False) -> Verdict:
    """The verdict for a precision.

    fp32 is judged by its embeddings. Near ties may explain an error; but if labels show a loss of accuracy that is not
    due to chance, the candidate fails. Lower precisions are judged by the loss of accuracy.

    Args:
        report: Comparison of the embeddings.
        task: Comparison of the accuracies; None without labels.
        by_interval: Judge accuracy by the worse end of the 95 % interval of the difference.
    """
    precision, limits = report.precision, report.limits
    of = "worse end of the 95 % interval of the " if by_interval else ""
    rule, limit = f"{of}loss of linear-SVM accuracy", limits.max_drop / 100
    lost = None if task is None else loss(task, by_interval) / 100
    kept = task is not None and holds(task, limits.max_drop, by_interval=by_interval)
    accuracy = Verdict(precision, rule, limit, lost, kept)
    if precision != "fp32":
        return accuracy
    worst = report.unexplained
    measured = unexplained(worst)
    numbers = Verdict(precision, EQUAL, limits.relative_l2, measured, measured <= limits.relative_l2, worst.name)
    if task is None or kept or not numbers.passed:
        return numbers
    chance = not by_interval and task.mcnemar_p >= SIGNIFICANT
    return numbers if chance else accuracy


def round_up(value: float) -> float:
    """The smallest number with two significant digits that is at least `value` (0 or more)."""
    if value <= 0:
        return 0.0
    exponent = math.floor(math.log10(value)) - 1
    rounded = float(f"{math.ceil(value / 10.0**exponent)}e{exponent}")
    return rounded if rounded >= value else float(f"{math.ceil(value / 10.0**exponent) + 1}e{exponent}")
