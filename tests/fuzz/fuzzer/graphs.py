"""Damage to ONNX files that keeps them protobuf: ranks, dimensions, attributes, operators, constants, wiring."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fuzzer.mutate import INTEGERS, VALUES, json_text

OURS = ("Nearest", "GatherMax", "Max", "Mean")
OPERATORS = (
    *("Add", "Sub", "Mul", "MatMul", "TopK", "GatherND", "Gather", "ReduceMax", "ReduceMean", "Unsqueeze", "Relu"),
    *("Concat", "Identity", "Reshape", "Expand", "Transpose", "Softmax", "Cast", "Squeeze", "Nope"),
)
DOMAINS = ("", "crosspoint", "com.microsoft", "ai.onnx.ml", "nowhere")
PLACES = ("/etc/passwd", "/dev/zero", "../../etc/passwd", "weights.bin", "encoder.onnx", "")


def graph(content: bytes, rng: Random) -> bytes:
    """A model with one to three changes."""
    model = onnx.ModelProto()
    model.ParseFromString(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            rng.choice(CHANGES)(model, rng)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    changed: bytes = model.SerializeToString()
    return changed


def _node(model: Any, rng: Random) -> Any:
    return model.graph.node[rng.randrange(len(model.graph.node))]


def _value(model: Any, rng: Random) -> Any:
    return rng.choice([*model.graph.input, *model.graph.output, *model.graph.value_info])


def _constant(model: Any, rng: Random) -> Any:
    return rng.choice(list(model.graph.initializer))


def _name(model: Any, rng: Random) -> str:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    return str(rng.choice([*names, *(each.name for each in model.graph.initializer), "", "nowhere"]))


def dimension(model: Any, rng: Random) -> None:
    dims = _value(model, rng).type.tensor_type.shape.dim
    dim = dims[rng.randrange(len(dims))]
    if rng.randrange(2):
        dim.dim_value = rng.choice(INTEGERS)
    else:
        dim.dim_param = rng.choice(("", "batch", "points", "x" * 1000, "3"))


def rank(model: Any, rng: Random) -> None:
    dims = _value(model, rng).type.tensor_type.shape.dim
    if rng.randrange(2):
        del dims[rng.randrange(len(dims)) :]
    else:
        for _ in range(rng.choice((1, 6, 21, 100))):
            dims.add().dim_value = 1


def value_type(model: Any, rng: Random) -> None:
    _value(model, rng).type.tensor_type.elem_type = rng.randrange(25)


def attribute(model: Any, rng: Random) -> None:
    node = rng.choice([node for node in model.graph.node if node.attribute])
    found = node.attribute[rng.randrange(len(node.attribute))]
    how = rng.randrange(5)
    if how == 0:
        node.attribute.remove(found)
    elif how == 1:
        found.type = rng.randrange(1, 15)
    elif how == 2:
        found.f = rng.choice((float("nan"), float("inf"), 0.0, -1e30))
    elif found.ints:
        found.ints[rng.randrange(len(found.ints))] = rng.choice(INTEGERS)
        if how == 3:
            found.ints.extend([0] * rng.choice((1, 30)))
    else:
        found.i = rng.choice(INTEGERS)


def another_attribute(model: Any, rng: Random) -> None:
    name = rng.choice(("axis", "axes", "keepdims", "batch_dims", "k", "largest", "keep", "alpha", "to"))
    value: Any = rng.choice((rng.choice(INTEGERS), [1, 2, 3], 1.5, "x"))
    _node(model, rng).attribute.append(helper.make_attribute(name, value))


def operator(model: Any, rng: Random) -> None:
    _node(model, rng).op_type = rng.choice(OPERATORS)


def domain(model: Any, rng: Random) -> None:
    node = _node(model, rng)
    node.domain = rng.choice(DOMAINS)
    if rng.randrange(2):
        model.opset_import.append(helper.make_opsetid(node.domain, rng.choice((1, 17))))


def our_operator(model: Any, rng: Random) -> None:
    """One of the package's own operators, with whatever attributes."""
    node = _node(model, rng)
    numbers = {name: rng.choice(INTEGERS) for name in ("k", "axis", "keep") if rng.randrange(3)}
    made = helper.make_node(rng.choice(OURS), [*node.input], [*node.output], node.name, domain="crosspoint", **numbers)
    node.CopyFrom(made)
    model.opset_import.append(helper.make_opsetid("crosspoint", 1))


def constant_shape(model: Any, rng: Random) -> None:
    constant = _constant(model, rng)
    if rng.randrange(2) and constant.dims:
        constant.dims[rng.randrange(len(constant.dims))] = rng.choice(INTEGERS)
    else:
        constant.dims.extend([1] * rng.choice((1, 6, 21, 100)))


def constant_value(model: Any, rng: Random) -> None:
    """Often k of a TopK, or an axis."""
    constant = rng.choice([each for each in model.graph.initializer if each.data_type == TensorProto.INT64])
    values = np.array(numpy_helper.to_array(constant))
    values.flat[rng.randrange(values.size)] = rng.choice(INTEGERS)
    constant.CopyFrom(numpy_helper.from_array(values, constant.name))


