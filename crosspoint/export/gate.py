"""The parity gate: an exported model is compared with the network that it was made from, and fails closed."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from crosspoint.console import track
from crosspoint.errors import CheckFailed
from crosspoint.export.clouds import hostile, ordinary
from crosspoint.export.graph import TOPK
from crosspoint.export.profile import Profile
from crosspoint.export.reference import Reference
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.onnx import OnnxEncoder

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Run = Callable[[dict[str, Floats]], Floats]

RELATIVE_L2 = 1e-4  # float32 against float64 alone moves an embedding by up to 3e-5
OVERLAP = 0.99
TINY = np.finfo(np.float64).tiny
CLOUDS = 5  # ordinary ones; odd, so that they fall on other places of a larger batch each time they repeat
ODD, LARGEST_BATCH, LARGEST_SCORES = 5, 32, 1 << 26  # limits on what the CPU is asked for: clouds, and B·N²


@dataclass(frozen=True)
class Clouds:
    """Clouds with what the network makes of them.

    Attributes:
        name: For the report.
        inputs: By name, `(P, …)`.
        same_graphs: The network's float64 output `(P, …)` on the ONNX model's neighbour graphs.
        own_graphs: The same on its own graphs; None where neighbours lie exactly equally far, and graphs are a choice.
        overlap: Per EdgeConv, the worst cloud's share of right neighbours in the ONNX model.
    """

    name: str
    inputs: dict[str, Floats]
    same_graphs: Doubles
    own_graphs: Doubles | None
    overlap: dict[str, float]


@dataclass(frozen=True)
class Case:
    """One comparison; errors are over its clouds, each flattened.

    `relative_l2_own_graphs` also holds what follows from float32 and float64 choosing differently among neighbours that
    are all but equally far; it is None where that is not defined.
    """

    name: str
    batch: int
    points: int
    relative_l2_max: float
    relative_l2_p99: float
    relative_l2_own_graphs: float | None
    cosine_min: float
    cosine_p1: float
    overlap: dict[str, float]


def prepare(model: nn.Module, onnx_file: Path, profile: Profile) -> list[Clouds]:
    """The clouds that a model is checked with, and the network's output on them.

    Args:
        model: The network, in evaluation mode.
        onnx_file: Its ONNX model, which is asked for its neighbour graphs.
        profile: Numbers of points.
    """
    config: dict[str, Any] = dict(model.config)  # type: ignore[arg-type]
    smallest, usual, largest = profile.tested_points(int(config.get("k", 1)))
    sets = [("ordinary clouds", ordinary(CLOUDS, usual), False)]
    sets += [(f"{n} points", ordinary(2, n, seed=n), False) for n in sorted({smallest, largest} - {usual})]
    sets += [(name, cloud[None], True) for name, cloud in hostile(usual).items()]
    reference = Reference(model)
    with Probe(onnx_file) as probe:
        return [
            _evaluate(reference, probe, name, _inputs(points, config.get("categories")), ties)
            for name, points, ties in track(sets, "Computing what the network gives")
        ]


def _inputs(points: Floats, categories: int | None) -> dict[str, Floats]:
    inputs = {"points": points}
    if categories is not None:
        inputs["category"] = np.eye(categories, dtype=np.float32)[np.arange(len(points)) % categories]
    return inputs


def _evaluate(reference: Reference, probe: "Probe", name: str, inputs: dict[str, Floats], ties: bool) -> Clouds:
    graphs = probe.neighbours(inputs)
    same, own, overlaps = [], [], []
    for i in range(len(inputs["points"])):
        one = {key: array[i : i + 1] for key, array in inputs.items()}
        output, shares = reference.on_graphs(one, [neighbours[i : i + 1] for neighbours in graphs.values()])
        same.append(output)
        overlaps.append(shares)
        own.append(output if ties or not graphs else reference.on_own_graphs(one))
    worst = dict(zip(graphs, np.min(overlaps, axis=0).tolist(), strict=True))
    return Clouds(name, inputs, np.concatenate(same), None if ties else np.concatenate(own), worst)


class Probe:
    """An ONNX model that also gives its neighbour graphs; a temporary file beside it while the block lasts."""

    def __init__(self, onnx_file: Path) -> None:
        model = onnx.load(onnx_file)
        self._edges = [node.output[1] for node in model.graph.node if node.op_type == "TopK"]
        for name in self._edges:
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None)
            model.graph.output.append(value)
        self._path = onnx_file.with_suffix(".probe.onnx")
        onnx.save(model, self._path)

    def __enter__(self) -> "Probe":
        self._encoder = OnnxEncoder(self._path)
        return self

    def __exit__(self, *error: object) -> None:
        self._encoder.close()
        self._path.unlink()

    def neighbours(self, inputs: dict[str, Floats]) -> dict[str, NDArray[np.int64]]:
        """Of every EdgeConv by name, `(B, N, k)`."""
        outputs: Mapping[str, NDArray[Any]] = self._encoder.run(inputs)
        return {name.removesuffix(f"/{TOPK}"): outputs[name].astype(np.int64) for name in self._edges}


def through(encoder: Encoder) -> Run:
    """A candidate as users run it, with the checks and the splitting of batches that come with it."""

    def run(inputs: dict[str, Floats]) -> Floats:
        return encoder.segment(**inputs) if "category" in inputs else encoder.embed(**inputs)

    return run


def compare(run: Run, prepared: list[Clouds], batches: list[int], same_graphs: bool = True) -> list[Case]:
    """Errors of a candidate on ordinary clouds at every batch size, and on all others as they are.

    Args:
        run: The candidate, inputs by name to output.
        prepared: From `prepare`.
        batches: Batch sizes.
        same_graphs: Whether the candidate builds the graphs that `prepare` saw; an engine need not, and is compared
            where neighbours are not a choice.
    """
    cases = []
    for clouds in prepared:
        if not same_graphs and clouds.own_graphs is None:
            continue
        for size in batches if clouds is prepared[0] else [len(clouds.same_graphs)]:
            rows = np.arange(size) % len(clouds.same_graphs)  # clouds repeat in a larger batch
            output = run({name: array[rows] for name, array in clouds.inputs.items()}).astype(np.float64)
            name = f"{clouds.name}, batch {size}" if clouds is prepared[0] else clouds.name
            cases.append(_case(name, clouds, rows, output, same_graphs))
    return cases


def _case(name: str, clouds: Clouds, rows: NDArray[np.intp], output: Doubles, same_graphs: bool) -> Case:
    own = None if clouds.own_graphs is None else _relative_l2(output, clouds.own_graphs[rows])
    if same_graphs or own is None:
        expected = clouds.same_graphs[rows]
        error = _relative_l2(output, expected)
    else:
        assert clouds.own_graphs is not None
        expected, error = clouds.own_graphs[rows], own
    cosine = _cosine(output, expected)
    return Case(
        name,
        len(rows),
        clouds.inputs["points"].shape[1],
        float(error.max()),
        float(np.quantile(error, 0.99, method="higher")),
        None if own is None else float(own.max()),
        float(cosine.min()),
        float(np.quantile(cosine, 0.01, method="lower")),
        clouds.overlap if same_graphs else {},
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


def report(candidate: str, cases: list[Case]) -> dict[str, Any]:
    """The gate's result as it goes into the manifest."""
    overlaps = [share for case in cases for share in case.overlap.values()]
    own = [case.relative_l2_own_graphs for case in cases if case.relative_l2_own_graphs is not None]
    return {
        "tier": "fp32",
        "candidate": candidate,
        "reference": "PyTorch in float64",
        "limits": {"relative_l2": RELATIVE_L2, "overlap": OVERLAP},
        "relative_l2_max": max(case.relative_l2_max for case in cases),
        "relative_l2_own_graphs_max": max(own),
        "cosine_min": min(case.cosine_min for case in cases),
        "overlap_min": min(overlaps, default=None),
        "cases": [asdict(case) for case in cases],
    }


def require_parity(candidate: str, cases: list[Case]) -> None:
    """Raise CheckFailed unless every case is within the limits; the message says which limit would have held."""
    for case in cases:
        for edge, share in case.overlap.items():
            if not share >= OVERLAP:
                raise CheckFailed(
                    f"{candidate} does not find the neighbours that the trained network finds: of {edge}'s "
                    f"{share:.4f} are right on {case.name} (limit {OVERLAP}); nothing was written"
                )
    worst = max(cases, key=lambda case: case.relative_l2_max)
    if not worst.relative_l2_max <= RELATIVE_L2:
        raise CheckFailed(
            f"{candidate} differs from the trained network: relative L2 {worst.relative_l2_max:.2e} on {worst.name} "
            f"(limit {RELATIVE_L2:.0e}; {worst.relative_l2_max * 1.01:.1e} would have passed); nothing was written"
        )
