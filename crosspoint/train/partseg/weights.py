"""The pretrained backbone from which part segmentation starts."""

from dataclasses import dataclass
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone
from crosspoint.models.weights import Weights, read_weights
from crosspoint.runtime.load import WEIGHTS
from crosspoint.runtime.released import resolve

HOW = "pretrain one: crosspoint train --set backbone=dgcnn_seg"


@dataclass(frozen=True)
class Initial:
    """Where the weights of a backbone come from.

    Attributes:
        path: The file.
        sha256: SHA-256 of the file.
        architecture: The network in the file, `dgcnn_seg` or `dgcnn_partseg`.
        k: Number of neighbours in its training.
        tensors: Number of tensors of the backbone, all of which it fills.
    """

    path: str
    sha256: str
    architecture: str
    k: int
    tensors: int

    def describe(self, k: int) -> str:
        """One line about what is loaded into a segmenter with `k` neighbours."""
        line = f"the backbone ({self.tensors} tensors) of {self.path}, {self.architecture}; the head starts anew"
        return line if k == self.k else f"{line}; it was trained with k = {self.k}, this run has k = {k}"


def find_initial(model: Path) -> Initial:
    """Find the initial weights in a run folder or a `.safetensors` file.

    Raises:
        InputError: The file does not exist, or holds no segmentation backbone.
    """
    weights = read_weights(_file(model))
    backbone = _backbone(weights)
    path, architecture = str(weights.path.resolve()), str(weights.config["architecture"])
    return Initial(path, weights.sha256, architecture, backbone.k, len(backbone.state_dict()))


def load_initial(initial: Initial, network: DGCNNSegmenter) -> None:
    """Load the weights into a segmenter's backbone.

    Raises:
        InputError: The file has changed since the run was started.
    """
    path = Path(initial.path)
    weights = read_weights(path) if path.is_file() else None
    if weights is None or weights.sha256 != initial.sha256:
        raise InputError(f"{path} is not the file that the run was started from; put it back or start a new run")
    network.backbone.load_state_dict(_backbone(weights).state_dict())


def _file(model: Path) -> Path:
    model = resolve(model, ".safetensors")
    path = next((model / name for name in WEIGHTS if (model / name).is_file()), None) if model.is_dir() else model
    if path is None or not path.exists():
        raise InputError(
            f"{model} holds no {' or '.join(WEIGHTS)}; give --from a run folder or a .safetensors file, or {HOW}"
        )
    if path.suffix in (".pth", ".pt", ".t7"):
        raise InputError(f"{path} is a PyTorch checkpoint; convert it first: crosspoint import {path} --k 40 --out …")
    return path


def _backbone(weights: Weights) -> SegmentationBackbone:
    path, model = weights.path, weights.network()
    backbone = model.backbone if isinstance(model, DGCNNSegmenter) else model
    if not isinstance(backbone, SegmentationBackbone):
        held = weights.config["architecture"]
        raise InputError(f"{path} holds {held}, which does not fit a segmenter's backbone, dgcnn_seg; {HOW}")
    broken = next((name for name, tensor in backbone.state_dict().items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise InputError(f"{path} holds NaN or infinite weights ({broken}); give an earlier checkpoint")
    return backbone
