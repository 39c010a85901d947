"""A bundle's `manifest.json`, as it is written by an export and by a build on the device. Without torch and onnx."""

import json
from dataclasses import dataclass, field
from typing import ClassVar

from crosspoint.core.reading import reading
from crosspoint.core.results import FLAT, OPTIONAL, Result, from_json
from crosspoint.data.frames import Frame, Up
from crosspoint.data.sets.taxonomy import Taxonomy
from crosspoint.parity.gate_result import GateResult
from crosspoint.parity.task import TaskCheck
from crosspoint.runtime.classifier import ClassifierInfo
from crosspoint.runtime.manifest import AGAIN, KIND, NAME, SCHEMA, FileEntry, Manifest
from crosspoint.runtime.profile import Profile


@dataclass(frozen=True)
class WeightsEntry:
    """A file of weights: its name and SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class TrainedWeights(WeightsEntry):
    """The trained weights.

    Attributes:
        projection: Those of the projection head, where the graph has it.
    """

    projection: WeightsEntry | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class Calibration:
    """The clouds that int8 was calibrated with.

    Attributes:
        source: Where they come from, in words.
        clouds: How many.
        points: Of each.
        sha256: Of their float32 bytes.
        method: What the largest value of a tensor is taken to be.
        frame: In which the clouds are stored; None of made ones, and of an earlier version, which turned nothing.
    """

    source: str
    clouds: int
    points: int
    sha256: str
    method: str = "largest magnitude"
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class Gain:
    """What int8 gains.

    Attributes:
        int8_share: Share of the multiply-adds of all layers that are done in int8. Distances are not layers.
        speed: fp32's time divided by int8's: the median of calls in turn. Below 1: int8 is slower.
        fp32_ms: Median time of a cloud in fp32, in milliseconds.
        int8_ms: The same in int8.
        points: Points of the clouds.
        rounds: Number of calls of each.
        where: What ran both.
    """

    int8_share: float
    speed: float
    fp32_ms: float
    int8_ms: float
    points: int
    rounds: int
    where: str


@dataclass(frozen=True)
class Precision:
    """The precision of the ONNX file.

    Attributes:
        asked: What was asked for.
        read_back: What the file holds.
        types: Of all its tensors, e.g. `"fp16+fp32"`.
        layers: Of each matrix product.
        kept: Layers that stay float32.
        calibration: Of int8.
        sensitivity: Of int8: relative L2 error of the output when this layer alone is int8.
        gain: Of int8: its share of the work, and its speed.
    """

    asked: str
    read_back: str
    types: str
    layers: dict[str, str]
    kept: tuple[str, ...]
    calibration: Calibration | None = field(default=None, metadata=OPTIONAL)
    sensitivity: dict[str, float] | None = field(default=None, metadata=OPTIONAL)
    gain: Gain | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a cloud before it is embedded, in words.

    Attributes:
        centre: What becomes the origin.
        scale: What becomes 1.
        sampling: How points are chosen.
        up: The axis that points up then; None where it is not stated, as in the ONNX file.
    """

    centre: str = "mean"
    scale: str = "farthest point at distance 1"
    sampling: str = "random without replacement"
    up: Up | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class BeforeLowering:
    """How the float32 graph passed the gate, before its precision was lowered; attributes as of `GateResult`."""

    tier: str
    limits: dict[str, float]
    relative_l2_max: float
    cosine_min: float
    overlap_min: float | None

    @classmethod
    def of(cls, gate: GateResult) -> "BeforeLowering":
        """What is kept of a gate's result."""
        return cls(gate.tier, gate.limits, gate.relative_l2_max, gate.cosine_min, gate.overlap_min)


@dataclass(frozen=True)
class ExportParity:
    """How the ONNX file passed the gate.

    Attributes:
        gate: The comparisons of what ran.
        status: Whether the file itself was executed, in words.
        emulation: The comparisons of an emulated fp16 or bf16 graph.
        task: Accuracy or mIoU; None without labelled data.
        before_lowering: Of the float32 graph; None where that is what was exported.
    """

    gate: GateResult = field(metadata=FLAT)
    status: str
    emulation: GateResult | None
    task: TaskCheck | None
    before_lowering: BeforeLowering | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class EngineEntry:
    """A TensorRT engine.

    Attributes:
        builder: `"tensorrt"` or `"tensorrt-rtx"`.
        version: Of the builder.
        targets: Compute capabilities that it was built for, e.g. `"sm86"`.
        executed: Whether it was run where it was built.
        status: What was done with it, in words.
        note: Why it is another builder than a user might expect; empty if it is not.
        tf32: Whether matrix products may round their factors to TF32.
        workspace: Most GPU memory of a layer, in MiB; None leaves it to TensorRT.
        timing_cache: Whether kernel timings of an earlier build were used.
        types: How many tensors of the network have each type.
        skipped_tactics: What TensorRT said of kernels that failed and were left out.
        parity: How it passed the gate; None if it was not run.
    """

    builder: str
    version: str
    targets: tuple[str, ...]
    executed: bool
    status: str
    note: str
    tf32: bool
    workspace: int | None
    timing_cache: bool
    types: dict[str, int]
    skipped_tactics: tuple[str, ...]
    parity: GateResult | None


@dataclass(frozen=True)
class OnDevice:
    """How an engine is to be built on the device; attributes as of `EngineEntry`."""

    tf32: bool
    workspace: int | None

    def __post_init__(self) -> None:
        if self.workspace is not None and self.workspace < 1:
            raise ValueError(f"workspace is {self.workspace}")


@dataclass(frozen=True)
class BundleManifest(Result):
    """All that `manifest.json` says.

    Attributes:
        files: Of the bundle, by name.
        model: The network: `architecture`, `k`, ….
        source: The trained weights.
        versions: Of the packages that made it.
        inputs: Shapes by name; a free dimension is a word.
        outputs: The same.
        profile: Shapes that it was made for.
        precision: As asked for, and as read back from the file.
        preprocessing: What is done to a cloud first.
        lint: The rules that the graph passed.
        parity: How the ONNX file passed the gate.
        engine: The TensorRT engine; None without one.
        on_device: How the engine is to be built on the device, if it is to be.
        classifier: Classes and threshold of a classifier.
        taxonomy: Categories and parts of a part segmenter, if its weights name them.
    """

    schema: ClassVar[str] = SCHEMA

    files: dict[str, FileEntry]
    model: dict[str, int | str]
    source: TrainedWeights
    versions: dict[str, str]
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    profile: Profile
    precision: Precision
    preprocessing: Preprocessing
    lint: tuple[str, ...]
    parity: ExportParity
    engine: EngineEntry | None = None
    on_device: OnDevice | None = field(default=None, metadata=OPTIONAL)
    classifier: ClassifierInfo | None = field(default=None, metadata=OPTIONAL)
    taxonomy: Taxonomy | None = field(default=None, metadata=OPTIONAL)


def parse_bundle_manifest(read: Manifest) -> BundleManifest:
    """All that a manifest says whose bytes were read and checked.

    Raises:
        InputError: It is not as an export writes it.
    """
    with reading(read.folder / NAME, KIND, advice=AGAIN):
        return from_json(BundleManifest, json.loads(read.content))
