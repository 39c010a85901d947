"""The parity gate: an exported model is compared with the network that it was made from, and fails closed."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed
from crosspoint.parity.clouds import UNNORMALISED, hostile, ordinary
from crosspoint.parity.neighbour_graphs import NeighbourGraphs
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.profile import Profile

if TYPE_CHECKING:  # a device compares without torch and onnx
    from crosspoint.parity.reference import Reference

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Run = Callable[[dict[str, Floats]], Floats]


@dataclass(frozen=True)
class Tier:
    """Limits of a precision.

    Attributes:
        relative_l2: Of every cloud's output, the network evaluated on the same neighbour graphs.
        overlap: Least share of right neighbours of every EdgeConv and cloud.
        other_graphs: As `relative_l2` for an engine, whose graphs cannot be seen: it may have taken two all but equal
            neighbours for each other.
        unnormalised: Whether clouds that were not normalised are held to the same limits.
    """

    relative_l2: float
    overlap: float
    other_graphs: float
    unnormalised: bool


TIERS = {
    "fp32": Tier(1e-4, 0.99, 1e-2, unnormalised=True),
    "fp16": Tier(1e-2, 0.99, 5e-2, unnormalised=False),
    "bf16": Tier(5e-2, 0.99, 1e-1, unnormalised=False),
    "int8": Tier(0.25, 0.5, 0.3, unnormalised=False),
}
"""float32 rounds an embedding by 1e-6, fp16 by 1e-3, bf16 by 1e-2; int8 is judged by accuracy, here for blunders."""
TINY = np.finfo(np.float64).tiny
CLOUDS = 5  # ordinary ones; odd, so that they fall on other places of a larger batch each time they repeat
ODD, LARGEST_BATCH, LARGEST_SCORES = 5, 32, 1 << 26  # limits on what the CPU is asked for: clouds, and B·N²


@dataclass(frozen=True)
class Clouds:
    """Clouds to compare on.

    Attributes:
        name: For the report.
        inputs: By name, `(P, …)`.
        own_graphs: The network's float64 output `(P, …)` on the graphs that it builds itself; None where neighbours lie
            exactly equally far, so that these are a matter of choice.
    """

    name: str
    inputs: dict[str, Floats]
    own_graphs: Doubles | None


@dataclass(frozen=True)
class Case:
    """One comparison; errors are over its clouds, each flattened.

    `relative_l2_*` and `cosine_*` are against the network on the candidate's graphs where these can be seen.
    `relative_l2_own_graphs` also holds what follows from float32 and float64 choosing differently among neighbours that
    are all but equally far.
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


def prepare(
    reference: "Reference", config: Mapping[str, Any], profile: Profile, real: Floats | None = None
) -> list[Clouds]:
    """The clouds that a model is checked with; the ordinary ones, which are run at every batch size, come first.

    Args:
        reference: The trained network.
        config: Of the network.
        profile: Numbers of points.
        real: Some of the user's clouds `(n, N, 3)`.
    """
    smallest, usual, largest = profile.tested_points(int(config.get("k", 1)))
    sets = [("ordinary clouds", ordinary(CLOUDS, usual), False)]
    sets += [] if real is None else [("real clouds", real, False)]
    sets += [(f"{n} points", ordinary(2, n, seed=n), False) for n in sorted({smallest, largest} - {usual})]
    sets += [(name, cloud[None], True) for name, cloud in hostile(usual).items()]
    prepared = []
    for name, points, ties in track(sets, "Computing what the network gives"):
        inputs = inputs_of(points, config.get("categories"))
        prepared.append(Clouds(name, inputs, None if ties else _own_graphs(reference, inputs)))
    return prepared


def inputs_of(points: Floats, categories: int | None) -> dict[str, Floats]:
    """Inputs of a network for clouds `(n, N, 3)`; a part segmenter's categories take turns."""
    inputs = {"points": points}
    if categories is not None:
        inputs["category"] = np.eye(categories, dtype=np.float32)[np.arange(len(points)) % categories]
    return inputs


def _own_graphs(reference: "Reference", inputs: dict[str, Floats]) -> Doubles:
    """Cloud by cloud, to bound memory."""
    clouds = ({name: array[i : i + 1] for name, array in inputs.items()} for i in range(len(inputs["points"])))
    return np.concatenate([reference.on_own_graphs(cloud) for cloud in clouds])


def through(encoder: Encoder) -> Run:
    """A candidate as users run it, with the checks and the splitting of batches that come with it."""

    def run(inputs: dict[str, Floats]) -> Floats:
        return encoder.segment(**inputs) if "category" in inputs else encoder.embed(inputs["points"])

    return run


def compare(run: Run, prepared: list[Clouds], batches: list[int], probe: NeighbourGraphs | None) -> list[Case]:
    """Errors of a candidate on ordinary clouds at every batch size, and on all others as they are.

    Args:
        run: The candidate, inputs by name to output.
        prepared: From `prepare`.
        batches: Batch sizes.
        probe: Shows the candidate's graphs. An engine has none: it is compared on the network's own graphs, and only
            where these are not a matter of choice.
    """
    first, *others = [clouds for clouds in prepared if probe is not None or clouds.own_graphs is not None]
    pairs = [(first, f"{first.name}, batch {size}", size) for size in batches]
    pairs += [(clouds, clouds.name, len(clouds.inputs["points"])) for clouds in others]
    return [_case(run, *pair, probe) for pair in track(pairs, "Comparing")]


