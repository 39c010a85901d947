"""The parity gate: compares a candidate model with the reference that it must equal.

`crosspoint export` compares files with the trained network and fails if they differ. `crosspoint parity` and
`crosspoint diagnose` compare any two models. All use the same clouds, measures and limits.

If two points are at nearly the same distance (a near tie), rounding decides which one is a neighbour, and the output
jumps. So outputs are compared on equal neighbour graphs if the candidate shows its graphs: the graphs are judged by
distance, and the reference is evaluated on them. If the graphs are not visible, the reference is tested for jumps of
the same size (`crosspoint.parity.near_ties`). If that is impossible too, as on a device that has only the reference's
outputs, at least half of the clouds must be equal, and no cloud may be far off.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed
from crosspoint.parity.clouds import UNNORMALISED, CloudSet
from crosspoint.parity.gate_result import CaseResult, GateResult
from crosspoint.parity.limits import LIMITS, Limits
from crosspoint.parity.measures import Errors, relative_l2
from crosspoint.parity.near_ties import NearTies, explain
from crosspoint.parity.neighbour_graphs import NeighbourGraphs
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.profile import Profile

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Inputs = dict[str, Floats]
Graphs = Mapping[str, NDArray[np.int64]]
OnGraphs = tuple[Doubles, dict[str, float]]

ODD, LARGEST_BATCH, LARGEST_SCORES = 5, 32, 1 << 26  # limits on what the CPU is asked for: clouds, and B·N²


class Network(Protocol):
    """A reference that can be evaluated on given neighbour graphs."""

    def on_own_graphs(self, inputs: Mapping[str, Floats]) -> Doubles:
        """Output `(B, …)` on the network's own neighbour graphs."""

    def on_graphs(self, inputs: Mapping[str, Floats], graphs: Graphs) -> tuple[Doubles, dict[str, float]]:
        """Output `(1, …)` of one cloud on given graphs, and for each EdgeConv the share of right neighbours."""


class Seen(Enum):
    """What is known of the candidate's neighbour graphs."""

    GRAPHS = "outputs on the candidate's graphs, which are judged by distance"
    NEAR_TIES = "outputs on own graphs, near ties asked of the reference"
    NOTHING = "outputs on own graphs"


@dataclass(frozen=True)
class Case:
    """The comparison on one set of clouds.

    Attributes:
        name: Name of the clouds.
        batch: Clouds per call.
        points: Points per cloud.
        errors: Errors on equal graphs if the candidate's are visible, else on each model's own graphs.
        own_graphs: Largest relative L2 error on each model's own graphs, which includes jumps at near ties. None if
            there are exact ties.
        overlap: Least share of right neighbours, by EdgeConv; empty if the graphs are not visible.
        near_ties: Errors that near ties explain; None if this was not tested.
    """

    name: str
    batch: int
    points: int
    errors: Errors
    own_graphs: float | None
    overlap: dict[str, float]
    near_ties: NearTies | None = None

    def result(self) -> CaseResult:
        """The values for a manifest."""
        return CaseResult(
            name=self.name,
            batch=self.batch,
            points=self.points,
            relative_l2_own_graphs=self.own_graphs,
            overlap=self.overlap,
            **vars(self.errors),
        )


