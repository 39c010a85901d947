"""What each precision costs and saves: error, neighbours, SVM accuracy, time and size of one trained encoder.

    python benchmarks precision RUN --data modelnet40_ply_hdf5_2048 --json table.json

Every row is a bundle of `crosspoint export`, gate included; a precision that fails has a row that says why. Errors are
of real clouds, the network evaluated on the same neighbour graphs. Times are of ONNX Runtime on the CPU, all precisions
in turn in one process, medians.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from results import Series, add_json, write
from turns import in_turns

from crosspoint.core.errors import CheckFailed
from crosspoint.export.bundle import Verification, export
from crosspoint.export.engine.engine import ONNX
from crosspoint.parity.clouds import ordinary
from crosspoint.parity.task import SvmTask
from crosspoint.runtime.backends.onnx import OnnxEncoder

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
COLUMNS = ("precision", "relative L2", "cosine", "overlap", "SVM accuracy", "ms a cloud", "MB", "how", "layers in fp32")


def measure(arguments: argparse.Namespace, precision: str, folder: Path) -> dict[str, Any]:
    """Export one precision; its row without the time."""
    drop = None if precision == "fp32" else arguments.max_drop
    verification = Verification(arguments.data, arguments.clouds, drop, None)
    options = {"precision": precision, "batch": (1, arguments.batch, arguments.batch), "points": arguments.points}
    try:
        manifest = export(arguments.model, folder, **options, verification=verification)
    except CheckFailed as error:
        return {"precision": precision, "failed": str(error)}
    parity = manifest.parity
    if parity.task is None or not isinstance(parity.task.task, SvmTask):
        raise SystemExit(f"{arguments.data} has no classes to measure accuracy on; give a labelled set")
    task, rounded = parity.task.task.paired, parity.emulation or parity.gate
    (real,) = (case for case in rounded.cases if case.name == "real clouds")
    return {
        "precision": precision,
        "relative_l2": real.relative_l2_max,
        "relative_l2_own_graphs": real.relative_l2_own_graphs,
        "cosine": real.cosine_min,
        "overlap": min(real.overlap.values(), default=None),
        "accuracy": task.candidate_accuracy,
        "trained_accuracy": task.reference_accuracy,
        "equal_predictions": task.equal_predictions,
        "objects": task.objects,
        "measured_on": rounded.candidate,
        "status": parity.status,
        "kept": list(manifest.precision.kept),
        "bytes": manifest.files[ONNX].bytes,
    }


def time_all(arguments: argparse.Namespace, bundles: dict[str, Path]) -> list[Series]:
    """Milliseconds a cloud of every bundle, one call of each in turn."""
    clouds = ordinary(arguments.batch, arguments.points)
    encoders = {name: OnnxEncoder(path / ONNX, threads=arguments.threads) for name, path in bundles.items()}
    times = in_turns(
        {name: partial(encoder.embed, clouds) for name, encoder in encoders.items()}, arguments.rounds, warm=2
    )
    return [
        Series(name, "ms", tuple(one / len(clouds) for one in values), None if name == "fp32" else "fp32")
        for name, values in times.items()
    ]


def row(entry: dict[str, Any]) -> list[str]:
    """A row of the table in Markdown."""
    if "failed" in entry:
        return [entry["precision"], *[""] * 6, f"failed: {entry['failed']}", ""]
    milliseconds = entry["milliseconds"]
    how = "executed" if entry["measured_on"].startswith("onnxruntime") else "emulated"
    return [
        entry["precision"],
        f"{entry['relative_l2']:.1e}",
        f"{entry['cosine']:.6f}",
        "–" if entry["overlap"] is None else f"{entry['overlap']:.4f}",
        f"{entry['accuracy']:.2%}",
        "not executed" if milliseconds is None else f"{milliseconds:.1f}",
        f"{entry['bytes'] / 1e6:.2f}",
        how,
        ", ".join(entry["kept"]) or "–",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a run folder or .safetensors of a point encoder")
    parser.add_argument("--data", type=Path, required=True, help="labelled clouds, e.g. ModelNet40")
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--clouds", type=int, help="at most this many labelled clouds")
    parser.add_argument("--max-drop", type=float, help="points of accuracy to give up in the lower precisions")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="keep the bundles here")
    add_json(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.out or Path(scratch)
        entries = [measure(arguments, precision, folder / precision) for precision in PRECISIONS]
        executable = [entry["precision"] for entry in entries if entry.get("status", "built").startswith("executed")]
        series = time_all(arguments, {name: folder / name for name in executable})
    milliseconds = {one.name: one.median for one in series}
    for entry in entries:
        entry["milliseconds"] = milliseconds.get(entry["precision"])
    table = [list(COLUMNS), ["---"] * len(COLUMNS), *map(row, entries)]
    print("\n".join(f"| {' | '.join(cells)} |" for cells in table))
    write("precision", arguments, series, entries)
