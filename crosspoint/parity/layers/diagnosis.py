"""The result of `crosspoint diagnose`: errors by layer, their causes, and what to do."""

from dataclasses import dataclass, field
from typing import ClassVar

from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame
from crosspoint.runtime.specification import Specification


@dataclass(frozen=True)
class LayerErrors:
    """Worst and median errors at a layer over some clouds; the attributes are those of `Difference`."""

    total_max: float
    total_median: float
    introduced_max: float
    introduced_median: float
    channel_max: float
    overlap_min: float | None
    own_overlap_min: float | None


@dataclass(frozen=True)
class LayerResult:
    """The result for a layer.

    Attributes:
        name: Name of the layer.
        inputs: Names of its input tensors.
        parts: Whether it adds a difference of its own.
        usual: Errors on ordinary clouds, or on the user's.
        hostile: Errors on hostile clouds.
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
    """The result of `diagnose`.

    Attributes:
        reference: The reference model.
        candidate: The model to check.
        clouds: Numbers of `usual` and `hostile` clouds, and of `points`.
        limits: Limits on the error that a layer adds to a channel (`introduced`) and on right neighbours (`overlap`).
        layers: Results of the layers, in order.
        causes: Causes of every layer that adds a difference of its own.
        advice: What to do, in one sentence.
        passed: Whether the models agree within the limits.
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
