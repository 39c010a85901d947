"""What a gate measured, as a manifest has it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CaseResult:
    """One comparison; attributes as of `crosspoint.parity.gate.Case` and `crosspoint.parity.measures.Errors`."""

    name: str
    batch: int
    points: int
    relative_l2_max: float
    relative_l2_p99: float
    relative_l2_median: float
    relative_l2_own_graphs: float | None
    cosine_min: float
    cosine_p1: float
    overlap: dict[str, float]


@dataclass(frozen=True)
class GateResult:
    """All comparisons of one candidate.

    Attributes:
        tier: The precision whose limits held.
        candidate: What was compared.
        reference: What it was compared with.
        limits: Those that decided, by name.
        relative_l2_max: Largest error of a cloud.
        relative_l2_own_graphs_max: The same on own graphs.
        cosine_min: Least cosine of a cloud.
        overlap_min: Least share of right neighbours; None where no graphs were seen.
        cases: Each comparison.
    """

    tier: str
    candidate: str
    reference: str
    limits: dict[str, float]
    relative_l2_max: float
    relative_l2_own_graphs_max: float
    cosine_min: float
    overlap_min: float | None
    cases: tuple[CaseResult, ...]
