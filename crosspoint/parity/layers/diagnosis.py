"""What `crosspoint diagnose` finds: errors layer by layer, the faults behind them, and what to do."""

from dataclasses import dataclass, field
from typing import ClassVar

from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame
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
class NeighbourCounts:
    """Of another k: the reference's and the candidate's."""

    k: list[int]


@dataclass(frozen=True)
class NeighbourFacts:
    """Of other neighbours.

    Attributes:
        overlap: Share of right neighbours.
        overlap_centred: The same where each cloud's mean is subtracted first.
        types: Precisions of the distances.
    """

    overlap: float
    overlap_centred: float
    types: list[str]


@dataclass(frozen=True)
class ChannelFacts:
    """The channels that are wrong."""

    channels: list[int]


@dataclass(frozen=True)
class WeightFacts(ChannelFacts):
    """Of other weights: how many there are in the channels."""

    weights: int


@dataclass(frozen=True)
class NormalisationFacts(ChannelFacts):
    """Of another batch normalisation: by how much each of the channels is scaled and shifted."""

    scales: list[float]
    shifts: list[float]


@dataclass(frozen=True)
class OneWeightFacts:
    """Of a single other weight: its input and channel, and its value in both models."""

    input: int
    channel: int
    before: float
    after: float


Facts = NeighbourCounts | NeighbourFacts | ChannelFacts | OneWeightFacts


@dataclass(frozen=True)
class CauseResult:
    """A fault of a layer, and the names of the clouds that show it."""

    layer: str
    kind: str
    text: str
    advice: str
    facts: Facts
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
        frame: In which the user's clouds are stored; None of synthetic ones.
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
    frame: Frame | None = field(default=None, metadata=OPTIONAL)
