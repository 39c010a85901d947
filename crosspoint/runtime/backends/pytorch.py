"""PyTorch backend: `.safetensors` weights, as trained. The one backend that needs torch; it is imported on opening."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.errors import InputError, require
from crosspoint.core.reading import reason_of
from crosspoint.runtime.encoder import Encoder, FloatArray, Specification, parse_device


class PyTorchEncoder(Encoder):
    """A network in evaluation mode, float32, any number of points from k upwards.

    On the CPU a batch goes through cloud by cloud, each on torch's threads, so that memory and result are those of
    single clouds. In a forked child torch is kept to one thread, as in the workers of its own DataLoader.

    Args:
        path: A `.safetensors` file of `crosspoint train`, `import` or `save_model`.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.
        neighbours: As for `set_neighbours`; by default as the file says.

    Raises:
        InputError: The file is damaged or holds no point-cloud model, or the device is not there or full.
        MissingDependency: torch is not installed.
    """

    def __init__(self, path: Path, device: str = "cpu", *, neighbours: int | None = None) -> None:
        index = parse_device(device)
        torch = require("torch", "train", purpose="running .safetensors weights")
        from crosspoint.models.weights import read_weights

        if index is not None and index >= torch.cuda.device_count():
            raise InputError(
                f"device {device} was asked for, and torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
                "devices; give --device cpu, or install a CUDA build of torch and NVIDIA's driver"
            )
        _leave_lost_threads()
        weights = read_weights(path)
        model: Any = weights.network()
        config = model.config
        if config["architecture"] == "resnet":
            raise InputError(f"{path} holds an image encoder; give the point encoder beside it, encoder.safetensors")
        self._device = torch.device("cpu" if index is None else f"cuda:{index}")
        try:
            self._model: Any = model.to(self._device)
        except RuntimeError as error:  # its memory is full, or CUDA was in use before a fork
            raise InputError(f"{path} cannot be put on {self._device}: {reason_of(error, 300)}") from error
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
        self._arguments = {"path": path.absolute(), "device": device, "neighbours": neighbours}
        if neighbours is not None:
            self.set_neighbours(neighbours)

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """A forward pass for each cloud, on CUDA one for all."""
        self._check_usable()
        _leave_lost_threads()
        model, batch = self._model, len(inputs["points"])
        at_once = 1 if self._device.type == "cpu" else batch
        result = np.empty(0, np.float32)
        try:
            for start in range(0, batch, at_once):
                made = self._forward(model, {name: array[start : start + at_once] for name, array in inputs.items()})
                if start == 0:
                    result = np.empty((batch, *made.shape[1:]), np.float32)
                result[start : start + at_once] = made
        except RuntimeError as error:
            raise InputError(
                f"{self.specification.path} failed on points {inputs['points'].shape} ({reason_of(error, 300)}); give "
                "it fewer points, or a smaller batch"
            ) from error
        return {"embedding" if self.specification.categories is None else "logits": result}

    def _forward(self, model: Any, inputs: Mapping[str, FloatArray]) -> FloatArray:
        import torch

        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self._device) for name, array in inputs.items()}
            result: FloatArray = model(**tensors).float().cpu().numpy()
        return result

    def set_neighbours(self, k: int) -> None:
        """Build the graphs of all following calls with k neighbours instead of those it was trained with.

        Calls in progress in other threads end first, with the number that they began with.
        """
        with self._alone():
            self._check_usable()
            layers = [module for module in self._model.modules() if hasattr(module, "k")]
            if not layers:
                raise InputError(
                    f"{self.specification.path} has no neighbour graphs ({self.specification.architecture})"
                )
            if k < 1:
                raise InputError(f"k is {k}; give at least 1 neighbour")
            for layer in layers:
                layer.k = k
            self.specification = dataclasses.replace(self.specification, min_points=k)
            self._arguments = {**self._arguments, "neighbours": k}

    def _free(self) -> None:
        """Let go of the weights."""
        self._model = None


_lost_threads = False  # whether torch's threads stayed in the process that this one was forked from


def _in_child() -> None:
    global _lost_threads
    _lost_threads = "torch" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _leave_lost_threads() -> None:
    """Without this, torch would wait for them for ever."""
    if _lost_threads:
        import torch

        torch.set_num_threads(1)
