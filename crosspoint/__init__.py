"""CrossPoint: label-free pretraining, TensorRT export and edge inference for point-cloud encoders."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crosspoint.runtime.encoder import Encoder

# ONNX Runtime looks at this when it is first imported; unset, it keeps a device's number and a queue of events in the
# user's cache and sends them to its maker. It stays as the user has set it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(model: Path | str, device: str = "cpu", backend: str | None = None) -> "Encoder":
    """Open a model that comes with the package by its name, `"dgcnn"` or `"pointnet"`, or any other by its path.

    The same as `crosspoint.runtime.load_encoder`, which says what is taken and raised. Nothing is fetched from the
    network, and PyTorch is needed for the backend `"pytorch"` alone.

    Example:
        >>> with crosspoint.load("dgcnn") as encoder:      # doctest: +SKIP
        ...     embeddings = encoder.embed(points)         # (B, N, 3) to (B, 2048)
    """
    from crosspoint.runtime.load import load_encoder

    return load_encoder(model, device, backend)
