"""INT8 with Q/DQ pairs around matrix products with weights, and nowhere else.

A product `x W` becomes `(s_x q_x) (q_W diag(s_W))` with signed integers, symmetric as TensorRT requires: one scale for
all of x, from calibration, and one scale per column of W. Distances use x itself, without the rounding.

Weights use 7 of their 8 bits. CPUs without VNNI instructions add pairs of 8-bit products in 16 bits, and full weights
overflow silently: one layer was off by 19 % on such a CPU. With |q_W| ≤ 63 all machines compute the same.
"""

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from crosspoint.export.onnx.graph_view import GraphView

LARGEST, LARGEST_WEIGHT = 127, 63
NARROW = 16  # products with fewer input channels (coordinates, categories) stay: they are cheap and lose the most


def quantisable(model: onnx.ModelProto) -> list[str]:
    """Names of the products that can be int8, in order."""
    view = GraphView(model)
    return [
        node.name for node in view.products() if node.op_type == "MatMul" and view.shapes[node.input[1]][0] >= NARROW
    ]


def quantise(model: onnx.ModelProto, ranges: Mapping[str, float], *, layers: Collection[str]) -> onnx.ModelProto:
    """The network with some of its products in int8; the others stay float32.

    Args:
        model: A float32 model; it is not changed.
        ranges: Largest magnitude of every input of these products, from `calibrate`.
        layers: Names of the products.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:]
    constants = {constant.name: constant for constant in model.graph.initializer}
    nodes: list[NodeProto] = []
    done: set[str] = set()
    for node in model.graph.node:
        copy = NodeProto()
        copy.CopyFrom(node)
        if node.name in layers:
            x, weight = node.input
            if x not in done:
                done.add(x)
                nodes += _pair(constants, x, ranges[x])
            nodes.append(_weight(constants, weight))
            copy.input[:] = [f"{x}/dequantized", f"{weight}/dequantized"]
        nodes.append(copy)
    used = {name for node in nodes for name in node.input}
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(constant for name, constant in constants.items() if name in used)
    return result


def _pair(constants: dict[str, TensorProto], x: str, largest: float) -> list[NodeProto]:
    """QuantizeLinear and DequantizeLinear for a value."""
    scale, zero = f"{x}/scale", "int8/zero"
    _add(constants, scale, np.array(largest / LARGEST if largest > 0 else 1, np.float32))
    _add(constants, zero, np.array(0, np.int8))
    return [
        helper.make_node("QuantizeLinear", [x, scale, zero], [f"{x}/int8"], f"{x}/quantize"),
        helper.make_node("DequantizeLinear", [f"{x}/int8", scale, zero], [f"{x}/dequantized"], f"{x}/dequantize"),
    ]


def _weight(constants: dict[str, TensorProto], name: str) -> NodeProto:
    """A weight `(C, D)` as integers with one scale per column, and the node that dequantizes it."""
    weight = numpy_helper.to_array(constants[name])
    largest = np.abs(weight).max(axis=0)
    scale = np.where(largest > 0, largest / np.float32(LARGEST_WEIGHT), np.float32(1)).astype(np.float32)
    integers = np.clip(np.rint(weight / scale), -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int8)
    _add(constants, f"{name}/int8", integers)
    _add(constants, f"{name}/scale", scale)
    _add(constants, f"{name}/zero", np.zeros(len(scale), np.int8))
    inputs = [f"{name}/int8", f"{name}/scale", f"{name}/zero"]
    return helper.make_node("DequantizeLinear", inputs, [f"{name}/dequantized"], f"{name}/dequantize", axis=1)


def _add(
    constants: dict[str, TensorProto], name: str, value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> None:
    constants.setdefault(name, numpy_helper.from_array(value, name))
