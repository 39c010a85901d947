"""Where the layers of 16 bits are put, that networks stay what they are, and that nothing else runs in their place."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.errors import InputError, Unsupported
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.kernels import sixteen_bits
from crosspoint.runtime.backends.kernels.exported import put_kernels
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.onnx_messages import ModelProto

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

NETWORKS = {  # arguments, layers before the first searches that stay in float32, operators
    "DGCNN": ({"k": 6}, 4, {"Product16": 1, "Edge16": 1, "Pool16": 1, "Nearest16": 3}),
    "PointNet": ({}, 0, {"Linear16": 4, "Max16": 1}),
    "SegmentationBackbone": ({"k": 5}, 0, {"Product16": 4, "Linear16": 6, "Max16": 5, "Edge16": 1, "Nearest16": 2}),
    "DGCNNSegmenter": ({"parts": 7, "categories": 3, "k": 5}, 2, {"Nearest16": 2}),
}


@pytest.fixture(scope="module")
def lowered():
    """A bf16 graph of a network, as the exporter writes it, and the float32 graph that it comes from."""
    import torch

    from crosspoint import models
    from crosspoint.export.onnx.build import build
    from crosspoint.export.onnx.fold import deploy
    from crosspoint.export.onnx.precision import lower

    made = {}

    def make(name, exact=None):
        arguments, usual, _ = NETWORKS[name]
        exact = usual if exact is None else exact
        if (name, exact) not in made:
            torch.manual_seed(0)
            model = build(deploy(getattr(models, name)(**arguments).eval()), None)
            made[name, exact] = lower(model, "bf16", exact_choices=exact), model
        copies = onnx.ModelProto(), onnx.ModelProto()
        for copy, model in zip(copies, made[name, exact], strict=True):
            copy.CopyFrom(model)
        return copies

    return make


@pytest.fixture
def on_any_cpu(library, monkeypatch):
    """Layers of 16 bits also without the instruction: the library's plain form computes them."""
    monkeypatch.setattr(kernels, "lacks_bf16", lambda: "")
    monkeypatch.setattr(kernels, "level", lambda: kernels.VNNI)


def inputs_of(name):
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (3, 70, 3)).astype(np.float32)
    return {"points": points} | ({"category": np.eye(3, dtype=np.float32)} if name == "DGCNNSegmenter" else {})


def counts(content):
    found = [node.op_type for node in onnx.load_from_string(content).graph.node if node.op_type.endswith("16")]
    return {kind: found.count(kind) for kind in dict.fromkeys(found)}


def run(model, path, inputs, *, operators=True):
    onnx.save(model, path)
    with OnnxEncoder(path, threads=1, operators=operators) as encoder:
        return encoder.run(inputs)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def products_of(model):
    """The number of products by weights in bfloat16."""
    weights = {constant.name for constant in model.graph.initializer if constant.data_type == TensorProto.BFLOAT16}
    return sum(node.op_type == "MatMul" and node.input[1] in weights for node in model.graph.node)


