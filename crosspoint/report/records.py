"""Files that are not results, as the report reads them: `config.json`, a manifest, the quickstart's summary."""

from dataclasses import dataclass, field
from typing import ClassVar

from crosspoint.core.results import Result
from crosspoint.parity.gate_result import GateResult
from crosspoint.runtime.manifest import EngineInfo
from crosspoint.runtime.profile import Profile


@dataclass(frozen=True)
class TrainedOn:
    """The training data of a run."""

    objects: int | None = None


@dataclass(frozen=True)
class RunConfig:
    """`config.json` of a training run."""

    recipe: dict[str, object] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    data: TrainedOn = field(default_factory=TrainedOn)
    device: str = ""


@dataclass(frozen=True)
class PrecisionEntry:
    """The precision asked for, and what was read back from the files."""

    asked: str
    read_back: str


@dataclass(frozen=True)
class BundleFacts:
    """`manifest.json` of an export; whoever opens its files reads it by `crosspoint.runtime.manifest`.

    Attributes:
        engine: None where the bundle holds no TensorRT engine.
        profile: Shapes that it is for.
        precision: Of the files.
        inputs: Shapes by name.
        outputs: Likewise.
        parity: What the export measured before it wrote the bundle.
        versions: Of the packages that made it.
    """

    engine: EngineInfo | None
    profile: Profile
    precision: PrecisionEntry
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    parity: GateResult | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class QuickstartStep:
    """A step of the quickstart: its name, its seconds, and what came of it."""

    name: str
    seconds: float
    status: str


@dataclass(frozen=True)
class QuickstartSummary(Result):
    """`quickstart.json`, which may be of an interrupted quickstart; accuracies by model and rule."""

    schema: ClassVar[str] = "crosspoint.quickstart/1"

    seed: object = None
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    steps: tuple[QuickstartStep, ...] = ()
