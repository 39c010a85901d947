"""What int8 gains: the share of the multiply-adds that it does, and its speed beside float32's."""

import time
from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from crosspoint.export.manifest import Gain
from crosspoint.export.onnx.candidate_check import CPU, opened
from crosspoint.export.onnx.graph_view import GraphView
from crosspoint.export.onnx.precision import product_precisions
from crosspoint.parity.gate import run

CLOUDS, ROUNDS = 2, 15


def measure_gain(
    exact: onnx.ModelProto, lowered: onnx.ModelProto, *, inputs: Mapping[str, NDArray[np.float32]]
) -> Gain:
    """Compare a graph in int8 with its float32 graph, in turn on this CPU.

    Args:
        exact: The float32 graph.
        lowered: The graph with layers in int8.
        inputs: Inputs of at least `CLOUDS` clouds.
    """
    work = multiply_adds(exact, inputs["points"].shape[1])
    kinds = product_precisions(lowered)
    few = {name: array[:CLOUDS] for name, array in inputs.items()}
    with opened(exact) as (_, first), opened(lowered) as (_, second):
        times = np.empty((ROUNDS + 1, 2))
        for row in times:
            for column, encoder in enumerate((first, second)):
                started = time.perf_counter()
                run(encoder, few)
                row[column] = time.perf_counter() - started
    times = times[1:]  # the first round is the warm-up
    fp32, int8 = (1e3 * float(value) / len(few["points"]) for value in np.median(times, axis=0))
    return Gain(
        int8_share=sum(work[name] for name, kind in kinds.items() if kind == "int8") / sum(work.values()),
        speed=float(np.median(times[:, 0] / times[:, 1])),
        fp32_ms=fp32,
        int8_ms=int8,
        points=few["points"].shape[1],
        rounds=ROUNDS,
        where=CPU,
    )


def multiply_adds(model: onnx.ModelProto, points: int) -> dict[str, int]:
    """Multiply-adds of every product with weights, for one cloud: rows × input channels × output channels.

    Args:
        model: A graph.
        points: Points of the cloud.
    """
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for value in sized.graph.input:
        sizes = (1, points) if value.name == "points" else (1,)
        for dimension, size in zip(value.type.tensor_type.shape.dim, sizes, strict=False):
            dimension.dim_value = size
    del sized.graph.value_info[:]
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(sized, data_prop=True)
    view = GraphView(inferred, strict=False)
    work = {}
    for node in view.products():
        rows = [size for size in view.shapes[node.output[0]][:-1] if isinstance(size, int)]
        work[node.name] = int(np.prod(rows)) * int(np.prod(view.shapes[node.input[1]]))
    return work
