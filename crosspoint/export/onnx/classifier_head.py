"""A classifier's head behind an encoder's output, in one graph."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.results import to_json
from crosspoint.runtime.classifier import SCORES, Classifier

PRODUCT = "head/product"


def head_products(classifier: Classifier) -> list[str]:
    """Names of the head's matrix products, which stay float32 in every precision."""
    return [*(f"head/hidden{i}/product" for i in range(1, len(classifier.head.hidden) + 1)), PRODUCT]


def append_classifier(model: onnx.ModelProto, classifier: Classifier) -> onnx.ModelProto:
    """A copy of an encoder's graph with a second output, `scores (batch, classes)`.

        scores = softmax(h((embedding − mean) / scale) W / T + b / T)

    h are the hidden layers `ReLU(x W + b)`, which only imported heads have.
    The head stays float32 whatever the precision of the encoder, whose output is float32. W and b are divided by the
    temperature T in float64. The metadata say what a classifier's file says of itself.
    """
    head, info = classifier.head, classifier.info
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {
        "mean": head.mean,
        "scale": head.scale,
        "weight": head.weights / info.temperature,
        "bias": head.biases / info.temperature,
    }
    nodes: list[tuple[str, tuple[str, ...], str]] = [
        ("Sub", ("embedding", "head/mean"), "head/centred"),
        ("Div", ("head/centred", "head/scale"), "head/standard"),
    ]
    x = "head/standard"
    for i, layer in enumerate(head.hidden, 1):
        name = f"hidden{i}"
        constants |= {f"{name}/weight": layer.weights, f"{name}/bias": layer.biases}
        nodes += [
            ("MatMul", (x, f"head/{name}/weight"), f"head/{name}/product"),
            ("Add", (f"head/{name}/product", f"head/{name}/bias"), f"head/{name}/sum"),
            ("Relu", (f"head/{name}/sum",), f"head/{name}"),
        ]
        x = f"head/{name}"
    nodes += [("MatMul", (x, "head/weight"), PRODUCT), ("Add", (PRODUCT, "head/bias"), "head/decisions")]
    for name, value in constants.items():
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), f"head/{name}"))
    for operator, inputs, output in nodes:
        graph.node.append(helper.make_node(operator, inputs, [output], output))
    graph.node.append(helper.make_node("Softmax", ["head/decisions"], [SCORES], SCORES, axis=1))
    batch = graph.output[0].type.tensor_type.shape.dim[0].dim_param
    graph.output.append(helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, [batch, len(info.classes)]))
    helper.set_model_props(result, {"crosspoint": json.dumps({"classifier": to_json(info)}, sort_keys=True)})
    return result
