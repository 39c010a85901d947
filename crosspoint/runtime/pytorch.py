"""PyTorch backend: `.safetensors` weights, as trained. The one backend that needs torch; it is imported on opening."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosspoint.errors import InputError, require
from crosspoint.runtime.encoder import Encoder, FloatArray, Specification, parse_device


class PyTorchEncoder(Encoder):
    """A network in evaluation mode, float32, any number of points from k upwards.

    Args:
        path: A `.safetensors` file of `crosspoint train`, `import` or `save_model`.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.

    Raises:
        InputError: The file is damaged or holds no point-cloud model, or the device is not there.
        MissingDependency: torch is not installed.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        index = parse_device(device)
        torch = require("torch", "train", "running .safetensors weights")
        from crosspoint.models.weights import read_weights

        if index is not None and index >= torch.cuda.device_count():
            raise InputError(
                f"device {device} was asked for, and torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
                "devices; give --device cpu, or install a CUDA build of torch and NVIDIA's driver"
            )
        weights = read_weights(path)
        model: Any = weights.network()
        config = model.config
        if config["architecture"] == "resnet":
            raise InputError(f"{path} holds an image encoder; give the point encoder beside it, encoder.safetensors")
        self._device = torch.device("cpu" if index is None else f"cuda:{index}")
        self._model: Any = model.to(self._device)
        self.specification = Specification(
            architecture=str(config["architecture"]),
            dim=int(config.get("parts") or model.dim),
            points=None,
            max_batch=None,
            precision="fp32",
            backend="pytorch",
            device=str(self._device),
            sha256=weights.sha256,
            path=str(path),
            min_points=int(config.get("k", 1)),
            categories=config.get("categories"),
            engine=f"PyTorch {torch.__version__}",
        )

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """One forward pass."""
        import torch

        assert self._model is not None, "the encoder was closed"
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self._device) for name, array in inputs.items()}
            result = self._model(**tensors).float().cpu().numpy()
        return {"embedding" if self.specification.categories is None else "logits": result}

    def set_neighbours(self, k: int) -> None:
        """Build the graphs of all following calls with k neighbours instead of those it was trained with."""
        layers = [module for module in self._model.modules() if hasattr(module, "k")]
        if not layers:
            raise InputError(f"{self.specification.path} has no neighbour graphs ({self.specification.architecture})")
        if k < 1:
            raise InputError(f"k is {k}; give at least 1 neighbour")
        for layer in layers:
            layer.k = k
        self.specification = dataclasses.replace(self.specification, min_points=k)

    def close(self) -> None:
        """Let go of the weights."""
        self._model = None
