"""The results of commands (`--json`) as the report reads them: frozen dataclasses, parsed once.

Shares are fractions of 1, numbers of the paper's tables are per cent; intervals are 95 % intervals.
"""

from dataclasses import dataclass, field
from typing import ClassVar

Interval = tuple[float, float]


class Result:
    """A file of the schema `crosspoint.KIND/1`."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Model:
    """The model that a result is about; `backend` and `device` where an encoder ran it."""

    path: str = ""
    sha256: str = ""
    architecture: str = ""
    precision: str = ""
    backend: str | None = None
    device: str = ""
    dim: int | None = None
    depth: int | None = None


@dataclass(frozen=True)
class Paired:
    """Two models on the same objects, see `crosspoint.eval.metrics.statistics.paired`."""

    objects: int
    reference_accuracy: float
    candidate_accuracy: float
    equal_predictions: float
    mcnemar_p: float
    difference: float
    interval: Interval | None


@dataclass(frozen=True)
class Reference:
    """The model of `--against`."""

    model: Model


@dataclass(frozen=True)
class LabelledData:
    """A classification set."""

    format: str
    train: int
    test: int | None
    points: int
    test_from: str = "the test split"


@dataclass(frozen=True)
class Accuracy:
    """Accuracy by one rule, and the mean over classes."""

    accuracy: float
    interval: Interval
    rule: str
    class_accuracy: float


@dataclass(frozen=True)
class ClassRow:
    """Accuracy of one class by the clean rule; None where no object of it was tested."""

    name: str = field(metadata={"key": "class"})
    objects: int
    clean: float | None


@dataclass(frozen=True)
class SvmAgainst:
    """The paired comparison by either rule."""

    model: Model
    official: Paired
    clean: Paired


@dataclass(frozen=True)
class Svm(Result):
    """`crosspoint eval svm`."""

    kind: ClassVar[str] = "svm"
    model: Model
    data: LabelledData
    official: Accuracy
    clean: Accuracy
    per_class: tuple[ClassRow, ...]
    against: SvmAgainst | None = None


@dataclass(frozen=True)
class Task:
    """Few-shot tasks of one kind."""

    ways: int
    shots: int
    queries_from: str
    mean: float
    std: float | None
    standard_error: float | None
    against: Paired | None = None


@dataclass(frozen=True)
class FewShot(Result):
    """`crosspoint eval fewshot`."""

    kind: ClassVar[str] = "fewshot"
    model: Model
    data: LabelledData
    runs: int
    tasks: tuple[Task, ...]
    against: Reference | None = None


@dataclass(frozen=True)
class Severity:
    """Accuracy at one severity of a corruption."""

    severity: float
    accuracy: float
    interval: Interval
    against: Paired | None = None


@dataclass(frozen=True)
class Corrupted:
    """One model under one corruption."""

    model: Model
    corruption: str
    rows: tuple[Severity, ...]


@dataclass(frozen=True)
class Robustness(Result):
    """`crosspoint eval robustness`."""

    kind: ClassVar[str] = "robustness"
    data: LabelledData
    curves: tuple[Corrupted, ...]
    remarks: tuple[str, ...]
    against: Reference | None = None


@dataclass(frozen=True)
class PartData:
    """A part-segmentation set."""

    test: int
    points: int
    categories: int
    parts: int


@dataclass(frozen=True)
class PartRun:
    """One choice of points."""

    point_accuracy: float


@dataclass(frozen=True)
class Miou:
    """Mean IoU by one rule; `std` over `runs` where points were chosen several times."""

    rule: str
    instance_miou: float
    class_miou: float
    interval: Interval | None
    point_accuracy: float | None = None
    std: float | None = None
    runs: tuple[PartRun, ...] = ()

    @property
    def points_right(self) -> float | None:
        """Share of the points with the right part, the mean over the runs."""
        if not self.runs:
            return self.point_accuracy
        return sum(run.point_accuracy for run in self.runs) / len(self.runs)


@dataclass(frozen=True)
class CategoryRow:
    """Mean IoU of one category, and IoU of its parts by name."""

    category: str
    objects: int
    official: float
    clean: float
    parts: dict[str, float]


@dataclass(frozen=True)
class MiouDifference:
    """Instance mIoU of two models on the same points."""

    reference: float
    candidate: float
    difference: float
    interval: Interval | None
    largest_of_an_object: float


@dataclass(frozen=True)
class Labels:
    """Labels of two segmenters on the same points."""

    reference: Model
    equal_labels: float
    objects_with_all_equal: float
    least_equal: float
    differing_points: int
    largest_margin: float
    points: Paired
    instance_miou: MiouDifference


@dataclass(frozen=True)
class PartSegmentation(Result):
    """`crosspoint eval partseg`."""

    kind: ClassVar[str] = "partseg"
    model: Model
    data: PartData
    official: Miou
    clean: Miou
    per_category: tuple[CategoryRow, ...]
    against: Labels | None = None


@dataclass(frozen=True)
class ImageData:
    """Pictures: how many classes to train, to choose C and to test, and whether they are CIFAR-FS."""

    classes: tuple[int, ...]
    published: bool


@dataclass(frozen=True)
class ImageScore:
    """Mean accuracy over tasks by one rule, and the C of the logistic regression."""

    mean: float
    std: float
    interval: Interval
    c: float = field(metadata={"key": "C"})
    against: Paired | None = None


@dataclass(frozen=True)
class ImageRow:
    """One method with one number of labelled pictures per class."""

    method: str
    shots: int
    official: ImageScore
    clean: ImageScore


@dataclass(frozen=True)
class ImageFewShot(Result):
    """`crosspoint eval image-fewshot`."""

    kind: ClassVar[str] = "image-fewshot"
    model: Model
    data: ImageData
    ways: int
    queries: int
    tasks: int
    rfs: dict[str, object]
    rows: tuple[ImageRow, ...]
    against: Reference | None = None


@dataclass(frozen=True)
class Floor:
    """The least that an exact evaluation takes: floating-point operations and bytes of a cloud, time of a call."""

    operations: float
    bytes: float
    call_ms: float | None


@dataclass(frozen=True)
class Machine:
    """The measured speed of the CPU."""

    gflops: float
    gigabytes: float


@dataclass(frozen=True)
class Timing:
    """One model's calls, in milliseconds."""

    model: str
    device: str
    engine: str
    architecture: str
    precision: str
    points: int
    threads: int | None
    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    first_call_ms: float
    clouds_per_second: float
    memory_bytes: float | None
    floor: Floor | None