@dataclass(frozen=True)
class Report:
    """The result of a comparison.

    Attributes:
        precision: Precision whose limits apply.
        candidate: Name of the candidate.
        cases: All comparisons.
        limits: Limits of the precision.
        seen: What is known of the candidate's graphs.
        reference: Name of the reference.
    """

    precision: str
    candidate: str
    cases: tuple[Case, ...]
    limits: Limits
    seen: Seen
    reference: str = "PyTorch in float64"

    @property
    def counted(self) -> tuple[Case, ...]:
        """The cases that the limits apply to; all others must only be finite."""
        return tuple(case for case in self.cases if self.limits.unnormalised or case.name not in UNNORMALISED)

    @property
    def relative_l2_max(self) -> float:
        """Largest error of a cloud."""
        return max(case.errors.relative_l2_max for case in self.counted)

    @property
    def cosine_min(self) -> float:
        """Least cosine of a cloud."""
        return min(case.errors.cosine_min for case in self.counted)

    @property
    def overlap_min(self) -> float | None:
        """Least share of right neighbours of an EdgeConv on a cloud; None if no graphs were visible."""
        return min((share for case in self.counted for share in case.overlap.values()), default=None)

    @property
    def unexplained(self) -> Case:
        """The case with the largest error that near ties do not explain."""
        return max(self.counted, key=unexplained)

    @property
    def limits_by_name(self) -> dict[str, float]:
        """The limits that apply, by name."""
        if self.seen is Seen.GRAPHS:
            return {"relative_l2": self.limits.relative_l2, "overlap": self.limits.overlap}
        if self.seen is Seen.NEAR_TIES:
            return {"relative_l2": self.limits.relative_l2}
        return {"relative_l2_median": self._median_limit, "relative_l2": self.limits.unseen_graphs}

    @property
    def _median_limit(self) -> float:
        """The limit on the median: in float32 few clouds have near ties, in lower precisions every cloud has."""
        return self.limits.relative_l2 if self.precision == "fp32" else self.limits.unseen_graphs

    def holds(self, case: Case) -> bool:
        """Whether a case whose graphs were seen is within the limits."""
        right = all(share >= self.limits.overlap for share in case.overlap.values())
        return right and case.errors.relative_l2_max <= self.limits.relative_l2

    def require(self) -> None:
        """Raise CheckFailed if a case is not within the limits."""
        for case in self.cases:  # also those that the limits do not apply to, which must be finite
            if not np.isfinite(case.errors.relative_l2_max):
                self._require(case, case.errors.relative_l2_max, self.limits.relative_l2)
        if self.seen is Seen.NOTHING:
            self._require_most()
            return
        for case in self.counted:
            for edge, share in case.overlap.items():
                if not share >= self.limits.overlap:
                    raise CheckFailed(
                        f"{self.candidate} does not find the neighbours that the trained network finds: of {edge}'s "
                        f"{share:.4f} are right on {case.name} (limit {self.limits.overlap})"
                    )
        worst = self.unexplained
        self._require(worst, unexplained(worst), self.limits.relative_l2)

    def _require_most(self) -> None:
        """Check that half of the clouds are equal, and that none is far off."""
        ordered = sorted(self.cases, key=lambda case: case.errors.relative_l2_median)
        middle = ordered[len(ordered) // 2]
        self._require(middle, middle.errors.relative_l2_median, self._median_limit)
        worst = max(self.cases, key=lambda case: case.errors.relative_l2_max)
        self._require(worst, worst.errors.relative_l2_max, self.limits.unseen_graphs)

    def _require(self, case: Case, error: float, limit: float) -> None:
        if not error <= limit:
            raise CheckFailed(
                f"{self.candidate} differs from the trained network: relative L2 {error:.2e} on {case.name} "
                f"(limit {limit:.0e}; {error * 1.01:.1e} would have passed)"
            )

    def result(self) -> GateResult:
        """The values for a manifest."""
        return GateResult(
            tier=self.precision,
            candidate=self.candidate,
            reference=self.reference,
            limits=self.limits_by_name,
            relative_l2_max=self.relative_l2_max,
            relative_l2_own_graphs_max=max(case.own_graphs for case in self.cases if case.own_graphs is not None),
            cosine_min=self.cosine_min,
            overlap_min=self.overlap_min,
            cases=tuple(case.result() for case in self.cases),
        )


def unexplained(case: Case) -> float:
    """The largest error of a case that near ties do not explain."""
    return case.errors.relative_l2_max if case.near_ties is None else case.near_ties.relative_l2_unexplained


class Gate:
    """The reference, clouds and limits that candidates are compared with.

    Args:
        reference: The network; or an open encoder, whose graphs are not visible; or None if only its outputs on the
            clouds are known.
        clouds: Clouds from `gate_clouds`; the first set is run at every batch size.
        limits: Limits, by precision.
        least: Fewest clouds that are compared at every batch size; a larger batch is filled.
        seed: Random seed of the moves that test for near ties.

    Example:
        >>> gate = Gate(Reference(network), gate_clouds(1024))         # doctest: +SKIP
        >>> with load_encoder("encoder.onnx") as candidate, GraphProbe("encoder.onnx") as graphs:
        ...     report = gate.check(candidate, "fp32", graphs=graphs)
    """

    def __init__(
        self,
        reference: Network | Encoder | None,
        clouds: Sequence[CloudSet],
        *,
        limits: Mapping[str, Limits] = LIMITS,
        least: int = 1,
        seed: int = 0,
    ) -> None:
        self.reference, self.limits, self._least, self._seed = reference, limits, least, seed
        self.clouds = tuple(self._with_own_graphs(one) for one in track(clouds, "Computing what the reference gives"))

    def _with_own_graphs(self, clouds: CloudSet) -> CloudSet:
        """Add the outputs of the reference, cloud by cloud to limit memory."""
        if clouds.own_graphs is not None or self.reference is None:
            return clouds
        if isinstance(self.reference, Encoder):
            outputs = run(self.reference, clouds.inputs, batch=1)
        elif clouds.ties:
            return clouds
        else:
            outputs = np.concatenate([self.reference.on_own_graphs(cloud) for cloud in _each(clouds.inputs)])
        return replace(clouds, own_graphs=outputs.astype(np.float64))

    def check(
        self,
        candidate: Encoder,
        precision: str,
        *,
        graphs: NeighbourGraphs | None = None,
        batches: Sequence[int] = (1,),
        name: str | None = None,
    ) -> Report:
        """Compare a candidate and check the limits; the arguments are those of `measure`.

        Raises:
            CheckFailed: It is not within the limits of its precision, or its output is not finite.
        """
        report = self.measure(candidate, precision, graphs=graphs, batches=batches, name=name)
        report.require()
        return report

    def measure(
        self,
        candidate: Encoder,
        precision: str,
        *,
        graphs: NeighbourGraphs | None = None,
        batches: Sequence[int] = (1,),
        name: str | None = None,
    ) -> Report:
        """Compare a candidate on the first set of clouds at every batch size, and on each other set once.

        Args:
            candidate: The open model, as users run it.
            precision: Precision whose limits apply.
            graphs: Shows the candidate's neighbour graphs; None if they are not visible, as in an engine.
            batches: Batch sizes.
            name: Name of the candidate in the report; None: backend and device.

        Raises:
            CheckFailed: The candidate's output is not finite.
        """
        seen = self._seen(graphs)
        first, *others = [one for one in self.clouds if seen is Seen.GRAPHS or one.own_graphs is not None]
        calls = [(_repeated(first, max(size, self._least), f"{first.name}, batch {size}"), size) for size in batches]
        calls += [(one, len(one)) for one in others]
        known: dict[str, OnGraphs] = {}
        cases = []
        for clouds, batch in track(calls, "Comparing"):
            output = run(candidate, clouds.inputs, batch=batch)
            cases.append(self.compare(clouds, output, precision=precision, batch=batch, graphs=graphs, known=known))
        label = name or f"{candidate.specification.backend} on {candidate.specification.device}"
        return Report(precision, label, tuple(cases), self.limits[precision], seen)

    def compare(
        self,
        clouds: CloudSet,
        output: Floats,
        *,
        precision: str,
        batch: int,
        graphs: NeighbourGraphs | None = None,
        known: dict[str, OnGraphs] | None = None,
    ) -> Case:
        """Errors of a candidate's output `(P, …)` on some clouds.

        Args:
            clouds: The clouds, with the reference's output on its own graphs if the candidate's are not visible.
            output: The candidate's output.
            precision: Precision whose limits apply.
            batch: Clouds per call.
            graphs: Shows the candidate's neighbour graphs.
            known: Outputs of the reference on graphs that occurred before.
        """
        own, points = clouds.own_graphs, clouds.inputs["points"]
        if graphs is not None:
            expected, overlap = self._on_graphs(clouds.inputs, graphs, {} if known is None else known)
        else:
            assert own is not None
            expected, overlap = own, {}
        explained = None
        if isinstance(self.reference, Encoder) and self._seen(graphs) is Seen.NEAR_TIES and precision == "fp32":
            limit = self.limits[precision].relative_l2
            explained = explain(self.reference, points, expected=expected, output=output, limit=limit, seed=self._seed)
        apart = None if own is None else float(relative_l2(own, output).max())
        errors = Errors.between(expected, output)
        return Case(clouds.name, batch, points.shape[1], errors, apart, overlap, explained)

    def _seen(self, graphs: NeighbourGraphs | None) -> Seen:
        if graphs is not None:
            return Seen.GRAPHS
        return Seen.NEAR_TIES if isinstance(self.reference, Encoder) else Seen.NOTHING

    def _on_graphs(self, inputs: Inputs, graphs: NeighbourGraphs, known: dict[str, OnGraphs]) -> OnGraphs:
        """Output of the reference `(B, …)` on the candidate's graphs, and the least share of right neighbours.

        For graphs that occurred before, the known output is used.
        """
        assert self.reference is not None
        assert not isinstance(self.reference, Encoder)
        results = []
        shown = graphs.neighbours(inputs)
        for i, cloud in enumerate(_each(inputs)):
            chosen = {name: neighbours[i : i + 1] for name, neighbours in shown.items()}
            arrays: list[NDArray[Any]] = [*cloud.values(), *chosen.values()]
            key = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
            if key not in known:
                known[key] = self.reference.on_graphs(cloud, chosen)
            results.append(known[key])
        worst = {name: min(shares[name] for _, shares in results) for name in shown}
        return np.concatenate([output for output, _ in results]), worst


def run(encoder: Encoder, inputs: Inputs, *, batch: int | None = None) -> Floats:
    """Output `(P, …)` of an encoder or a segmenter, in calls of `batch` clouds; None: in one call."""
    total = len(inputs["points"])
    size = batch or total
    pieces = []
    for start in range(0, total, size):
        piece = {name: array[start : start + size] for name, array in inputs.items()}
        pieces.append(encoder.infer(piece, any_scale=True))
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _each(inputs: Inputs) -> Iterator[Inputs]:
    """Batches of one cloud."""
    for i in range(len(inputs["points"])):
        yield {name: array[i : i + 1] for name, array in inputs.items()}


def _repeated(clouds: CloudSet, count: int, name: str) -> CloudSet:
    """The first `count` clouds of a set, repeated if it has fewer."""
    rows = np.arange(count) % len(clouds)
    own = clouds.own_graphs
    inputs = {key: array[rows] for key, array in clouds.inputs.items()}
    return CloudSet(name, inputs, None if own is None else own[rows], clouds.ties)


def batch_sizes(profile: Profile) -> list[int]:
    """Batch sizes to test on the CPU: 1, 2, an odd one, the usual and the largest, as far as memory allows."""
    points = profile.tested_points(1)[1]
    limit = max(2, min(LARGEST_BATCH, LARGEST_SCORES // points**2))
    return sorted({min(size, limit) for size in (1, 2, ODD, *profile.batch)})
