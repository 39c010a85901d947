"""PyTorch backend, for `.safetensors` weights. The only backend that needs torch, which it imports when it opens."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.errors import InputError, require
from crosspoint.core.reading import reason_of
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.inputs import FloatArray
from crosspoint.runtime.specification import Specification, parse_device


class PyTorchEncoder(Encoder):
    """Runs a network in evaluation mode, float32, with any number of points from k upwards.

    On the CPU the clouds of a batch are run one by one, each on torch's threads, so that memory and results are those
    of single clouds. In a forked child torch uses one thread, as in the workers of its DataLoader.

    Args:
        path: A `.safetensors` file of `crosspoint train`, `import` or `save_model`.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.
        neighbours: Number of neighbours k, see `set_neighbours`; None: as in the file.

    Raises:
        InputError: The file is damaged or holds no point-cloud model, or the device is missing or its memory full.
        MissingDependency: torch is not installed.
    """

    def __init__(self, path: Path, device: str = "cpu", *, neighbours: int | None = None) -> None:
        index = parse_device(device)
        torch = require("torch", "train", purpose="running .safetensors weights")
        from crosspoint.models.weights import read_weights

        if index is not None and index >= torch.cuda.device_count():
            raise InputError(
                f"device {device} was asked for, but torch {torch.__version__} finds {torch.cuda.device_count()} CUDA "
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
        except RuntimeError as error:  # the GPU memory is full, or CUDA was in use before a fork
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
        """Run a forward pass: on the CPU one per cloud, on CUDA one per batch."""
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
                "fewer points or a smaller batch"
            ) from error
        return {"embedding" if self.specification.categories is None else "logits": result}

    def _forward(self, model: Any, inputs: Mapping[str, FloatArray]) -> FloatArray:
        import torch

        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self._device) for name, array in inputs.items()}
            result: FloatArray = model(**tensors).float().cpu().numpy()
        return result

    def set_neighbours(self, k: int) -> None:
        """Use k neighbours in all following calls, instead of the number in training.

        Calls in progress in other threads finish first, with their number.
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
        """Drop the weights."""
        self._model = None


_lost_threads = False  # whether torch's threads were lost when this process was forked


def _in_child() -> None:
    global _lost_threads
    _lost_threads = "torch" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _leave_lost_threads() -> None:
    """Use one thread in a forked child: torch would wait for ever for the parent's threads."""
    if _lost_threads:
        import torch

        torch.set_num_threads(1)
