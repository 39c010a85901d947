"""What a manifest says of the parity gate that its files passed."""

from dataclasses import dataclass, field

from crosspoint.core.results import key


@dataclass(frozen=True)
class CaseRecord:
    """One comparison; attributes as of `crosspoint.parity.gate.Case` and `crosspoint.parity.measures.Errors`.

    Attributes:
        relative_l2_own_graphs: Largest relative L2 error where both models build their own neighbour graphs.
        overlap: Least share of right neighbours by EdgeConv.
    """

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
class GateRecord:
    """All comparisons of a candidate, and the worst numbers among those that are held to the limits.

    Attributes:
        precision: Whose limits counted.
        candidate: What was compared.
        reference: What it was compared with.
        limits: Those that decided, by name.
        relative_l2_max: Largest error of a cloud.
        relative_l2_own_graphs_max: The same where both models build their own neighbour graphs.
        cosine_min: Least cosine of a cloud.
        overlap_min: Least share of right neighbours of an EdgeConv; None where no graphs were seen.
        cases: Every comparison.
    """

    precision: str = field(metadata=key("tier"))
    candidate: str
    reference: str
    limits: dict[str, float]
    relative_l2_max: float
    relative_l2_own_graphs_max: float
    cosine_min: float
    overlap_min: float | None
    cases: tuple[CaseRecord, ...]
