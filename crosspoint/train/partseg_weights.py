"""The pretrained backbone that part segmentation starts from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from crosspoint.core.files import sha256
from crosspoint.errors import InputError
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone
from crosspoint.models.weights import load_model
from crosspoint.runtime.load import WEIGHTS

HOW = "pretrain one: crosspoint train --set backbone=dgcnn_seg"


@dataclass(frozen=True)
class Initial:
    """Where the weights of a backbone come from.

    Attributes:
        path: The file.
        sha256: Of the file.
        architecture: The network in the file, `dgcnn_seg` or `dgcnn_partseg`.
        k: Neighbours that it was trained with.
        tensors: How many tensors of the backbone it fills: all of them.
    """

    path: str
    sha256: str
    architecture: str
    k: int
    tensors: int

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, JSON-serialisable."""
        return asdict(self)

    def describe(self, k: int) -> str:
        """One line on what is loaded and what is not, into a segmenter with `k` neighbours."""
        line = f"the backbone ({self.tensors} tensors) of {self.path}, {self.architecture}; the head starts anew"
        return line if k == self.k else f"{line}; it was trained with k = {self.k}, this run has k = {k}"


def find_initial(model: Path) -> Initial:
    """What a run folder or a `.safetensors` file gives a segmenter to start from.

    Raises:
        InputError: There is no such file, or it holds no segmentation backbone.
    """
    path = _file(model)
    backbone, architecture = _backbone(path)
    return Initial(str(path.resolve()), sha256(path), architecture, backbone.k, len(backbone.state_dict()))


def load_initial(initial: Initial, network: DGCNNSegmenter) -> None:
    """Fill a segmenter's backbone.

    Raises:
        InputError: The file is not what it was when the run was started.
    """
    path = Path(initial.path)
    if not path.is_file() or sha256(path) != initial.sha256:
        raise InputError(f"{path} is not the file that the run was started from; put it back or start a new run")
    backbone, _ = _backbone(path)
    network.backbone.load_state_dict(backbone.state_dict())


def _file(model: Path) -> Path:
    path = next((model / name for name in WEIGHTS if (model / name).is_file()), None) if model.is_dir() else model
    if path is None or not path.exists():
        raise InputError(
            f"{model} holds no {' or '.join(WEIGHTS)}; give --from a run folder or a .safetensors file, or {HOW}"
        )
    if path.suffix in (".pth", ".pt", ".t7"):
        raise InputError(f"{path} is a PyTorch checkpoint; convert it first: crosspoint import {path} --k 40 --out …")
    return path


def _backbone(path: Path) -> tuple[SegmentationBackbone, str]:
    model: nn.Module = load_model(path)
    backbone = model.backbone if isinstance(model, DGCNNSegmenter) else model
    architecture = str(model.config["architecture"])  # type: ignore[index]
    if not isinstance(backbone, SegmentationBackbone):
        raise InputError(f"{path} holds {architecture}, which does not fit a segmenter's backbone, dgcnn_seg; {HOW}")
    broken = next((name for name, tensor in backbone.state_dict().items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise InputError(f"{path} holds NaN or infinite weights ({broken}); give an earlier checkpoint")
    return backbone, architecture