@dataclass(frozen=True)
class NotRun:
    """A model that could not be run, and why."""

    model: str
    backend: str
    device: str
    reason: str


@dataclass(frozen=True)
class Bench(Result):
    """`crosspoint bench`."""

    kind: ClassVar[str] = "bench"
    processor: str
    machine: Machine | None
    batch: int
    threads: int
    rows: tuple[Timing, ...]
    not_run: tuple[NotRun, ...]


@dataclass(frozen=True)
class PaperNumber:
    """A number of the paper, in per cent."""

    value: float
    spread: float | None


@dataclass(frozen=True)
class Measured:
    """Our number, in per cent, and what its standard deviation is over."""

    mean: float
    std: float | None
    over: str
    interval: Interval | None


@dataclass(frozen=True)
class Line:
    """A row of a reproduced table."""

    method: str
    setting: str
    paper: PaperNumber | None
    official: Measured | None
    clean: Measured | None


@dataclass(frozen=True)
class ReproducedData:
    """Whether a set has the counts and names of the published one."""

    published: bool


@dataclass(frozen=True)
class Reproduction(Result):
    """`crosspoint reproduce`; rules and models by name and role."""

    kind: ClassVar[str] = "reproduce"
    target: str
    title: str
    source: str
    data: tuple[ReproducedData, ...]
    models: dict[str, tuple[Model, ...]]
    rules: dict[str, str]
    rows: tuple[Line, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Numeric:
    """Embeddings of the same clouds by two models: relative L2 errors and cosines.

    Of fp32 models also how many clouds are over the limit, how many of those a near tie explains, and the largest error
    of the others.
    """

    clouds: str
    relative_l2_max: float
    relative_l2_p99: float
    relative_l2_median: float
    cosine_min: float
    over_limit: int | None = None
    explained: int | None = None
    relative_l2_unexplained: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What the gate of a precision measured."""

    rule: str
    limit: float
    measured: float | None
    would_pass_at: float | None
    passed: bool
    worst: str | None = None


@dataclass(frozen=True)
class ParityData:
    """The clouds that two models were compared on."""

    clouds: int


@dataclass(frozen=True)
class Parity(Result):
    """`crosspoint parity`."""

    kind: ClassVar[str] = "parity"
    reference: Model
    candidate: Model
    data: ParityData
    numeric: tuple[Numeric, ...]
    task: Paired | None
    gate: Verdict
    passed: bool


@dataclass(frozen=True)
class Step:
    """A step of the quickstart."""

    name: str
    seconds: float
    status: str


@dataclass(frozen=True)
class Summary(Result):
    """`crosspoint quickstart`; accuracies by model and rule."""

    kind: ClassVar[str] = "quickstart"
    seed: object = None
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Objects:
    """What a run was trained on."""

    objects: int | None = None


@dataclass(frozen=True)
class Run:
    """`config.json` of a training run."""

    recipe: dict[str, object] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    data: Objects = field(default_factory=Objects)
    device: str = ""


@dataclass(frozen=True)
class Engine:
    """The TensorRT engine of a bundle."""

    builder: str
    version: str
    targets: tuple[str, ...]
    executed: bool
    status: str


@dataclass(frozen=True)
class Profile:
    """Smallest, usual and largest number of clouds and of points; points None where they are fixed."""

    batch: tuple[int, int, int]
    points: tuple[int, int, int] | None


@dataclass(frozen=True)
class Precision:
    """The precision asked for, and what was read back from the files."""

    asked: str
    read_back: str


@dataclass(frozen=True)
class ExportGate:
    """What the export measured before it wrote the bundle."""

    candidate: str
    reference: str
    limits: dict[str, float]
    relative_l2_max: float
    cosine_min: float
    overlap_min: float | None
    cases: tuple[object, ...]


@dataclass(frozen=True)
class Bundle:
    """`manifest.json` of an export."""

    engine: Engine | None
    profile: Profile
    precision: Precision
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    parity: ExportGate | None = None
    versions: dict[str, str] = field(default_factory=dict)