@pytest.mark.parametrize("exact", [0, 1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_product_in_bf16_gets_an_operator_and_no_other(name, exact, lowered, on_any_cpu):
    low, _ = lowered(name, exact)
    content = kernels.with_kernels(low.SerializeToString())
    found = counts(content)
    found.pop("Nearest16", None)
    assert sum(found.values()) == products_of(low) > 0
    kinds = {constant.data_type for constant in onnx.load_from_string(content).graph.initializer}
    assert TensorProto.BFLOAT16 not in kinds


@pytest.mark.parametrize("name", NETWORKS)
def test_operators_are_those_of_what_follows_a_product(name, lowered, on_any_cpu):
    found = counts(kernels.with_kernels(lowered(name)[0].SerializeToString()))
    assert found.items() >= NETWORKS[name][2].items(), found


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_as_near_to_float32_as_the_emulation_that_rounds_more(name, lowered, on_any_cpu, tmp_path):
    """Both round the factors of products alike. The emulation rounds every other value as well, so that its error
    bounds that of the operators, up to chance, and their difference is at most the sum."""
    from crosspoint.export.onnx.precision import emulate

    (low, model), inputs = lowered(name), inputs_of(name)
    ours = next(iter(run(low, tmp_path / "low.onnx", inputs).values()))
    exact = next(iter(run(model, tmp_path / "exact.onnx", inputs).values()))
    emulated = next(iter(run(emulate(low), tmp_path / "emulated.onnx", inputs).values()))
    error = relative(emulated, exact)
    assert 1e-4 < relative(ours, exact) <= 1.2 * error < 5e-2  # in bf16, and within the limit of the gate
    assert relative(ours, emulated) <= 2.2 * error


def weights_of(model):
    return {constant.name: numpy_helper.to_array(constant).astype(np.float64) for constant in model.graph.initializer}


def test_a_pointnet_is_that_of_float64_with_rounded_factors(lowered, on_any_cpu, tmp_path):
    import torch

    low, _ = lowered("PointNet")
    held, x = weights_of(low), inputs_of("PointNet")["points"].astype(np.float64)

    def rounded(value):
        return torch.from_numpy(value.astype(np.float32)).to(torch.bfloat16).double().numpy()

    for layer in ("layer1", "layer2", "layer3", "layer4"):
        product = rounded(x) @ held[f"{layer}/linear/product/weight/bf16"]
        x = np.maximum(product + held[f"{layer}/linear/bias/bf16"], 0)
    largest = (rounded(x) @ held["layer5/product/weight/bf16"]).max(axis=1)
    expected = np.maximum(largest + held["layer5/biased/bias/bf16"], 0)
    found = run(low, tmp_path / "m.onnx", inputs_of("PointNet"))["embedding"]
    # float32's last digit may round a value to the next bfloat16, 2⁻⁸ away; few are that close to the middle
    assert relative(found, expected) < 2e-4


@pytest.mark.parametrize(("name", "exact"), [("DGCNN", 2), ("DGCNN", 4), ("DGCNNSegmenter", 2)])
def test_neighbours_are_those_of_float32_on_the_same_features(name, exact, lowered, on_any_cpu, tmp_path):
    low, model = lowered(name, exact)
    chosen = [node.output[1] for node in model.graph.node if node.op_type == "TopK"]
    for graph in (low.graph, model.graph):
        graph.output.extend(helper.make_tensor_value_info(value, TensorProto.INT64, None) for value in chosen)
    inputs = inputs_of(name)
    ours = run(low, tmp_path / "low.onnx", inputs)
    exactly = run(model, tmp_path / "exact.onnx", inputs, operators=False)
    for value in chosen[:exact]:  # what comes before these searches is in float32
        np.testing.assert_array_equal(np.sort(ours[value]), np.sort(exactly[value]))


def test_the_search_of_16_bits_is_left_out_without_vnni(lowered, on_any_cpu, monkeypatch):
    monkeypatch.setattr(kernels, "level", lambda: kernels.AVX512)
    found = counts(kernels.with_kernels(lowered("DGCNN")[0].SerializeToString()))
    assert "Nearest16" not in found
    assert "Pool16" in found


# What is not run


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cpu_without_the_instruction_refuses_in_one_line(name, lowered, library, monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "lacks_bf16", lambda: "this CPU has no AVX512-BF16")
    onnx.save(lowered(name)[0], tmp_path / "m.onnx")
    with pytest.raises(Unsupported, match=r"needs a kernel that CPUExecutionProvider") as caught:
        OnnxEncoder(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)


def test_standard_operators_alone_refuse(lowered, on_any_cpu, tmp_path):
    onnx.save(lowered("PointNet")[0], tmp_path / "m.onnx")
    with pytest.raises(Unsupported, match=r"needs a kernel"):
        OnnxEncoder(tmp_path / "m.onnx", operators=False)


def remove(name):
    """A change that lets the readers of a conversion read what it converts."""

    def change(model):
        (cast,) = (node for node in model.graph.node if node.output[0] == name)
        for node in model.graph.node:
            node.input[:] = [cast.input[0] if value == name else value for value in node.input]
        model.graph.node.remove(cast)

    return change


def convert(name, to):
    def change(model):
        at = next(i for i, node in enumerate(model.graph.node) if name in node.input)
        for node in model.graph.node:
            node.input[:] = ["turned" if value == name else value for value in node.input]
        model.graph.node.insert(at, helper.make_node("Cast", [name], ["turned"], to=to))

    return change


def constant(name, edit):
    def change(model):
        (found,) = (constant for constant in model.graph.initializer if constant.name == name)
        edit(found)

    return change


def as_float16(found):
    found.data_type = TensorProto.FLOAT16


def as_float32(found):
    found.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(found).astype(np.float32), found.name))


