from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from crosspoint.core.errors import InputError
from crosspoint.parity.layers import onnx_layers
from crosspoint.parity.layers.diagnose import open_layers
from crosspoint.parity.layers.layers import LAYERS, as_rows, common_layers
from crosspoint.runtime.load import load_encoder

NAMES = ("dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg")


def inputs(name, batch=2, points=24):
    rng = np.random.default_rng(0)
    drawn = {"points": rng.uniform(-0.6, 0.6, (batch, points, 3)).astype(np.float32)}
    if name == "dgcnn_partseg":
        drawn["category"] = np.eye(3, dtype=np.float32)[:batch]
    return drawn


@pytest.mark.parametrize("name", NAMES)
def test_pytorch_layers_make_up_the_network(name, network, saved):
    model = network(name)
    given = inputs(name)
    with torch.inference_mode():
        expected = model(**{key: torch.from_numpy(array) for key, array in given.items()}).numpy()
    with load_encoder(saved(model, "m")) as encoder:
        output = LAYERS[name][-1].name
        np.testing.assert_allclose(
            open_layers(encoder).compute([output], given)[output], expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_graph_shows_every_layer(name, network, exported):
    with load_encoder(exported(network(name), "m")) as encoder:
        layers = open_layers(encoder)
        assert common_layers(name, layers.names) == LAYERS[name]
        output = LAYERS[name][-1].name
        whole = encoder.run(inputs(name))[output]
        np.testing.assert_allclose(layers.compute([output], inputs(name))[output], whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_each_layer_runs_by_itself_on_what_is_given(name, network, exported):
    with load_encoder(exported(network(name), "m")) as encoder:
        layers = open_layers(encoder)
        everything = {**inputs(name), **layers.compute(sorted(layers.names), inputs(name))}
        for layer in LAYERS[name]:
            given = {key: everything[key] for key in (*layer.inputs, layer.graph) if key}
            alone = layers.compute([layer.name], given)[layer.name]
            np.testing.assert_allclose(alone, everything[layer.name], rtol=1e-4, atol=1e-6)


def test_given_neighbours_are_the_ones_used(network, saved, exported):
    model = network("dgcnn")
    x = np.random.default_rng(0).normal(size=(1, 10, 64)).astype(np.float32)
    own = np.repeat(np.arange(10)[None, :, None], 6, axis=2)  # every point its own neighbour: x_j − x_i vanishes
    edge = model.edges[1].linear
    _, second = edge.weight.detach().double().chunk(2, dim=1)
    a, b = (t.detach().double() for t in edge.norm.frozen())
    expected = torch.nn.functional.leaky_relu(torch.from_numpy(x).double() @ (a[:, None] * second).T + b, 0.2).numpy()
    for path in (saved(model, "m"), exported(model, "m")):
        with load_encoder(path) as encoder:
            found = open_layers(encoder).compute(["edge2"], {"edge1": x, "edge2/neighbours": own})["edge2"]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_layer_in_float16_is_given_and_read_in_float32(network, exported, tmp_path):
    model = onnx.load(exported(network("dgcnn"), "m"))
    place = next(i for i, node in enumerate(model.graph.node) if node.output[0] == "edge1")
    for node in model.graph.node:  # what others read is cast back from the layer's float16 result
        node.input[:] = ["edge1/wide" if name == "edge1" else name for name in node.input]
    model.graph.node[place].output[0] = "edge1/exact"
    model.graph.node.insert(place + 1, helper.make_node("Cast", ["edge1/exact"], ["edge1"], to=TensorProto.FLOAT16))
    model.graph.node.insert(place + 2, helper.make_node("Cast", ["edge1"], ["edge1/wide"], to=TensorProto.FLOAT))
    onnx.save(model, tmp_path / "low.onnx")
    with load_encoder(tmp_path / "low.onnx") as encoder:
        layers = open_layers(encoder)
        made = layers.compute(["edge1", "edge2"], inputs("dgcnn"))
        assert made["edge1"].dtype == np.float32
        np.testing.assert_array_equal(made["edge1"], made["edge1"].astype(np.float16).astype(np.float32))
        alone = layers.compute(["edge2"], {"edge1": made["edge1"]})["edge2"]
        np.testing.assert_allclose(alone, made["edge2"], rtol=1e-4, atol=1e-4)
        assert layers.types("edge2", "edge1") == {"FLOAT"}
        assert layers.types("edge2", "points") == {"FLOAT", "FLOAT16"}


def test_an_unseen_layer_is_part_of_the_one_after_it():
    names = frozenset({"edge1", "edge2", "edge3", "edge4", "embedding", "edge1/neighbours"})
    layers = {layer.name: layer for layer in common_layers("dgcnn", names)}
    assert layers["embedding"].inputs == ("edge1", "edge2", "edge3", "edge4")
    assert layers["edge1"].graph == "edge1/neighbours"
    assert layers["edge2"].graph is None
    assert [layer.inputs for layer in common_layers("dgcnn", frozenset({"embedding"}))] == [("points",)]
    assert [layer.inputs for layer in common_layers("unknown", frozenset({"embedding"}))] == [("points",)]


def test_rows_are_in_float64():
    """Float32 that cannot hold a sum of squares: 2²⁴ + 1."""
    array = np.array([[[4096.0, 1.0]], [[2.0, 3.0]]], np.float32)
    rows = as_rows(array)
    assert rows.dtype == np.float64
    assert rows.tolist() == [[4096.0, 1.0], [2.0, 3.0]]
    assert np.square(rows[0]).sum() == 2**24 + 1


@pytest.mark.parametrize(
    ("device", "extra", "provider", "options"),
    [
        ("cpu", "cpu", "CPUExecutionProvider", {}),
        ("cuda:2", "gpu", "CUDAExecutionProvider", {"device_id": "2", "use_tf32": "0"}),
    ],
)
def test_a_layer_runs_on_the_provider_of_the_whole_model(device, extra, provider, options, monkeypatch):
    opened, asked, given = [], [], []

    class Session:
        def __init__(self, model, options, providers):
            opened.append((model, options.intra_op_num_threads, providers))

        def get_providers(self):
            return given

    def require(*words, purpose):
        asked.append(words)
        return SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=Session)

    monkeypatch.setattr(onnx_layers, "require", require)
    monkeypatch.setattr(onnx_layers, "available_cpus", lambda: 3)
    specification = SimpleNamespace(device=device, path="m.onnx")
    with pytest.raises(InputError, match=f"{provider} did not load"):
        onnx_layers._session(b"model", specification)
    given.append(provider)
    assert isinstance(onnx_layers._session(b"model", specification), Session)
    assert asked[-1] == ("onnxruntime", extra)
    assert opened[-1] == (b"model", 3, [(provider, options)])


def test_a_layer_that_needs_the_number_of_points_gets_zeros_and_nothing_else_does():
    given = {"edge1": np.ones((2, 7, 64)), "cloud": np.ones((2, 64))}
    made = onnx_layers._zeros("points", given)
    assert (made.shape, made.dtype, made.any()) == ((2, 7, 3), np.float32, False)
    for name, tensors in (("category", given), ("points", {"cloud": given["cloud"]})):
        with pytest.raises(InputError, match=f"needs {name} as well"):
            onnx_layers._zeros(name, tensors)
