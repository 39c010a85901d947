"""The parity gate: an exported model is compared with the network that it was made from, and fails closed."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.console import track
from crosspoint.errors import CheckFailed
from crosspoint.export.clouds import hostile, ordinary
from crosspoint.export.profile import Profile
from crosspoint.runtime.encoder import Encoder

if TYPE_CHECKING:  # a device compares without torch and onnx
    from crosspoint.export.probe import Probe
    from crosspoint.export.reference import Reference

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Run = Callable[[dict[str, Floats]], Floats]

RELATIVE_L2, OVERLAP = 1e-4, 0.99
OTHER_GRAPHS = 1e-2  # where two all but equal neighbours may have been taken for each other
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


def prepare(reference: "Reference", config: Mapping[str, Any], profile: Profile) -> list[Clouds]:
    """The clouds that a model is checked with; the ordinary ones, which are run at every batch size, come first.

    Args:
        reference: The trained network.
        config: Of the network.
        profile: Numbers of points.
    """
    smallest, usual, largest = profile.tested_points(int(config.get("k", 1)))
    sets = [("ordinary clouds", ordinary(CLOUDS, usual), False)]
    sets += [(f"{n} points", ordinary(2, n, seed=n), False) for n in sorted({smallest, largest} - {usual})]
    sets += [(name, cloud[None], True) for name, cloud in hostile(usual).items()]
    prepared = []
    for name, points, ties in track(sets, "Computing what the network gives"):
        inputs = _inputs(points, config.get("categories"))
        prepared.append(Clouds(name, inputs, None if ties else _own_graphs(reference, inputs)))
    return prepared


def _inputs(points: Floats, categories: int | None) -> dict[str, Floats]:
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
        return encoder.segment(**inputs) if "category" in inputs else encoder.embed(**inputs)

    return run


def compare(run: Run, prepared: list[Clouds], batches: list[int], probe: "Probe | None") -> list[Case]:
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


def _case(run: Run, clouds: Clouds, name: str, batch: int, probe: "Probe | None") -> Case:
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


def report(candidate: str, cases: list[Case], limits: dict[str, float]) -> dict[str, Any]:
    """The gate's result as it goes into the manifest."""
    overlaps = [share for case in cases for share in case.overlap.values()]
    own = [case.relative_l2_own_graphs for case in cases if case.relative_l2_own_graphs is not None]
    return {
        "tier": "fp32",
        "candidate": candidate,
        "reference": "PyTorch in float64",
        "limits": limits,
        "relative_l2_max": max(case.relative_l2_max for case in cases),
        "relative_l2_own_graphs_max": max(own),
        "cosine_min": min(case.cosine_min for case in cases),
        "overlap_min": min(overlaps, default=None),
        "cases": [asdict(case) for case in cases],
    }


def require_parity(candidate: str, cases: list[Case]) -> dict[str, float]:
    """Raise CheckFailed unless graphs and outputs are within the limits in every case; gives the limits."""
    for case in cases:
        for edge, share in case.overlap.items():
            if not share >= OVERLAP:
                raise CheckFailed(
                    f"{candidate} does not find the neighbours that the trained network finds: of {edge}'s "
                    f"{share:.4f} are right on {case.name} (limit {OVERLAP}); nothing was written"
                )
    _require(candidate, max(cases, key=lambda case: case.relative_l2_max), "relative_l2_max", RELATIVE_L2)
    return {"relative_l2": RELATIVE_L2, "overlap": OVERLAP}


def require_engine_parity(candidate: str, cases: list[Case]) -> dict[str, float]:
    """The same for an engine, whose graphs cannot be seen: most clouds are equal, and none is far off.

    A float32 computation that takes the other of two all but equal neighbours moves a trained embedding by up to 1e-3.
    """
    ordered = sorted(cases, key=lambda case: case.relative_l2_median)
    _require(candidate, ordered[len(ordered) // 2], "relative_l2_median", RELATIVE_L2)
    _require(candidate, max(cases, key=lambda case: case.relative_l2_max), "relative_l2_max", OTHER_GRAPHS)
    return {"relative_l2_median": RELATIVE_L2, "relative_l2": OTHER_GRAPHS}


def _require(candidate: str, case: Case, measure: str, limit: float) -> None:
    error = getattr(case, measure)
    if not error <= limit:
        raise CheckFailed(
            f"{candidate} differs from the trained network: relative L2 {error:.2e} on {case.name} "
            f"(limit {limit:.0e}; {error * 1.01:.1e} would have passed); nothing was written"
        )
