"""The parity gate: one comparison of a candidate with the model that it has to equal, for whoever compares.

`crosspoint export` compares files with the trained network and fails closed, `crosspoint parity` and `crosspoint
diagnose` compare any two models. Clouds (`crosspoint.parity.clouds`), measures and limits are the same.

A neighbour graph is a choice where points are all but equally far, and an output jumps with it. So outputs are compared
on equal graphs where the candidate shows its own: the graphs are judged by distance, and the reference is evaluated on
them. Where they cannot be seen, the reference is asked whether it jumps as far (`crosspoint.parity.near_ties`). Where
it cannot be asked either, as on a device that has its outputs alone, most clouds have to be equal and none far off.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed
from crosspoint.parity.clouds import UNNORMALISED, CloudSet
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
        """The output `(B, …)` on the graphs that the network builds itself."""

    def on_graphs(self, inputs: Mapping[str, Floats], graphs: Graphs) -> tuple[Doubles, dict[str, float]]:
        """The output `(1, …)` of one cloud on given graphs, and by EdgeConv the share of right neighbours."""


class Seen(Enum):
    """What is known of the candidate's neighbour graphs."""

    GRAPHS = "outputs on the candidate's graphs, which are judged by distance"
    NEAR_TIES = "outputs on own graphs, near ties asked of the reference"
    NOTHING = "outputs on own graphs"


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: Of the clouds.
        batch: Clouds in a call.
        points: Points of a cloud.
        errors: On equal graphs where the candidate's can be seen, else on own graphs.
        own_graphs: Largest relative L2 error on own graphs, which also holds what follows from float32 and float64
            choosing differently among all but equally far neighbours. None where they lie exactly equally far.
        overlap: Least share of right neighbours by EdgeConv; empty where the graphs cannot be seen.
        near_ties: What the reference explains; None where it was not asked.
    """

    name: str
    batch: int
    points: int
    errors: Errors
    own_graphs: float | None
    overlap: dict[str, float]
    near_ties: NearTies | None = None

    def to_json(self) -> dict[str, Any]:
        """As a manifest has it."""
        errors = asdict(self.errors)
        cosines = {name: errors.pop(name) for name in ("cosine_min", "cosine_p1")}
        own = {"relative_l2_own_graphs": self.own_graphs}
        about = {"name": self.name, "batch": self.batch, "points": self.points}
        return {**about, **errors, **own, **cosines, "overlap": self.overlap}


@dataclass(frozen=True)
class Report:
    """What a gate found.

    Attributes:
        precision: Whose limits count.
        candidate: What was compared.
        cases: All comparisons.
        limits: Of the precision.
        seen: What is known of the candidate's graphs.
        reference: What it was compared with.
    """

    precision: str
    candidate: str
    cases: tuple[Case, ...]
    limits: Limits
    seen: Seen
    reference: str = "PyTorch in float64"

    @property
    def counted(self) -> tuple[Case, ...]:
        """The cases that are held to the limits; the others have to be finite."""
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
        """Least share of right neighbours of an EdgeConv on a cloud; None where no graphs were seen."""
        return min((share for case in self.counted for share in case.overlap.values()), default=None)

    @property
    def unexplained(self) -> Case:
        """The case with the largest error that near ties do not explain."""
        return max(self.counted, key=unexplained)

    @property
    def limits_by_name(self) -> dict[str, float]:
        """The limits that decide."""
        if self.seen is Seen.GRAPHS:
            return {"relative_l2": self.limits.relative_l2, "overlap": self.limits.overlap}
        if self.seen is Seen.NEAR_TIES:
            return {"relative_l2": self.limits.relative_l2}
        return {"relative_l2_median": self._median_limit, "relative_l2": self.limits.unseen_graphs}

    @property
    def _median_limit(self) -> float:
        """In float32 few clouds have near ties, and in lower precisions every cloud has."""
        return self.limits.relative_l2 if self.precision == "fp32" else self.limits.unseen_graphs

    def holds(self, case: Case) -> bool:
        """Whether a case whose graphs were seen is within the limits."""
        right = all(share >= self.limits.overlap for share in case.overlap.values())
        return right and case.errors.relative_l2_max <= self.limits.relative_l2

    def require(self) -> None:
        """Raise CheckFailed unless every case is within the limits."""
        for case in self.cases:  # those that do not count too
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
        """Half of the clouds are equal, and none is far off."""
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

    def to_json(self) -> dict[str, Any]:
        """As a manifest has it."""
        own = [case.own_graphs for case in self.cases if case.own_graphs is not None]
        return {
            "tier": self.precision,
            "candidate": self.candidate,
            "reference": self.reference,
            "limits": self.limits_by_name,
            "relative_l2_max": self.relative_l2_max,
            "relative_l2_own_graphs_max": max(own),
            "cosine_min": self.cosine_min,
            "overlap_min": self.overlap_min,
            "cases": [case.to_json() for case in self.cases],
        }


def unexplained(case: Case) -> float:
    """The largest error of a case that near ties do not explain."""
    return case.errors.relative_l2_max if case.near_ties is None else case.near_ties.relative_l2_unexplained


class Gate:
    """What candidates are compared with, built once.

    Args:
        reference: The network; an open encoder, whose graphs are not seen and which is asked about near ties; or None
            where its outputs on the clouds are all that there is.
        clouds: From `gate_clouds`; those at the front are run at every batch size.
        limits: By precision.
        least: At every batch size this many clouds are compared, or as many as one batch holds if that is more.
        seed: Of the moves by which the reference is asked about near ties.

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
        """What the reference gives, cloud by cloud, to bound memory."""
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
        """Compare a candidate; arguments as of `measure`.

        Raises:
            CheckFailed: It is not within the limits of its precision, or gives values that are not finite.
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
        """Compare a candidate on the first clouds at every batch size, and on all others as they are.

        Args:
            candidate: As users run it, with the checks and the splitting of batches that come with it.
            precision: Whose limits count.
            graphs: Shows the candidate's graphs; None of an engine.
            batches: Batch sizes.
            name: What the report calls the candidate; None for its backend and device.

        Raises:
            CheckFailed: The candidate gives values that are not finite.
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
            clouds: With what the reference gives on its own graphs, where the candidate's are not seen.
            output: What the candidate gives.
            precision: Whose limits count.
            batch: Clouds in a call.
            graphs: Shows the candidate's graphs.
            known: What the reference gave before on these graphs.
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
        """The reference's output `(B, …)` on the candidate's graphs, and the least share of right neighbours.

        A cloud with graphs that were seen before is not computed again.
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
    """The output `(P, …)` of an encoder or a segmenter, in calls of `batch` clouds; None for one call."""
    total = len(inputs["points"])
    size = batch or total
    pieces = []
    for start in range(0, total, size):
        piece = {name: array[start : start + size] for name, array in inputs.items()}
        pieces.append(encoder.segment(**piece) if "category" in piece else encoder.embed(piece["points"]))
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _each(inputs: Inputs) -> Iterator[Inputs]:
    """Batches of one."""
    for i in range(len(inputs["points"])):
        yield {name: array[i : i + 1] for name, array in inputs.items()}


def _repeated(clouds: CloudSet, count: int, name: str) -> CloudSet:
    """So many clouds of a set, which repeat where it has fewer."""
    rows = np.arange(count) % len(clouds)
    own = clouds.own_graphs
    inputs = {key: array[rows] for key, array in clouds.inputs.items()}
    return CloudSet(name, inputs, None if own is None else own[rows], clouds.ties)


def batch_sizes(profile: Profile) -> list[int]:
    """Batches for the CPU: 1, 2, odd, usual and largest, as far as memory allows."""
    points = profile.tested_points(1)[1]
    limit = max(2, min(LARGEST_BATCH, LARGEST_SCORES // points**2))
    return sorted({min(size, limit) for size in (1, 2, ODD, *profile.batch)})
