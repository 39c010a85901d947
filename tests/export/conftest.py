"""Small randomised networks, and what they compute, edge by edge in float64 numpy, from the papers' formulas."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet, SegmentationBackbone
from crosspoint.models.weights import save_model

BUILD = {
    "dgcnn": lambda: DGCNN(k=6),
    "pointnet": PointNet,
    "dgcnn_seg": lambda: SegmentationBackbone(k=5),
    "dgcnn_partseg": lambda: DGCNNSegmenter(parts=7, categories=3, k=5),
}


def make(name: str) -> nn.Module:
    """A network in evaluation mode whose batch normalisations have statistics, and γ of every sign and zero."""
    torch.manual_seed(0)
    network = BUILD[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.num_features))
                module.weight[::7] = 0
                module.bias.copy_(torch.randn(module.num_features) * 0.2)
                module.running_mean.copy_(torch.randn(module.num_features) * 0.1)
                module.running_var.copy_(torch.rand(module.num_features) + 0.5)
        if module.__class__.__name__ == "TransformNet":
            nn.init.normal_(module.transform.weight, std=0.05)
    return network.eval()


class EdgeForm:
    """The networks of one cloud at a time, in float64, with every edge `[x_j − x_i, x_i]` written out."""

    def __init__(self, network: nn.Module) -> None:
        self.state = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
        self.config = network.config

    def __call__(self, points: np.ndarray, category: np.ndarray | None = None) -> np.ndarray:
        categories = category if category is not None else [None] * len(points)
        pairs = zip(points.astype(np.float64), categories, strict=True)
        return np.stack([getattr(self, self.config["architecture"])(*pair) for pair in pairs])

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        mean, variance, weight, bias = (
            self.state[f"{name}.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias

    def edge(self, name: str, x: np.ndarray) -> np.ndarray:
        distances = np.square(x[:, None] - x[None]).sum(axis=-1)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.config["k"]]
        own = np.repeat(x[:, None], nearest.shape[1], axis=1)
        edges = np.concatenate([x[nearest] - own, own], axis=-1)  # (N, k, 2C)
        first = f"{name}.first" if f"{name}.second.weight" in self.state else f"{name}.linear"
        h = leaky(self.norm(f"{first}.norm", edges @ self.state[f"{first}.weight"].T))
        if f"{name}.second.weight" in self.state:
            h = leaky(self.norm(f"{name}.norm", h @ self.state[f"{name}.second.weight"].T))
        return h.max(axis=1)

    def point_linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return leaky(self.norm(f"{name}.norm", x @ self.state[f"{name}.linear.weight"].T))

    def dgcnn(self, x: np.ndarray, _: None) -> np.ndarray:
        layers = []
        for i in range(4):
            x = self.edge(f"edges.{i}", x)
            layers.append(x)
        x = self.point_linear("embed", np.concatenate(layers, axis=1))
        return np.concatenate([x.max(axis=0), x.mean(axis=0)])

    def pointnet(self, x: np.ndarray, _: None) -> np.ndarray:
        for i in range(5):
            x = np.maximum(self.norm(f"norms.{i}", x @ self.state[f"linears.{i}.weight"].T), 0)
        return x.max(axis=0)

    def dgcnn_seg(self, x: np.ndarray, _: None) -> np.ndarray:
        return self.backbone(x, "")[1]

    def dgcnn_partseg(self, x: np.ndarray, category: np.ndarray) -> np.ndarray:
        local, cloud = self.backbone(x, "backbone.")
        context = np.concatenate([cloud, self.point_linear("category", category)])
        x = np.concatenate([np.repeat(context[None], len(x), axis=0), local], axis=1)
        for i in range(3):
            x = self.point_linear(f"hidden.{i}", x)
        return x @ self.state["classify.weight"].T

    def backbone(self, x: np.ndarray, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        transform = f"{prefix}transform"
        h = self.point_linear(f"{transform}.embed", self.edge(f"{transform}.edge", x)).max(axis=0)
        for i in (1, 2):
            h = leaky(self.norm(f"{transform}.norm{i}", self.state[f"{transform}.linear{i}.weight"] @ h))
        matrix = self.state[f"{transform}.transform.weight"] @ h + self.state[f"{transform}.transform.bias"]
        x, layers = x @ matrix.reshape(3, 3), []
        for i in range(3):
            x = self.edge(f"{prefix}edges.{i}", x)
            layers.append(x)
        local = np.concatenate(layers, axis=1)
        return local, self.point_linear(f"{prefix}embed", local).max(axis=0)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


@pytest.fixture
def network() -> Callable[[str], nn.Module]:
    """Makes a randomised network by its architecture."""
    return make


@pytest.fixture
def edge_form() -> type[EdgeForm]:
    """The independent reference."""
    return EdgeForm


@pytest.fixture
def inputs() -> Callable[..., dict[str, np.ndarray]]:
    """Random inputs of an architecture."""

    def draw(name: str, batch: int, points: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(batch * 1000 + points)
        drawn = {"points": rng.uniform(-0.6, 0.6, (batch, points, 3)).astype(np.float32)}
        if name == "dgcnn_partseg":
            drawn["category"] = np.eye(3, dtype=np.float32)[rng.integers(3, size=batch)]
        return drawn

    return draw


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], Path]:
    """Saves a randomised network by its architecture; gives the file."""

    def save(name: str) -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_model(make(name), path)
        return path

    return save


@pytest.fixture
def modelnet(tmp_path: Path) -> Path:
    """Balls, sticks and plates in ModelNet40's format: 45 to train on, 15 to test on."""
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    folder.mkdir()
    shapes = np.array([[1.0, 1.0, 1.0], [0.3, 1.0, 0.3], [1.0, 0.3, 1.0]])
    for split, count in (("train", 45), ("test", 15)):
        rng = np.random.default_rng(count)
        labels = np.arange(count) % 3
        points = rng.standard_normal((count, 64, 3)) * shapes[labels][:, None]
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file["data"], file["label"] = points.astype(np.float32), labels.astype(np.uint8)[:, None]
    (folder / "shape_names.txt").write_text("ball\nstick\nplate\n")
    return folder
