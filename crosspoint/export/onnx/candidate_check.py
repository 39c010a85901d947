"""Checks a graph before it may be exported: the parity gate, and accuracy on labelled data."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from crosspoint.core.errors import CheckFailed
from crosspoint.export.manifest import ExportParity
from crosspoint.export.onnx.graph_probe import GraphProbe
from crosspoint.export.onnx.graph_view import LOW
from crosspoint.export.onnx.precision import emulate
from crosspoint.parity.accuracy import SvmAccuracy
from crosspoint.parity.clouds import CLOUDS
from crosspoint.parity.gate import Gate, Report, batch_sizes
from crosspoint.parity.limits import require_accuracy, require_scores
from crosspoint.parity.part_accuracy import PartAccuracy
from crosspoint.parity.scores import ScoreAgreement
from crosspoint.parity.task import TaskCheck
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.profile import Profile

CPU = "onnxruntime on the CPU"
EMULATION = "emulation in float32, every {} value rounded"
EXECUTED = "executed, passed the parity gate"
NOT_EXECUTED = "built, not executed: {}; an emulation passed the parity gate"  # why bf16 does not run here


@dataclass(frozen=True)
class CandidateCheck:
    """The reference that exported graphs are compared with.

    Attributes:
        gate: The parity gate of the trained network in float64.
        profile: Shapes of the export.
        accuracy: The trained network's SVM or, for a part segmenter, its labels; None without labelled data.
        max_drop: Largest loss of accuracy or mIoU, in percentage points.
        tuning: What int8's search is judged by, on clouds that `accuracy` is not measured on; None: by `accuracy`, as
            there are no others.
    """

    gate: Gate
    profile: Profile
    accuracy: SvmAccuracy | PartAccuracy | ScoreAgreement | None
    max_drop: float
    tuning: SvmAccuracy | None = None

    @property
    def categories(self) -> int | None:
        """Width of the one-hot category that a part segmenter takes; None for an encoder."""
        category = self.gate.clouds[0].inputs.get("category")
        return None if category is None else category.shape[1]

    def check(self, name: str, model: onnx.ModelProto, *, precision: str) -> ExportParity:
        """Check a graph; returns how it passed, for the manifest.

        On the CPU fp16 and bf16 graphs are rounded less often than on a GPU, and bf16 graphs run with AVX512-BF16 only.
        Both are therefore also emulated in float32: how that passed is in `emulation`, or alone where the graph does
        not run. Accuracy is measured on the graph that rounds most.

        Raises:
            CheckFailed: The parity gate or the accuracy failed.
        """
        results = []
        for candidate, graph in self._runs(model, precision):
            label = name if candidate == CPU else f"{name} ({candidate})"
            report = self._check(label, graph, precision, batch_sizes(self.profile))
            results.append(replace(report, candidate=candidate).result())
        first, *others = results
        emulation = others[0] if others else None
        why = _why_not(model, precision)
        status = NOT_EXECUTED.format(why) if why else EXECUTED
        task = self.measure(model, precision)
        if task is not None:
            require_scores(name, task.task)
            require_accuracy(name, task.task, max_drop=self.max_drop)
        return ExportParity(first, status, emulation, task)

    def finds_neighbours(self, model: onnx.ModelProto, precision: str) -> bool:
        """Whether the neighbour graphs of a candidate are within the limits, in one batch size only."""
        candidate, graph = self._runs(model, precision)[-1]
        try:
            self._check(candidate, graph, precision, [CLOUDS])
        except CheckFailed:
            return False
        return True

    def _check(self, label: str, graph: onnx.ModelProto, precision: str, batches: list[int]) -> Report:
        with opened(graph) as (path, encoder), GraphProbe(path) as probe:
            try:
                return self.gate.check(encoder, precision, graphs=probe, batches=batches, name=label)
            except CheckFailed as error:  # the encoder's own checks name the temporary file
                raise CheckFailed(f"{str(error).replace(str(path), label)}; nothing was written") from error

    def tune(self, model: onnx.ModelProto, precision: str) -> TaskCheck | None:
        """Like `measure`, on the clouds that a search may see."""
        return replace(self, accuracy=self.tuning or self.accuracy).measure(model, precision)

    def measure(self, model: onnx.ModelProto, precision: str) -> TaskCheck | None:
        """SVM accuracy or mIoU of the trained network and of a graph; None without labelled data."""
        if self.accuracy is None:
            return None
        candidate, graph = self._runs(model, precision)[-1]
        with opened(graph) as (_, encoder):
            return TaskCheck(candidate, self.accuracy.compare(encoder), self.max_drop)

    def _runs(self, model: onnx.ModelProto, precision: str) -> list[tuple[str, onnx.ModelProto]]:
        """The graphs that the CPU can run, with their names; the one that rounds most is last."""
        runs = [] if _why_not(model, precision) else [(CPU, model)]
        if precision in LOW:
            runs.append((EMULATION.format(precision), emulate(model)))
        return runs


def _why_not(model: onnx.ModelProto, precision: str) -> str:
    """Why a graph does not run on this CPU; empty if it does."""
    if precision != "bf16":
        return ""
    if why := kernels.lacks_bf16():
        return why
    # ONNX Runtime alone has no bf16 arithmetic on the CPU
    return "" if kernels.with_kernels(model.SerializeToString()) else "the CPU operators do not take this graph"


@contextmanager
def opened(model: onnx.ModelProto) -> Iterator[tuple[Path, OnnxEncoder]]:
    """Write a graph to a temporary file and open it in ONNX Runtime on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candidate.onnx"
        onnx.save(model, path)
        with OnnxEncoder(path) as encoder:
            yield path, encoder
