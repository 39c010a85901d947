"""Chooses the layers that get the lower precision: as many as the gate and the accuracy allow."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.export.manifest import Calibration, Gain
from crosspoint.export.onnx.calibrate import CalibrationSet, calibrate
from crosspoint.export.onnx.candidate_check import CandidateCheck, opened
from crosspoint.export.onnx.graph_view import GraphView
from crosspoint.export.onnx.int8 import quantisable, quantise
from crosspoint.export.onnx.precision import lower, product_precisions
from crosspoint.parity.clouds import inputs_of
from crosspoint.parity.gate import run
from crosspoint.parity.limits import holds, loses, scores_hold
from crosspoint.parity.measures import relative_l2

JUDGED = 16  # calibration clouds on which layers are ranked


@dataclass(frozen=True)
class Chosen:
    """A graph in a lower precision.

    Attributes:
        model: The graph.
        kept: Layers that stay in float32.
        calibration: Details for int8.
        sensitivity: For int8: relative L2 error of the output when this layer alone is int8.
        gain: For int8: its share of the work, and its speed.
    """

    model: onnx.ModelProto
    kept: list[str]
    calibration: Calibration | None = None
    sensitivity: dict[str, float] | None = None
    gain: Gain | None = None


def choose_half(model: onnx.ModelProto, precision: str, *, check: CandidateCheck) -> Chosen:
    """Lower to fp16 or bf16 as many layers as possible while the network finds the same neighbours.

    Layers before the first, second, … neighbour search stay in float32, until the limit on right neighbours holds.

    Raises:
        CheckFailed: The limit does not hold whatever is kept, or no layer would be lowered.
    """
    choices = sum(node.op_type == "TopK" for node in model.graph.node)
    tried: list[list[str]] = []
    for exact in range(choices + 1):
        lowered = lower(model, precision, exact_choices=exact)
        kept = [name for name, kind in product_precisions(lowered).items() if kind == "fp32"]
        if kept in tried:
            continue
        tried.append(kept)
        if check.finds_neighbours(lowered, precision):
            return Chosen(lowered, kept)
    return Chosen(lower(model, precision), [])  # fails in the gate, which says why


def choose_int8(
    model: onnx.ModelProto, check: CandidateCheck, *, calibration: CalibrationSet, keep: Collection[str] = ()
) -> Chosen:
    """Lower to int8 as many layers as the gate and, with labelled data, the accuracy allow; sensitive layers stay.

    Args:
        model: A float32 graph.
        check: The gate, and the accuracy that layers are chosen by.
        calibration: Clouds that give the ranges.
        keep: Layers that stay float32 in any case: names, or their first parts, e.g. `edge4`.

    Raises:
        CheckFailed: The accuracy does not hold even with a single layer in int8.
        InputError: The network has no layer for int8, or no layer of a name in `keep`.
    """
    named = kept_layers(model, keep)
    layers = [name for name in quantisable(model) if name not in named]
    if not layers and named:
        raise InputError(f"--keep-fp32 {','.join(keep)} leaves no layer for int8; export --precision fp32")
    if not layers:
        raise InputError("the network has no layer that can be int8; export fp16 or fp32")
    inputs = inputs_of(calibration.points, check.categories)
    reads = {node.name: node.input[0] for node in GraphView(model).products()}
    ranges = calibrate(model, [reads[name] for name in layers], inputs=inputs)
    few = {name: array[:JUDGED] for name, array in inputs.items()}
    errors = _sensitivity(model, ranges, layers, few)
    order = sorted(layers, key=lambda name: -errors[name])
    fewest = _fewest(model, ranges, order, check)
    chosen = quantise(model, ranges, layers=order[fewest:])
    kept = [name for name in product_precisions(model) if name not in order[fewest:]]
    return Chosen(chosen, kept, calibration.describe(), errors)


def kept_layers(model: onnx.ModelProto, keep: Collection[str]) -> list[str]:
    """The layers that names stand for: `edge4/near`, or `edge4` for all layers below it.

    Raises:
        InputError: The network has no such layer.
    """
    layers = list(product_precisions(model))
    for name in keep:
        if not any(layer == name or layer.startswith(f"{name}/") for layer in layers):
            raise InputError(f"--keep-fp32 {name}: the network has no such layer; give one of {', '.join(layers)}")
    return [layer for layer in layers if any(layer == name or layer.startswith(f"{name}/") for name in keep)]


def _sensitivity(
    model: onnx.ModelProto, ranges: dict[str, float], layers: list[str], inputs: dict[str, NDArray[np.float32]]
) -> dict[str, float]:
    """Median relative L2 error of the output if only one layer is int8."""
    with opened(model) as (_, encoder):
        exact = run(encoder, inputs)
    errors = {}
    for name in track(layers, "Ranking layers"):
        with opened(quantise(model, ranges, layers=[name])) as (_, encoder):
            errors[name] = float(np.median(relative_l2(exact, run(encoder, inputs))))
    return errors


def _fewest(model: onnx.ModelProto, ranges: dict[str, float], order: list[str], check: CandidateCheck) -> int:
    """Smallest number of most sensitive layers to leave out, so that gate and accuracy hold; by bisection."""

    def passes_gate(count: int) -> bool:
        return check.finds_neighbours(quantise(model, ranges, layers=order[count:]), "int8")

    def keeps(count: int) -> bool:
        if not passes_gate(count):
            return False
        task = check.tune(quantise(model, ranges, layers=order[count:]), "int8")
        if task is None:
            return True
        # without clouds of its own, the search is judged by those that the export has to hold on
        lost = loses(task.task, check.max_drop) if check.tuning is not None else not holds(task.task, check.max_drop)
        return scores_hold(task.task) and not lost

    if keeps(0):
        return 0
    low, high = 0, len(order) - 1  # low fails; high is assumed to hold
    if not keeps(high):
        if check.accuracy is None or not passes_gate(high):
            return 0  # fails in the gate, which says why
        raise CheckFailed(
            f"int8 loses more than {check.max_drop:g} points of {check.accuracy.measure} even in {order[-1]} alone; "
            "give a larger --max-drop or export --precision fp16; nothing was written"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return high
