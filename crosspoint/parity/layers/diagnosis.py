"""What `crosspoint diagnose` finds: errors layer by layer, the faults behind them, and what to do."""

from dataclasses import dataclass
from typing import ClassVar

from crosspoint.core.results import Result
from crosspoint.runtime.encoder import Specification


@dataclass(frozen=True)
class LayerErrors:
    """Worst and median of some clouds at a layer; attributes as of `Difference`."""

    total_max: float
    total_median: float
    introduced_max: float
    introduced_median: float
    channel_max: float
    overlap_min: float | None
    own_overlap_min: float | None


@dataclass(frozen=True)
class LayerResult:
    """A layer of a diagnosis.

    Attributes:
        name: Of the layer.
        inputs: The tensors that it is made from.
        parts: Whether it adds a difference of its own.
        usual: Errors on ordinary or the user's clouds.
        hostile: Errors on clouds that hurt.
    """

    name: str
    inputs: list[str]
    parts: bool
    usual: LayerErrors
    hostile: LayerErrors


@dataclass(frozen=True)
class CauseResult:
    """A fault of a layer, and the names of the clouds that show it."""

    layer: str
    kind: str
    text: str
    advice: str
    facts: dict[str, object]
    clouds: list[str]


@dataclass(frozen=True)
class Diagnosis(Result):
    """What `diagnose` found.

    Attributes:
        reference: The model to be equal to.
        candidate: The model in question.
        clouds: How many `usual` and `hostile` ones of how many `points`.
        limits: On what a layer may add to a channel (`introduced`), and on right neighbours (`overlap`).
        layers: In order.
        causes: Of every layer that adds a difference of its own.
        advice: What to do, in one sentence.
        passed: Whether the models are two forms of one network.
    """

    schema: ClassVar[str] = "crosspoint.diagnose/1"

    reference: Specification
    candidate: Specification
    clouds: dict[str, int]
    limits: dict[str, float]
    layers: list[LayerResult]
    causes: list[CauseResult]
    advice: str
    passed: bool
