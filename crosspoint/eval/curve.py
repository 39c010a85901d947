"""Accuracy of a model at each severity of a corruption."""

from dataclasses import dataclass, field

from crosspoint.core.results import OPTIONAL
from crosspoint.eval.metrics.statistics import Paired


@dataclass(frozen=True)
class CurveModel:
    """The model of a curve."""

    path: str
    backend: str
    precision: str


@dataclass(frozen=True)
class SeverityAccuracy:
    """Accuracy at one severity, as a fraction of one.

    Attributes:
        severity: Severity, in the unit that the corruption's title names.
        accuracy: Accuracy on the test objects.
        interval: Wilson's 95 % interval.
        against: Comparison with another model on the same corrupted clouds, or None.
    """

    severity: float
    accuracy: float
    interval: tuple[float, float]
    against: Paired | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class SeverityCurve:
    """Accuracy of one model over the severities of one corruption, mildest first."""

    model: CurveModel
    corruption: str
    rows: tuple[SeverityAccuracy, ...]
