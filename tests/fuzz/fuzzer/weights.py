"""Targets: weights of networks, ours and the official ones."""

import io
import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

from fuzzer.attacks import DEEP, NO_JSON, torch_bomb
from fuzzer.cases import Files, Target
from fuzzer.made import CLOUDS, folder, to_bytes
from fuzzer.mutate import LONG


def _weights(model: Any, recipe: dict[str, Any] | None = None) -> bytes:
    from crosspoint.models.weights import save_model

    files = folder(lambda root: save_model(model, root / "x.safetensors", recipe=recipe))
    return next(content for content in files.values() if isinstance(content, bytes))


@cache
def _pointnet() -> Files:
    import torch

    from crosspoint.models import PointNet

    torch.manual_seed(0)
    return {"encoder.safetensors": _weights(PointNet(), {"name": "clean", "k": 4})}


@cache
def _head() -> Files:
    from crosspoint.models.heads import PointHead

    return {"encoder.safetensors": _weights(PointHead(8))}


def _header(metadata: object, tensors: dict[str, object] | None = None) -> bytes:
    header = json.dumps({"__metadata__": {"crosspoint": metadata}, **(tensors or {})}).encode()
    return struct.pack("<Q", len(header)) + header


def _weight_attacks() -> dict[str, Files]:
    contents: dict[str, bytes | str] = {
        **{
            name: _header(json.dumps({"model": model, "recipe": None}))
            for name, model in {
                "dim 10^6": {"architecture": "point_head", "dim": 10**6},
                "dim 10^12": {"architecture": "point_head", "dim": 10**12},
                "many parts": {"architecture": "dgcnn_partseg", "parts": 10**7, "categories": 10**7, "k": 4},
                "no number": {"architecture": "point_head", "dim": "x"},
                "a depth": {"architecture": "resnet", "depth": 101},
                "another argument": {"architecture": "pointnet", "x": 1},
                "a list for a name": {"architecture": ["dgcnn"]},
                "k below 1": {"architecture": "dgcnn", "k": -1},
                "a config that is a list": [],
            }.items()
        },
        "deep metadata": _header(DEEP.decode()),
        "metadata that is a number": _header("3"),
        "metadata of 5,000 digits": _header(LONG),
        "a long header": struct.pack("<Q", 2**63) + b"{}",
        **{name: content for name, content in NO_JSON.items() if isinstance(content, str)},
    }
    return {name: {"encoder.safetensors": content} for name, content in contents.items()}


def _read_weights(root: Path) -> None:
    from crosspoint.eval.paper.roles import read_facts
    from crosspoint.models.weights import load_model

    model = load_model(root / "encoder.safetensors")
    assert all(tensor.device.type == "cpu" for tensor in model.state_dict().values())
    read_facts(root / "encoder.safetensors")


def _embed_with_weights(root: Path) -> None:
    from crosspoint.runtime.load import load_encoder

    with load_encoder(root / "encoder.safetensors", backend="pytorch") as encoder:
        assert encoder.embed(CLOUDS[:2]).shape == (2, encoder.specification.dim)


def _export_source(root: Path) -> None:
    """What `export` does with weights before it builds anything."""
    from crosspoint.export.bundle import _check_network, _network, trained_weights
    from crosspoint.models.weights import read_weights
    from crosspoint.runtime.profile import make_profile

    source = read_weights(trained_weights(root))
    network, _ = _network(source, True)
    _check_network(source.path, network, make_profile((1, 2, 4), 16))


@cache
def _with_head() -> Files:
    from crosspoint.models.heads import PointHead

    recipe = {"name": "clean", "k": 4}
    return {**_pointnet(), "projection.safetensors": _weights(PointHead(1024), recipe)}


@cache
def _official(segmenter: bool) -> Files:
    import torch

    from crosspoint.models import DGCNN, DGCNNSegmenter
    from crosspoint.models.official import BACKBONE_LAYERS, DGCNN_LAYERS, HEAD_LAYERS, STATISTICS, _layer_names

    torch.manual_seed(0)
    if segmenter:
        model: Any = DGCNNSegmenter(4, 2, k=3)
        layers = {f"backbone.{ours}": theirs for ours, theirs in BACKBONE_LAYERS.items()} | HEAD_LAYERS
        single = {"classify.weight": "conv11.weight"}
        for name in ("linear1.weight", "linear2.weight", "transform.weight", "transform.bias"):
            single[f"backbone.transform.{name}"] = f"transform_net.{name}"
        for ours, theirs in (("norm1", "bn3"), ("norm2", "bn4")):
            for entry in STATISTICS:
                single[f"backbone.transform.{ours}.{entry}"] = f"transform_net.{theirs}.{entry}"
    else:
        model, layers, single = DGCNN(3), DGCNN_LAYERS, {}
    names = single | _layer_names(model, layers)
    state = {f"module.{names[name]}": value for name, value in model.state_dict().items()}
    state = {name: value[..., None] if name.endswith("conv11.weight") else value for name, value in state.items()}
    return {"official.pth": to_bytes(lambda file: torch.save(state, file))}


def _official_attacks() -> dict[str, Files]:
    import pickle

    import torch

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (Path("/tmp/crosspoint-fuzz-executed"),)

    state = torch.load(io.BytesIO(_official(True)["official.pth"]), weights_only=True)  # type: ignore[arg-type]
    huge = torch.zeros(1).expand(10**9, 128, 1)
    wide = torch.zeros(1).expand(64, 10**9, 1)
    contents: dict[str, bytes | str] = {
        "a billion parts of one number": to_bytes(lambda f: torch.save({**state, "module.conv11.weight": huge}, f)),
        "a billion categories": to_bytes(lambda f: torch.save({**state, "module.conv7.0.weight": wide}, f)),
        "a scalar": to_bytes(lambda f: torch.save({**state, "module.conv11.weight": torch.zeros(())}, f)),
        "names are numbers": to_bytes(lambda f: torch.save({1: torch.zeros(3)}, f)),
        "a pickle that runs": pickle.dumps(Evil()),
        "an archive that unpacks to much": torch_bomb(),
        "a pipe": "pipe",
        "a device": "link /dev/zero",
    }
    return {name: {"official.pth": content} for name, content in contents.items()}


def _read_official(root: Path) -> None:
    from crosspoint.models.official import import_official

    import_official(root / "official.pth", 3, out=root / "out.safetensors")
    assert not Path("/tmp/crosspoint-fuzz-executed").exists()


WEIGHTS = (
    Target("weights", lambda: [_pointnet(), _head()], _read_weights, _weight_attacks),
    Target("weights-embed", lambda: [_pointnet()], _embed_with_weights, _weight_attacks),
    Target("weights-export", lambda: [_with_head()], _export_source, _weight_attacks),
    Target("official", lambda: [_official(False), _official(True)], _read_official, _official_attacks),
)