def cut(found):
    found.raw_data = found.raw_data[:-2]


def one_dimension(found):
    found.dims[:] = [int(np.prod(found.dims))]


CHANGES = {
    "a conversion less": remove("edge3/bf16"),
    "a conversion of an output less": remove("embedding"),
    "half precision": convert("edge3/bf16", TensorProto.FLOAT16),
    "integers": convert("edge3/bf16", TensorProto.INT64),
    "widened again": convert("edge1/bf16", TensorProto.FLOAT),
    "twice the same": convert("edge1/bf16", TensorProto.BFLOAT16),
    "a weight in fp16": constant("edge4/near/weight/bf16", as_float16),
    "a weight in fp32": constant("edge4/near/weight/bf16", as_float32),
    "a bias in fp32": constant("embed/linear/bias/bf16", as_float32),
    "a weight cut off": constant("edge4/near/weight/bf16", cut),
    "a weight of one dimension": constant("edge4/near/weight/bf16", one_dimension),
    "an output in bf16": lambda model: setattr(model.graph.output[0], "name", "embedding/bf16"),
    "another activation": lambda model: [
        setattr(node.attribute[0], "f", 0.5) for node in model.graph.node if node.op_type == "LeakyRelu"
    ],
    "a product of another domain": lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_graph_that_is_not_as_the_exporter_writes_it_is_refused_in_one_line(change, lowered, on_any_cpu, tmp_path):
    model, _ = lowered("DGCNN")
    if change == "a conversion of an output less":
        model.graph.node.pop()
    else:
        CHANGES[change](model)
    assert kernels.with_kernels(model.SerializeToString()) is None
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError) as caught:
        OnnxEncoder(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)


def test_neighbours_searched_in_bf16_are_refused(lowered):
    low, _ = lowered("DGCNN")
    model = ModelProto.FromString(low.SerializeToString())
    for node in model.graph.node:
        if node.op_type == "TopK" and node.input[0].startswith("edge4"):
            node.input[0] = "edge4/near"
    assert sixteen_bits.widen(model.graph) is None


def test_an_emulation_in_float32_keeps_its_roundings(lowered, on_any_cpu):
    from crosspoint.export.onnx.precision import emulate

    low, _ = lowered("DGCNN")
    emulation = ModelProto.FromString(emulate(low).SerializeToString())
    assert not sixteen_bits.is_bf16(emulation.graph)
    casts = sum(node.op_type == "Cast" for node in emulation.graph.node)
    content = kernels.with_kernels(emulation.SerializeToString())
    kept = emulation if content is None else onnx.load_from_string(content)
    assert sum(node.op_type == "Cast" for node in kept.graph.node) == casts > 0


def test_a_product_that_is_not_replaced_is_seen(lowered):
    low, _ = lowered("DGCNN")
    model = ModelProto.FromString(low.SerializeToString())
    products = sixteen_bits.widen(model.graph)
    assert put_kernels(model)
    assert not sixteen_bits.put_layers(model.graph, products | {"another"})


def test_a_library_that_is_damaged_of_an_earlier_source_or_missing_is_said_to_be(tmp_path, monkeypatch, library):
    (tmp_path / "edges.so").write_bytes(b"rubbish")
    with monkeypatch.context() as damaged:
        damaged.setattr(kernels, "LIBRARY", tmp_path / "edges.so")
        assert kernels.lacks_bf16().endswith("edges.so, the compiled CPU operators, does not load")
    monkeypatch.setattr(kernels.ctypes, "CDLL", lambda _: object())
    assert kernels.lacks_bf16() == "the compiled CPU operators are those of an earlier version"
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "none.so")
    assert kernels.lacks_bf16() == "this installation has no compiled CPU operators"


def test_the_instruction_is_asked_for(on_level, monkeypatch):
    """Without AVX-512 it is not used, though the CPU has it."""
    monkeypatch.setattr(kernels, "LIBRARY", on_level)
    if kernels.level() < kernels.AVX512:
        assert kernels.lacks_bf16() == "this CPU has no AVX512-BF16"
    else:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        assert bool(kernels.lacks_bf16()) == ("avx512_bf16" not in flags)