def _case(run: Run, clouds: Clouds, name: str, batch: int, probe: NeighbourGraphs | None) -> Case:
    rows = np.arange(batch) % len(clouds.inputs["points"])  # clouds repeat in a larger batch
    inputs = {key: array[rows] for key, array in clouds.inputs.items()}
    output = run(inputs).astype(np.float64)
    own = None if clouds.own_graphs is None else clouds.own_graphs[rows]
    if probe is not None:
        expected, overlap = probe.expected(inputs)
    else:
        assert own is not None
        expected, overlap = own, {}
    error, cosine = _relative_l2(output, expected), _cosine(output, expected)
    return Case(
        name,
        batch,
        inputs["points"].shape[1],
        float(error.max()),
        float(np.quantile(error, 0.99, method="higher")),
        float(np.quantile(error, 0.5, method="lower")),
        None if own is None else float(_relative_l2(output, own).max()),
        float(cosine.min()),
        float(np.quantile(cosine, 0.01, method="lower")),
        overlap,
    )


def _relative_l2(output: Doubles, expected: Doubles) -> Doubles:
    """`|a − b| / |b|` of every cloud; infinite where it is not a number."""
    difference, size = (np.linalg.norm(_rows(array), axis=1) for array in (output - expected, expected))
    error = difference / np.maximum(size, TINY)
    return np.where(np.isfinite(error), error, np.inf)


def _cosine(output: Doubles, expected: Doubles) -> Doubles:
    """Of every cloud; 1 where both are zero, −1 where it is not a number."""
    a, b = _rows(output), _rows(expected)
    finite = np.isfinite(a).all(axis=1)
    a = np.where(np.isfinite(a), a, 0.0)
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.where((a == b).all(axis=1), 1.0, (a * b).sum(axis=1) / np.maximum(sizes, TINY))
    return np.where(finite, cosine, -1.0)


def _rows(array: Doubles) -> Doubles:
    return array.reshape(len(array), -1)


def batch_sizes(profile: Profile) -> list[int]:
    """Batches for the CPU: 1, 2, odd, usual and largest, as far as memory allows."""
    points = profile.tested_points(1)[1]
    limit = max(2, min(LARGEST_BATCH, LARGEST_SCORES // points**2))
    return sorted({min(size, limit) for size in (1, 2, ODD, *profile.batch)})


def report(precision: str, candidate: str, cases: list[Case], limits: dict[str, float]) -> dict[str, Any]:
    """The gate's result as it goes into the manifest."""
    overlaps = [share for case in cases if _counts(precision, case) for share in case.overlap.values()]
    own = [case.relative_l2_own_graphs for case in cases if case.relative_l2_own_graphs is not None]
    return {
        "tier": precision,
        "candidate": candidate,
        "reference": "PyTorch in float64",
        "limits": limits,
        "relative_l2_max": max(case.relative_l2_max for case in cases if _counts(precision, case)),
        "relative_l2_own_graphs_max": max(own),
        "cosine_min": min(case.cosine_min for case in cases if _counts(precision, case)),
        "overlap_min": min(overlaps, default=None),
        "cases": [asdict(case) for case in cases],
    }


def _counts(precision: str, case: Case) -> bool:
    return TIERS[precision].unnormalised or case.name not in UNNORMALISED


def require_parity(precision: str, candidate: str, cases: list[Case]) -> dict[str, float]:
    """Raise CheckFailed unless graphs and outputs are within a precision's limits in every case; gives the limits.

    Where clouds that were not normalised do not count, their outputs still have to be finite.
    """
    tier = TIERS[precision]
    for case in cases:
        if not np.isfinite(case.relative_l2_max):
            _require(candidate, case, "relative_l2_max", tier.relative_l2)
        for edge, share in case.overlap.items() if _counts(precision, case) else ():
            if not share >= tier.overlap:
                raise CheckFailed(
                    f"{candidate} does not find the neighbours that the trained network finds: of {edge}'s "
                    f"{share:.4f} are right on {case.name} (limit {tier.overlap}); nothing was written"
                )
    counted = [case for case in cases if _counts(precision, case)]
    _require(candidate, max(counted, key=lambda case: case.relative_l2_max), "relative_l2_max", tier.relative_l2)
    return {"relative_l2": tier.relative_l2, "overlap": tier.overlap}


def require_engine_parity(precision: str, candidate: str, cases: list[Case]) -> dict[str, float]:
    """The same for an engine, whose graphs cannot be seen: most clouds are equal, and none is far off.

    A float32 computation that takes the other of two all but equal neighbours moves a trained embedding by up to 1e-3.
    In lower precisions every cloud has such neighbours.
    """
    tier = TIERS[precision]
    median = tier.relative_l2 if precision == "fp32" else tier.other_graphs
    ordered = sorted(cases, key=lambda case: case.relative_l2_median)
    _require(candidate, ordered[len(ordered) // 2], "relative_l2_median", median)
    _require(candidate, max(cases, key=lambda case: case.relative_l2_max), "relative_l2_max", tier.other_graphs)
    return {"relative_l2_median": median, "relative_l2": tier.other_graphs}


def _require(candidate: str, case: Case, measure: str, limit: float) -> None:
    error = getattr(case, measure)
    if not error <= limit:
        raise CheckFailed(
            f"{candidate} differs from the trained network: relative L2 {error:.2e} on {case.name} "
            f"(limit {limit:.0e}; {error * 1.01:.1e} would have passed); nothing was written"
        )
