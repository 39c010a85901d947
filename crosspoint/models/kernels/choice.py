"""Whether the kernels are used: on a GPU, where Triton is, and after they have computed the right values there."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from crosspoint.core.console import announce_once

MOST = 64  # neighbours of a point; more are left to `topk`
TYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class KernelChoice:
    """Whether the kernels are used on a device.

    Attributes:
        used: Whether they are.
        reason: The version of Triton if they are, otherwise why they are not.
    """

    used: bool
    reason: str

    def __str__(self) -> str:
        return self.reason if self.used else f"none: {self.reason}"


_choices: dict[torch.device, KernelChoice] = {}
_off = False


def choose_kernels(device: torch.device) -> KernelChoice:
    """Whether the kernels are used on a device.

    The first call for a GPU compiles all kernels and compares them with their formulas (`check`). If anything differs
    or fails, one line says so, and the operators of PyTorch are used.
    """
    if device.type != "cuda":
        return KernelChoice(False, "not on a GPU")
    if importlib.util.find_spec("triton") is None:
        return KernelChoice(False, "Triton is not installed")
    if device == torch.device("cuda"):  # the current one
        device = torch.device("cuda", torch.cuda.current_device())
    if device not in _choices:
        _choices[device] = _checked(device)
    return _choices[device]


def _checked(device: torch.device) -> KernelChoice:
    try:
        import triton

        from crosspoint.models.kernels.check import find_fault
    except Exception as error:  # a broken installation raises all kinds
        fault: str | None = f"Triton does not load: {error}"
    else:
        fault = find_fault(device)
    if fault is None:
        return KernelChoice(True, f"triton {triton.__version__}")
    announce_once(f"{device}: the fused kernels are not used ({fault}); PyTorch's own operators are, which are slower")
    return KernelChoice(False, fault)


def fused(x: Tensor, k: int = 1) -> bool:
    """Whether the kernels compute with a tensor and k neighbours.

    Not float64, more than 64 neighbours, empty tensors, and what `torch.compile` or `torch.export` traces.
    """
    if x.device.type != "cuda" or _off or x.dtype not in TYPES or not 1 <= k <= MOST or x.numel() == 0:
        return False
    if torch.compiler.is_compiling():
        return False
    if x.device not in _choices and torch.cuda.is_current_stream_capturing():
        return False  # a CUDA graph cannot be captured while kernels are compared
    return choose_kernels(x.device).used


@contextmanager
def without_kernels() -> Iterator[None]:
    """Within the block the operators of PyTorch are used, to compare with them."""
    global _off
    before, _off = _off, True
    try:
        yield
    finally:
        _off = before
