"""Networks with lively batch normalisations, saved and exported, and faults to put into them."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet, SegmentationBackbone
from crosspoint.models.weights import save_model
from crosspoint.parity.clouds import ordinary

BUILD = {
    "dgcnn": lambda: DGCNN(k=6),
    "pointnet": PointNet,
    "dgcnn_seg": lambda: SegmentationBackbone(k=5),
    "dgcnn_partseg": lambda: DGCNNSegmenter(parts=7, categories=3, k=5),
}


def make(name: str) -> nn.Module:
    """A network in evaluation mode whose batch normalisations have γ and β, and the statistics of what they see."""
    return copy.deepcopy(_trained(name))


@functools.cache
def _trained(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = BUILD[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 0.5
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if module.__class__.__name__ == "TransformNet":
            nn.init.normal_(module.transform.weight, std=0.05)
    inputs = {"points": torch.from_numpy(ordinary(4, 64))}
    if name == "dgcnn_partseg":
        inputs["category"] = torch.eye(3)[[0, 1, 2, 0]]
    with torch.no_grad():
        for _ in range(10):
            network(**inputs)
    return network.eval()


def to_onnx(network: nn.Module, path: Path) -> Path:
    """As the exporter writes it."""
    config = network.config
    write_onnx(
        path, build(deploy(network), None), provenance={"model": config, "k": config.get("k", 1), "precision": "fp32"}
    )
    return path


def with_float16_distances(path: Path, out: Path, k: int = 6) -> Path:
    """The same ONNX model with the textbook's distances, `2 x_i·x_j − |x_j|²`, in float16 and on raw features."""
    model = onnx.load(path)
    constants = {"two": np.float32(2), "k16": np.int64([k]), "zero": np.int64(0), "one": np.int64(1)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    sources = {"edge1": "points", "edge2": "edge1", "edge3": "edge2", "edge4": "edge3"}
    nodes = [
        helper.make_node("Shape", ["points"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["count"]),
        helper.make_node("Range", ["zero", "count", "one"], ["every"]),
    ]
    for node in model.graph.node:
        nodes.append(node)
        edge = next((edge for edge in sources if f"{edge}/neighbours" in node.output), None)
        if edge is not None:
            node.output[:] = [f"{name}/unused" for name in node.output]
            nodes += _float16_neighbours(edge, sources[edge])
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, out)
    return out


def _float16_neighbours(edge: str, source: str) -> list[onnx.NodeProto]:
    """Every result is rounded to float16, products are summed in float32: what tensor cores do."""
    nodes = []

    def add(operator: str, name: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, [*inputs], [f"{edge}/{name}"], **attributes))
        return f"{edge}/{name}"

    def rounded(name: str, x: str) -> str:
        """A plain pair of casts would be taken out by ONNX Runtime; it keeps one with a Gather in between."""
        low = add("Gather", f"{name}/kept", add("Cast", f"{name}/16", x, to=TensorProto.FLOAT16), "every", axis=1)
        return add("Cast", f"{name}/32", low, to=TensorProto.FLOAT)

    x = rounded("x", source)
    products = rounded("products", add("MatMul", "xx", x, add("Transpose", "x/t", x, perm=[0, 2, 1])))
    norms = rounded("norms", add("ReduceSumSquare", "x/norms", x, axes=[2], keepdims=1))
    row = add("Transpose", "norms/row", norms, perm=[0, 2, 1])
    scores = rounded("scores16", add("Sub", "difference", add("Mul", "twice", products, "two"), row))
    outputs = [f"{edge}/best", f"{edge}/neighbours"]
    return [*nodes, helper.make_node("TopK", [scores, "k16"], outputs, axis=2)]


@pytest.fixture
def network() -> Callable[[str], nn.Module]:
    return make


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[nn.Module, str], Path]:
    """Saves a network; gives the file."""

    def save(network: nn.Module, name: str) -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_model(network, path)
        return path

    return save


@pytest.fixture
def exported(tmp_path: Path) -> Callable[[nn.Module, str], Path]:
    """Exports a network to ONNX; gives the file."""

    def export(network: nn.Module, name: str) -> Path:
        return to_onnx(network, tmp_path / f"{name}.onnx")

    return export


@pytest.fixture
def float16_distances() -> Callable[[Path, Path], Path]:
    return with_float16_distances
