"""What `crosspoint export` prints."""

from pathlib import Path

from crosspoint.core.console import print_table
from crosspoint.export.manifest import BundleManifest, ExportParity, Precision
from crosspoint.parity.gate_result import GateResult
from crosspoint.parity.task import PartTask, ScoreTask
from crosspoint.runtime.manifest import SCRIPT
from crosspoint.runtime.signing import SIGNATURE


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


def _print_precision(precision: Precision, parity: ExportParity) -> None:
    kept = "" if precision.asked == "fp32" else f"; layers in fp32: {', '.join(precision.kept) or 'none'}"
    print(f"precision: {precision.read_back}{kept}; {parity.status}")
    if calibration := precision.calibration:
        print(f"calibrated on {calibration.clouds} clouds of {calibration.points} points: {calibration.source}")
    if parity.task is not None:
        task, (before, after) = parity.task.task, parity.task.task.scores
        equal = f"; {task.equal_labels:.2%} of the labels are equal" if isinstance(task, PartTask | ScoreTask) else ""
        print(
            f"{task.measure}: {before:.2%} trained, {after:.2%} exported "
            f"({parity.task.candidate}; limit {parity.task.max_drop:g} points lost; {task.objects} clouds{equal})"
        )
        if isinstance(task, ScoreTask):
            print(
                f"scores: largest error {task.largest_error:.1e} (limit {task.score_limit:g}); novelty: "
                f"{task.largest_novelty_error:.1e} (limit {task.novelty_limit:g}){task.detail}"
            )
    elif precision.asked == "int8":
        print("accuracy was not measured; give labelled clouds with --verify-data to measure it")


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
