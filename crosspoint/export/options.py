"""Options that few exports need."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosspoint.export.engine.builder import Options
from crosspoint.runtime.classifier import Classifier


@dataclass(frozen=True)
class ExportOptions:
    """How the engine is built, and what is exported besides the network.

    Attributes:
        builder: `"tensorrt"`, `"rtx"`, `"auto"` (TensorRT where it can run, else RTX), or `"device"`: a script in the
            bundle builds the engine on the machine that will run it.
        target: GPUs of a TensorRT-RTX engine, e.g. `("sm86", "sm89")`.
        build: TF32, workspace and timing cache of the build.
        projection: Append the projection head, whose weights lie beside the encoder's.
        triton: NVIDIA Triton model repository to write the model to as well.
        sign: Private key of `crosspoint keygen` that signs the bundle.
        keep_fp32: Layers of an int8 export that stay float32: names, or their first parts, e.g. `("edge4",)`.
        k: Number of neighbours, if the model is a checkpoint of another repository, which does not say it.
        classifier: Head to put behind the encoder; by default that of the model, where it is a classifier.
    """

    builder: str = "auto"
    target: Sequence[str] = ()
    build: Options = Options()
    projection: bool = False
    triton: Path | None = None
    sign: Path | None = None
    keep_fp32: Sequence[str] = ()
    k: int | None = None
    classifier: Classifier | None = None
