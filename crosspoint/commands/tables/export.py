"""What `crosspoint export` prints."""

from pathlib import Path
from typing import Any

from crosspoint.core.console import print_table
from crosspoint.parity.limits import scores
from crosspoint.runtime.manifest import SCRIPT
from crosspoint.runtime.signing import SIGNATURE


def print_export(out: Path, manifest: dict[str, Any], *, sign: Path | None = None) -> None:
    """Print the gate's comparisons, the files, with which key they were signed, and what became of the engine."""
    for parity in (manifest["parity"], manifest["parity"]["emulation"]):
        if parity:
            _print_parity(parity)
    _print_precision(manifest["precision"], manifest["parity"])
    engine = manifest["engine"]
    if engine and engine["parity"]:
        _print_parity(engine["parity"])
    for name, entry in manifest["files"].items():
        print(f"{out / name}: {entry['bytes'] / 1e6:.2f} MB, sha256 {entry['sha256'][:16]}")
    if sign is not None:
        print(f"{out / SIGNATURE}: signed with {sign}")
    if engine:
        targets = ", ".join(engine["targets"])
        print(f"engine: {engine['builder']} {engine['version']} for {targets}: {engine['status']}")
        if engine["note"]:
            print(f"note: {engine['note']}")
    elif SCRIPT in manifest["files"]:
        print(f"engine: not built; copy {out} to the device and run there: sh {out.name}/{SCRIPT}")


def _print_precision(precision: dict[str, Any], parity: dict[str, Any]) -> None:
    if precision["asked"] == "fp32":
        kept = ""
    else:
        kept = f"; layers in fp32: {', '.join(precision['kept']) or 'none'}"
    print(f"precision: {precision['read_back']}{kept}; {parity['status']}")
    if calibration := precision.get("calibration"):
        print(
            f"calibrated on {calibration['clouds']} clouds of {calibration['points']} points: {calibration['source']}"
        )
    if task := parity["task"]:
        before, after = scores(task)
        equal = f"; {task['equal_labels']:.2%} of the labels are equal" if "equal_labels" in task else ""
        print(
            f"{task['measure']}: {before:.2%} trained, {after:.2%} exported "
            f"({task['candidate']}; limit {task['max_drop']:g} points lost; {task['objects']} clouds{equal})"
        )
    elif precision["asked"] == "int8":
        print("accuracy was not measured; give --verify-data to have it hold")


def _print_parity(parity: dict[str, Any]) -> None:
    limits = ", ".join(f"{name} {value:g}" for name, value in parity["limits"].items())
    rows = [
        (
            case["name"],
            f"{case['batch']} × {case['points']}",
            f"{case['relative_l2_max']:.1e}",
            "" if case["relative_l2_own_graphs"] is None else f"{case['relative_l2_own_graphs']:.1e}",
            f"{case['cosine_min']:.7f}",
            f"{min(case['overlap'].values()):.4f}" if case["overlap"] else "",
        )
        for case in parity["cases"]
    ]
    title = f"{parity['candidate']} against {parity['reference']}: passed (limits: {limits}); worst cloud of each case"
    columns = ("clouds", "batch × points", "relative L2", "own graphs", "cosine", "right neighbours")
    print_table(title, columns, rows=rows)
