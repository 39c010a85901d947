"""What `crosspoint export` prints."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from crosspoint.core.console import print_table, say
from crosspoint.eval.metrics.statistics import paired_objects
from crosspoint.export.manifest import BundleManifest, ExportParity, Gain, Precision
from crosspoint.parity.gate_result import GateResult
from crosspoint.parity.task import PartTask, ScoreTask, SvmTask, TaskCheck
from crosspoint.runtime.manifest import SCRIPT
from crosspoint.runtime.signing import SIGNATURE

if TYPE_CHECKING:  # it needs torch, which a device that builds an engine has not
    from crosspoint.export.dry_run import EquivalentCommands


def print_export(out: Path, manifest: BundleManifest, *, sign: Path | None = None) -> None:
    """Print the comparisons of the gate, the files, the signing key, and the status of the engine."""
    engine = manifest.engine
    _print_gate(manifest.parity.gate)
    if manifest.parity.emulation is not None:
        _print_gate(manifest.parity.emulation)
    _print_precision(manifest.precision, manifest.parity)
    if engine is not None and engine.parity is not None:
        _print_gate(engine.parity)
    for name, entry in manifest.files.items():
        print(f"{out / name}: {entry.bytes / 1e6:.2f} MB, sha256 {entry.sha256[:16]}")
    if sign is not None:
        print(f"{out / SIGNATURE}: signed with {sign}")
    if engine is not None:
        print(f"engine: {engine.builder} {engine.version} for {', '.join(engine.targets)}: {engine.status}")
        if engine.note:
            print(f"note: {engine.note}")
    elif SCRIPT in manifest.files:
        print(f"engine: not built; copy {out} to the device and run there: sh {out.name}/{SCRIPT}")


def print_commands(commands: "EquivalentCommands") -> None:
    """Print the command lines of other tools, one a line."""
    say("# the ONNX file, in its precision")
    say(commands.export)
    say("# the engine, on the machine that will run it: either of")
    say(commands.trtexec)
    say(commands.polygraphy)
    say(
        "# the engine's network against ONNX Runtime, on random inputs; crosspoint's own check also compares neighbours"
    )
    say(commands.compare)


def _print_precision(precision: Precision, parity: ExportParity) -> None:
    kept = "" if precision.asked == "fp32" else f"; layers in fp32: {', '.join(precision.kept) or 'none'}"
    print(f"precision: {precision.read_back}{kept}; {parity.status}")
    if calibration := precision.calibration:
        print(f"calibrated on {calibration.clouds} clouds of {calibration.points} points: {calibration.source}")
    if parity.task is not None:
        _print_task(parity.task, int8=precision.asked == "int8")
    elif precision.asked == "int8":
        print("accuracy was not measured; give labelled clouds with --verify-data to measure it")
    if precision.gain is not None:
        _print_gain(precision.gain)


def _print_task(check: TaskCheck, *, int8: bool) -> None:
    task, (before, after) = check.task, check.task.scores
    equal = f"; {task.equal_labels:.2%} of the labels are equal" if isinstance(task, PartTask | ScoreTask) else ""
    print(
        f"{task.measure}: {before:.2%} trained, {after:.2%} exported "
        f"({check.candidate}; limit {check.max_drop:g} points lost; {task.objects} clouds{equal})"
    )
    if int8 and isinstance(task, SvmTask):
        _print_interval(task, check.max_drop)
    elif int8 and 0 < check.max_drop < 100 / task.objects:
        print(
            f"warning: one of {task.objects} clouds is worth {100 / task.objects:.2f} points, more than the limit "
            f"{check.max_drop:g}; {math.ceil(100 / check.max_drop)} or more clouds would tell such a loss"
        )
    if isinstance(task, ScoreTask):
        print(
            f"scores: largest error {task.largest_error:.1e} (limit {task.score_limit:g}); novelty: "
            f"{task.largest_novelty_error:.1e} (limit {task.novelty_limit:g}){task.detail}"
        )


def _print_interval(task: SvmTask, max_drop: float) -> None:
    """Say how sure the difference of two accuracies is, and how many objects would tell the limit from chance."""
    low, high = task.interval or (task.difference, task.difference)
    print(f"difference {100 * task.difference:+.2f} points, 95 % interval {100 * low:+.2f} to {100 * high:+.2f}")
    paired = task.paired
    share = (paired.only_reference_right + paired.only_candidate_right) / paired.objects
    needed = paired_objects(share, half_width=max_drop / 100) if max_drop > 0 else 0
    if needed > paired.objects:
        print(
            f"warning: {paired.objects} test objects cannot tell a loss of {max_drop:g} points from chance; about "
            f"{needed} would"
        )


def _print_gain(gain: Gain) -> None:
    print(
        f"int8 does {gain.int8_share:.1%} of the layers' multiply-adds; speed {gain.speed:.2f} times fp32's "
        f"({gain.fp32_ms:.2f} and {gain.int8_ms:.2f} ms a cloud, {gain.where}, {gain.rounds} calls in turn)"
    )
    if gain.speed <= 1:
        print("warning: int8 is no faster than fp32 here; measure both on the target: crosspoint bench")


def _print_gate(gate: GateResult) -> None:
    limits = ", ".join(f"{name} {value:g}" for name, value in gate.limits.items())
    rows = [
        (
            case.name,
            f"{case.batch} × {case.points}",
            f"{case.relative_l2_max:.1e}",
            "" if case.relative_l2_own_graphs is None else f"{case.relative_l2_own_graphs:.1e}",
            f"{case.cosine_min:.7f}",
            f"{min(case.overlap.values()):.4f}" if case.overlap else "",
        )
        for case in gate.cases
    ]
    title = f"{gate.candidate} against {gate.reference}: passed (limits: {limits}); worst cloud of each case"
    columns = ("clouds", "batch × points", "relative L2", "own graphs", "cosine", "right neighbours")
    print_table(title, columns, rows=rows)