def constant_weights(model: Any, rng: Random) -> None:
    constant = rng.choice([each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT])
    values = np.array(numpy_helper.to_array(constant))
    values.flat[rng.randrange(values.size)] = rng.choice((float("nan"), float("inf"), 3e38, -3e38))
    constant.CopyFrom(numpy_helper.from_array(values, constant.name))


def constant_type(model: Any, rng: Random) -> None:
    _constant(model, rng).data_type = rng.randrange(25)


def constant_data(model: Any, rng: Random) -> None:
    constant = _constant(model, rng)
    constant.raw_data = constant.raw_data[: rng.randrange(len(constant.raw_data) + 1)]


def external_data(model: Any, rng: Random) -> None:
    constant = _constant(model, rng)
    constant.data_location = TensorProto.EXTERNAL
    del constant.external_data[:]
    for key, value in (
        ("location", rng.choice(PLACES)),
        ("offset", str(rng.choice((0, 0, -1, 2**62)))),
        ("length", str(rng.choice((len(constant.raw_data), 10**11, -1)))),
    ):
        entry = constant.external_data.add()
        entry.key, entry.value = key, value
    constant.ClearField("raw_data")


def wiring(model: Any, rng: Random) -> None:
    node = _node(model, rng)
    names = node.input if rng.randrange(3) else node.output
    how = rng.randrange(3)
    if how == 0 and names:
        del names[rng.randrange(len(names))]
    elif how == 1 and names:
        names[rng.randrange(len(names))] = _name(model, rng)
    else:
        names.append(_name(model, rng))


def nodes(model: Any, rng: Random) -> None:
    kept = list(model.graph.node)
    at = rng.randrange(len(kept))
    how = rng.randrange(3)
    if how == 0:
        del kept[at]
    elif how == 1:
        rng.shuffle(kept)
    else:
        kept.insert(at, kept[rng.randrange(len(kept))])
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def many_dimensions(model: Any, rng: Random) -> None:
    """A tensor is taken through a shape of many dimensions, or one that is huge, ahead of the node that reads it."""
    node = _node(model, rng)
    at = list(model.graph.node).index(node)
    which = rng.randrange(len(node.input))
    name = f"hostile{at}"
    shape = rng.choice(([1] * 21 + [0, 0, 0], [0, 0, 0] + [1] * 6, [1] * 5 + [-1], [10**6, 10**6], [0, -1, 3, 1, 1, 1]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}/shape"))
    made = helper.make_node(rng.choice(("Reshape", "Expand")), [node.input[which], f"{name}/shape"], [name])
    node.input[which] = name
    model.graph.node.insert(at, made)


def ends(model: Any, rng: Random) -> None:
    values = model.graph.input if rng.randrange(2) else model.graph.output
    how = rng.randrange(4)
    if how == 0:
        values[0].name = rng.choice(("points", "embedding", "logits", "category", "", "x\n\x1b[31m"))
    elif how == 1:
        del values[0]
    elif how == 2:
        values.append(helper.make_tensor_value_info("category", TensorProto.FLOAT, ["batch", rng.choice(INTEGERS)]))
    else:
        values.add().CopyFrom(values[0])


def versions(model: Any, rng: Random) -> None:
    if rng.randrange(2):
        model.ir_version = rng.choice(INTEGERS)
    else:
        model.opset_import[0].version = rng.choice((0, 1, 6, 13, 18, 21, 999, -1))


def metadata(model: Any, rng: Random) -> None:
    if not model.metadata_props:
        helper.set_model_props(model, {"crosspoint": "{}"})
    entry = model.metadata_props[0]
    entry.value = json_text(entry.value.encode(), rng).decode("utf-8", "replace")
    if rng.randrange(4) == 0:
        model.metadata_props.add().CopyFrom(entry)


def subgraph(model: Any, rng: Random) -> None:
    """A loop that does not end, or nearly, ahead of everything."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Identity", ["kept"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(rng.choice((1, 1000)), np.int64), "turns"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "on"))
    model.graph.node.insert(0, helper.make_node("Loop", ["turns", "on", "points"], ["looped"], body=body))
    _node(model, rng).input[0] = "looped"


def fields(model: Any, rng: Random) -> None:
    """Text where nobody looks: names, documentation, producer."""
    text = rng.choice([value for value in VALUES if isinstance(value, str) and value.isascii()])
    node = _node(model, rng)
    node.name = node.doc_string = model.graph.name = model.producer_name = text


CHANGES: tuple[Callable[[Any, Random], None], ...] = (
    *(dimension, rank, value_type, attribute, attribute, another_attribute, operator, domain, our_operator),
    *(constant_shape, constant_value, constant_value, constant_weights, constant_type, constant_data, external_data),
    *(wiring, wiring, nodes, many_dimensions, many_dimensions, ends, versions, metadata, subgraph, fields),
)
