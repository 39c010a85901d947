"""A classifier's head and its measure of novelty behind an encoder's output, in one graph."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.results import to_json
from crosspoint.runtime.classifier import NOVELTY, SCORES, Classifier

HEAD_PRODUCT, NOVELTY_PRODUCT = "head/product", "novelty/product"
Step = tuple[str, tuple[str, ...], str]  # operator, inputs, output


def head_products(classifier: Classifier) -> list[str]:
    """Names of the matrix products after the encoder, which stay float32 in every precision."""
    hidden = (f"head/hidden{i}/product" for i in range(1, len(classifier.head.hidden) + 1))
    return [*hidden, HEAD_PRODUCT, NOVELTY_PRODUCT]


def append_classifier(model: onnx.ModelProto, classifier: Classifier) -> onnx.ModelProto:
    """A copy of an encoder's graph with two more outputs, `scores (batch, classes)` and `novelty (batch, 1)`.

        x       = (embedding − mean) / scale
        scores  = softmax(h(x) W / T + b / T)
        novelty = min_j ‖x − r_j‖ / σ_d + (1 − max scores) / σ_q − μ_d / σ_d − μ_q / σ_q

    h are the hidden layers `ReLU(x W + b)`, which only imported heads have. All stay float32 whatever the precision of
    the encoder, whose output is float32. What can be divided or added beforehand is, in float64. The metadata say what
    a classifier's file says of itself.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    _add(graph, _head_values(classifier), _head_steps(classifier))
    graph.node.append(helper.make_node("Softmax", ["head/decisions"], [SCORES], SCORES, axis=1))
    _add(graph, _novelty_values(classifier), NOVELTY_STEPS)
    batch = graph.output[0].type.tensor_type.shape.dim[0].dim_param
    for name, width in ((SCORES, len(classifier.info.classes)), (NOVELTY, 1)):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width]))
    about = {"classifier": to_json(classifier.info)}
    helper.set_model_props(result, {"crosspoint": json.dumps(about, sort_keys=True)})
    return result


def _head_steps(classifier: Classifier) -> list[Step]:
    x = "head/standard"
    steps: list[Step] = [
        ("Sub", ("embedding", "head/mean"), "head/centred"),
        ("Div", ("head/centred", "head/scale"), x),
    ]
    for i in range(1, len(classifier.head.hidden) + 1):
        layer = f"head/hidden{i}"
        steps += [
            ("MatMul", (x, f"{layer}/weight"), f"{layer}/product"),
            ("Add", (f"{layer}/product", f"{layer}/bias"), f"{layer}/sum"),
            ("Relu", (f"{layer}/sum",), layer),
        ]
        x = layer
    return [
        *steps,
        ("MatMul", (x, "head/weight"), HEAD_PRODUCT),
        ("Add", (HEAD_PRODUCT, "head/bias"), "head/decisions"),
    ]


def _head_values(classifier: Classifier) -> dict[str, NDArray[np.float64]]:
    head, info = classifier.head, classifier.info
    values = {
        "head/mean": head.mean,
        "head/scale": head.scale,
        "head/weight": head.weights / info.temperature,
        "head/bias": head.biases / info.temperature,
    }
    for i, layer in enumerate(head.hidden, 1):
        values |= {f"head/hidden{i}/weight": layer.weights, f"head/hidden{i}/bias": layer.biases}
    return values


# min_j ‖x − r_j‖² = ‖x‖² + min_j (x · (−2 r_j) + ‖r_j‖²)
NOVELTY_STEPS: Sequence[Step] = (
    ("MatMul", ("head/standard", "novelty/weight"), NOVELTY_PRODUCT),  # (B, m)
    ("Add", (NOVELTY_PRODUCT, "novelty/squares"), "novelty/relative"),
    ("ReduceMin", ("novelty/relative",), "novelty/least"),  # (B, 1)
    ("ReduceSumSquare", ("head/standard",), "novelty/length"),
    ("Add", ("novelty/length", "novelty/least"), "novelty/squared"),
    ("Max", ("novelty/squared", "novelty/zero"), "novelty/positive"),
    ("Sqrt", ("novelty/positive",), "novelty/distance"),
    ("Mul", ("novelty/distance", "novelty/distance_scale"), "novelty/far"),
    ("ReduceMax", (SCORES,), "novelty/probability"),
    ("Mul", ("novelty/probability", "novelty/probability_scale"), "novelty/sure"),
    ("Add", ("novelty/far", "novelty/sure"), "novelty/sum"),
    ("Add", ("novelty/sum", "novelty/shift"), NOVELTY),
)


def _novelty_values(classifier: Classifier) -> dict[str, NDArray[np.float64]]:
    novelty = classifier.novelty
    references = novelty.references.astype(np.float64)  # (m, D)
    distance, doubt = novelty.distance, novelty.doubt
    return {
        "novelty/weight": -2 * references.T,
        "novelty/squares": np.square(references).sum(axis=1),
        "novelty/zero": np.zeros(1),
        "novelty/distance_scale": np.array([1 / distance.deviation]),
        "novelty/probability_scale": np.array([-1 / doubt.deviation]),
        "novelty/shift": np.array([(1 - doubt.mean) / doubt.deviation - distance.mean / distance.deviation]),
    }


def _add(graph: onnx.GraphProto, values: Mapping[str, NDArray[np.float64]], steps: Sequence[Step]) -> None:
    """Append float32 constants, and nodes that are named after their outputs; reductions are over the last axis."""
    for name, value in values.items():
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    for operator, inputs, output in steps:
        node = helper.make_node(operator, inputs, [output], output)
        if operator.startswith("Reduce"):
            node.attribute.extend([helper.make_attribute("axes", [1]), helper.make_attribute("keepdims", 1)])
        graph.node.append(node)
