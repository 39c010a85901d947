import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import read_precision, write_onnx
from crosspoint.export.onnx.fold import deploy

NAMES = ["dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg"]


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def relative_l2(a, b):
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return (np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", [48, None])
def test_onnx_runtime_gives_what_the_network_gives_at_every_batch_and_number_of_points(name, points, network, inputs):
    model = network(name)
    run = session(build(deploy(model), points)).run
    for batch in (1, 2, 3, 5):
        for count in (points,) if points else (6, 33, 64):
            drawn = inputs(name, batch, count)
            with torch.inference_mode():
                expected = model.double()(**{key: torch.from_numpy(value).double() for key, value in drawn.items()})
            assert relative_l2(run(None, drawn)[0], expected.numpy()) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_onnx_runtime_gives_what_the_edges_written_out_give(name, network, inputs, edge_form):
    model, drawn = network(name), inputs(name, 3, 40)
    (output,) = session(build(deploy(model), 40)).run(None, drawn)
    assert output.dtype == np.float32
    assert relative_l2(output, edge_form(model)(**drawn)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_clouds_of_a_batch_do_not_touch_each_other(name, network, inputs):
    run = session(build(deploy(network(name)), 40)).run
    drawn = inputs(name, 4, 40)
    alone = [run(None, {key: value[i : i + 1] for key, value in drawn.items()})[0] for i in range(4)]
    assert relative_l2(run(None, drawn)[0], np.concatenate(alone)) < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("points", [1024, None])
def test_names_shapes_and_types_are_the_contract(name, points, network):
    model = build(deploy(network(name)), points)
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    count = points or "points"
    dims = {"dgcnn": 2048, "pointnet": 1024, "dgcnn_seg": 1024}
    expected = {"points": ["batch", count, 3]}
    if name in dims:
        expected["embedding"] = ["batch", dims[name]]
    else:
        expected |= {"category": ["batch", 3], "logits": ["batch", count, 7]}
    assert shapes == expected
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert read_precision(model) == "fp32"
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)


def test_two_files_of_one_network_have_the_same_bytes_and_say_what_they_are(network, tmp_path):
    provenance = {"model": {"k": 6, "architecture": "dgcnn"}, "points": 32}
    for file in ("one.onnx", "two.onnx"):
        write_onnx(tmp_path / file, build(deploy(network("dgcnn")), 32), provenance=provenance)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    model = onnx.load(tmp_path / "one.onnx")
    assert model.producer_name == "crosspoint"
    (entry,) = model.metadata_props
    assert entry.key == "crosspoint"
    assert json.loads(entry.value) == provenance


def test_the_precision_that_is_read_back_names_every_type(network):
    model = build(deploy(network("pointnet")), 32)
    half = onnx.numpy_helper.from_array(np.ones(1, np.float16), "half")
    model.graph.initializer.append(half)
    assert read_precision(model) == "fp16+fp32"
