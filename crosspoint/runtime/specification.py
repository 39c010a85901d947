"""What a loaded model is: its network, the inputs that it takes, and where it runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from crosspoint.core.errors import InputError
from crosspoint.core.results import OPTIONAL
from crosspoint.runtime.classifier import ClassifierInfo

OR_IMPORT = "or convert the checkpoint that it was made from: crosspoint import"


@dataclass(frozen=True)
class Specification:
    """Describes a loaded model and the inputs that it takes.

    Attributes:
        architecture: Architecture of the network, e.g. `"dgcnn"`; `"unknown"` for an ONNX file of another origin.
        dim: Width of the embedding, or the number of parts of a segmenter.
        points: The number of points it takes, if fixed; None for a range.
        max_batch: Most clouds in one call of the backend; larger batches are split. None: no limit.
        precision: `"fp32"`, `"fp16"`, `"bf16"` or `"int8"`, as read back from the file.
        backend: `"pytorch"`, `"onnxruntime"`, `"onnxruntime-tensorrt"`, `"tensorrt"` or `"tensorrt-rtx"`.
        device: `"cpu"` or `"cuda:<index>"`, where it really runs.
        sha256: SHA-256 of the loaded file.
        path: Path of the loaded file.
        min_points: Least number of points of a cloud.
        max_points: Largest number of points of a cloud; None: no limit.
        min_batch: Fewest clouds in one call of the backend; smaller batches are padded, and the padding is removed.
        categories: Width of the one-hot category that a part segmenter takes; None for an encoder.
        engine: Name and version of the library that runs it.
        classifier: Classes and threshold of a classifier; None for a plain encoder.
    """

    architecture: str
    dim: int
    points: int | None
    max_batch: int | None
    precision: str
    backend: str
    device: str
    sha256: str
    path: str
    min_points: int = 1
    max_points: int | None = None
    min_batch: int = 1
    categories: int | None = None
    engine: str = ""
    classifier: ClassifierInfo | None = field(default=None, metadata=OPTIONAL)

    def check_points(self, count: int) -> None:
        """Raise InputError if the model does not take clouds of `count` points; the message says what it takes."""
        low = self.points or self.min_points
        high = self.points or self.max_points
        if count < low or (high is not None and count > high):
            fits = f"exactly {low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            raise InputError(f"{self.path} takes {fits} points per cloud, not {count}; sample that many")


def interface(path: object, inputs: Iterable[str], *, outputs: Iterable[str]) -> str:
    """The main output, `"embedding"` or `"logits"`, from the names of a file's inputs and outputs.

    Raises:
        InputError: The names are those of neither an encoder nor a part segmenter.
    """
    given, made = sorted(inputs), sorted(outputs)
    for wanted, output in ((["points"], "embedding"), (["category", "points"], "logits")):
        if given == wanted and output in made:
            return output
    raise InputError(
        f"{path} maps {', '.join(given)} to {', '.join(made)}; an encoder maps points to embedding, "
        f"a segmenter points and category to logits: rename its inputs and outputs, {OR_IMPORT}"
    )


def parse_device(device: str) -> int | None:
    """CUDA index of `"cuda"` or `"cuda:<index>"`; None for `"cpu"`.

    Raises:
        InputError: Anything else.
    """
    if device == "cpu":
        return None
    name, colon, index = device.partition(":")
    if name == "cuda" and (not colon or (index.isascii() and index.isdigit())):
        return int(index or 0)
    raise InputError(f"unknown device {device!r}; give cpu, cuda or cuda:<index>")
