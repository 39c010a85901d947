"""Are two models the same? Their embeddings and accuracies compared, and a verdict by the candidate's precision."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.eval.features import ModelInfo, check_seed, describe_model
from crosspoint.parity.accuracy import BATCH, Accuracy, embed
from crosspoint.parity.clouds import CloudSet, gate_clouds
from crosspoint.parity.gate import ODD, Case, Gate, Report, unexplained
from crosspoint.parity.limits import SIGNIFICANT, holds, loss
from crosspoint.parity.pair import check_pair
from crosspoint.parity.user_clouds import real_clouds
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.options import RunOn, Sampling

FEWEST = 14  # clouds that are compared at every batch size
EQUAL = "largest relative L2 error that near ties do not explain"


@dataclass(frozen=True)
class Verdict:
    """What decided.

    Attributes:
        precision: Of the candidate, whose limits count.
        rule: What was measured.
        limit: What is allowed: a relative L2 error, or a share of the objects.
        measured: None where it could not be measured.
        passed: Whether the candidate is within the limit.
        worst: The clouds that it was measured on, where others were better.
    """

    precision: str
    rule: str
    limit: float
    measured: float | None
    passed: bool
    worst: str | None = None

    @property
    def would_pass_at(self) -> float | None:
        """The smallest limit of two digits that would have passed."""
        return None if self.measured is None else round_up(self.measured)

    def __str__(self) -> str:
        """In one line."""
        if self.measured is None:
            return f"{self.precision}: not passed, the {self.rule} was not measured; give more labelled --data"
        worst = f" ({self.worst})" if self.worst else ""
        judged = "passed" if self.passed else f"not passed, would pass at {self.would_pass_at:.1e}"
        return f"{self.precision}: {self.rule} {self.measured:.2e}{worst}, limit {self.limit:g}: {judged}"

    def to_json(self) -> dict[str, Any]:
        """As a result has it under `gate`."""
        values = {"tier": self.precision, "rule": self.rule, "limit": self.limit, "measured": self.measured}
        values |= {"would_pass_at": self.would_pass_at, "passed": self.passed}
        return values if self.worst is None else {**values, "worst": self.worst}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Verdict":
        """From a result that was read."""
        names = ("rule", "limit", "measured", "passed")
        return cls(values["tier"], **{name: values[name] for name in names}, worst=values.get("worst"))


@dataclass(frozen=True)
class ParityData:
    """The clouds of a comparison.

    Attributes:
        path: Where they were read.
        source: What was read.
        clouds: How many.
        points: Of each.
        seed: Of every random choice.
        skipped: Files that could not be used, with the reason.
    """

    path: str
    source: str
    clouds: int
    points: int
    seed: int
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class ParityResult:
    """What `parity` found.

    Attributes:
        reference: The model to be equal to.
        candidate: The model in question.
        data: The real clouds.
        report: Embeddings compared, the real clouds first.
        task: SVM accuracies on both sides; None without labels.
        gate: The verdict.
    """

    schema: ClassVar[str] = "crosspoint.parity/1"

    reference: ModelInfo
    candidate: ModelInfo
    data: ParityData
    report: Report
    task: dict[str, Any] | None
    gate: Verdict

    @property
    def passed(self) -> bool:
        """Whether the candidate may stand for the reference."""
        return self.gate.passed

    def to_json(self) -> dict[str, Any]:
        """As `crosspoint parity --json` writes it, without the schema."""
        return {
            "reference": asdict(self.reference),
            "candidate": asdict(self.candidate),
            "data": asdict(self.data),
            "numeric": [_row(case) for case in self.report.cases],
            "task": self.task,
            "gate": self.gate.to_json(),
            "passed": self.passed,
        }


def _row(case: Case) -> dict[str, Any]:
    row = {"clouds": case.name, **asdict(case.errors)}
    return row if case.near_ties is None else {**row, **asdict(case.near_ties)}


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

    The candidate's precision decides the gate: fp32 by the largest relative L2 error of any embedding, near ties among
    neighbours aside (`crosspoint.parity.near_ties`), and where there are labels by its predictions too; the lower ones
    by the linear-SVM accuracy that they lose on the same objects, which needs labelled data: without labels they do not
    pass.

    Args:
        reference: The model to be equal to; of a released model its trained network, where PyTorch is installed.
        candidate: The model in question.
        data: A dataset in any known format, or a folder of cloud and mesh files.
        clouds: Use at most this many clouds of `data`; None for all.
        sampling: Points per cloud, by default the number that a model fixes, else 1024; and the seed.
        run_on: Where the candidate runs.
        reference_device: Where the reference runs.
        by_interval: Judge accuracies by the worse end of the 95 % interval of their paired difference.

    Raises:
        InputError: A model or the data cannot be used, or the embeddings differ in width.
        CheckFailed: A model returns NaN or infinite values (`Encoder.embed`).
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
        probe = real_clouds(data, points, limit=clouds, seed=seed)
        first, second = (
            embed(a, probe.points, batch=BATCH, description="Reference"),
            embed(b, probe.points, batch=BATCH, description="Candidate"),
        )
        real = CloudSet("real clouds", {"points": probe.points}, first.astype(np.float64))
        report = _compare(a, b, real, second, seed)
        models = describe_model(a), describe_model(b)
    task = None
    if probe.labels is not None:
        accuracy = Accuracy(first, probe, seed=seed)
        task = {"C": accuracy.c, **accuracy.compare_features(second)}
    about = ParityData(str(data), probe.source, len(first), points, seed, tuple(probe.skipped))
    return ParityResult(*models, about, report, task, judge(report, task, by_interval=by_interval))


def _compare(a: Encoder, b: Encoder, real: CloudSet, second: NDArray[np.float32], seed: int) -> Report:
    """Real clouds, of which both embeddings are known, and the synthetic ones of every gate."""
    points = real.inputs["points"].shape[1]
    largest, precision = b.specification.max_batch or 32, b.specification.precision
    least = max(largest, FEWEST)
    counts = _point_counts(a, b, points)
    gate = Gate(a, gate_clouds(points, counts=counts, seed=seed, ordinary_clouds=least), least=least, seed=seed)
    report = gate.measure(b, precision, batches=sorted({1, 2, ODD, largest}))
    return replace(report, cases=(gate.compare(real, second, precision=precision, batch=BATCH), *report.cases))


def _point_counts(a: Encoder, b: Encoder, points: int) -> set[int]:
    """The fewest and the most points that both models take, where they take a range."""
    first, second = a.specification, b.specification
    if first.points is not None or second.points is not None:
        return set()
    limits = [limit for limit in (first.max_points, second.max_points) if limit is not None]
    return {max(first.min_points, second.min_points), min(limits, default=2 * points)}


def judge(report: Report, task: Mapping[str, Any] | None, *, by_interval: bool = False) -> Verdict:
    """The verdict of a precision.

    fp32 is judged by its embeddings. Near ties may be excused there, their harm may not: where labels show a loss of
    accuracy that is no chance, that decides. The lower precisions are judged by the loss of accuracy.

    Args:
        report: Embeddings compared.
        task: Accuracies compared; None without labels.
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
    chance = not by_interval and task["mcnemar_p"] >= SIGNIFICANT
    return numbers if chance else accuracy


def round_up(value: float) -> float:
    """The next number of two significant digits that is not below a non-negative `value`."""
    if value <= 0:
        return 0.0
    exponent = math.floor(math.log10(value)) - 1
    rounded = float(f"{math.ceil(value / 10.0**exponent)}e{exponent}")
    return rounded if rounded >= value else float(f"{math.ceil(value / 10.0**exponent) + 1}e{exponent}")


def verdict(gate: Mapping[str, Any]) -> str:
    """The verdict of a result that was read, in one line."""
    return str(Verdict.from_json(gate))
