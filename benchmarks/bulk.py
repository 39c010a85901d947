"""A folder of many small files through `crosspoint embed`: in one process, one a core, and on Ray; files/s and memory.

    python benchmarks bulk pointnet --files 100000 --points 256 --json bulk.json

It makes the files (.npy, float32) in a temporary folder and removes them at the end; TMPDIR says where. Each way makes
all parts anew, then the last one is run again, which compares every input with its part and embeds nothing. Memory is
that of all processes of the command together, sampled twice a second: shared pages count once (PSS, Linux).
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
from results import Series, add_json, write
from turns import clouds_of

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed
from crosspoint.core.system.processes import available_cpus

EVERY = 0.5  # seconds between two samples of memory
DIFFERENT = 64  # clouds; the files hold them shifted, so that no two are equal
WAYS = ("one process", "one process a core", "Ray, one worker a core", "again, nothing to do")


def make_files(folder: Path, count: int, points: int) -> int:
    """Write the files; returns the size of one."""
    clouds = clouds_of(DIFFERENT, points)
    folder.mkdir()
    for i in range(count):
        np.save(folder / f"{i:07d}.npy", clouds[i % DIFFERENT] + np.float32(1e-6 * i))
    return (folder / "0000000.npy").stat().st_size


def commands(way: str, embed: Sequence[str], cores: int) -> list[list[str]]:
    """The processes of a way, which start together."""
    if way == "one process a core":
        return [["taskset", "-c", str(i), *embed, "--shard", f"{i + 1}/{cores}"] for i in range(cores)]
    return [[*embed, "--ray"]] if way.startswith("Ray") else [[*embed]]


def memory(roots: Sequence[psutil.Process]) -> int:
    """Bytes of processes and their descendants, shared pages once."""
    total = 0
    for root in roots:
        try:
            for process in (root, *root.children(recursive=True)):
                total += process.memory_full_info().pss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


def run(
    all_of: Sequence[Sequence[str]], sample: Callable[[Sequence[psutil.Process]], int] = memory
) -> tuple[float, int]:
    """Run commands at the same time; returns seconds until the last has ended, and the largest memory of all.

    Raises:
        CheckFailed: One of them failed.
    """
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as messages:
        running = [subprocess.Popen(command, stdout=messages, stderr=messages) for command in all_of]
        try:
            roots = [psutil.Process(process.pid) for process in running]
            while waiting := [process for process in running if process.poll() is None]:
                peak = max(peak, sample(roots))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    waiting[0].wait(EVERY)
            seconds = time.perf_counter() - start
        finally:
            for process in running:
                process.kill()
        if any(process.returncode for process in running):
            messages.seek(0)
            lines = messages.read().decode(errors="replace").strip().splitlines()
            raise CheckFailed(f"crosspoint embed failed ({lines[-1] if lines else 'no message'})")
    return seconds, peak


def table(rows: Sequence[dict[str, object]], files: int) -> list[str]:
    """Lines of Markdown."""
    lines = ["| way | seconds | files/s | memory of all its processes |", "| --- | --- | --- | --- |"]
    for row in rows:
        seconds, peak = float(str(row["seconds"])), float(str(row["peak_mb"]))
        lines.append(f"| {row['way']} | {seconds:.1f} | {files / seconds:,.0f} | {peak:,.0f} MB |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--way", action="append", choices=WAYS, help="only these; may be repeated")
    add_json(parser)
    arguments = parser.parse_args()
    cores, rows, series = available_cpus(), [], []
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "files", Path(place) / "out"
        size = make_files(folder, arguments.files, arguments.points)
        print(f"{arguments.files:,} files of {size:,} bytes, {arguments.points} points each; {cores} cores")
        embed = [
            sys.executable,
            "-m",
            "crosspoint",
            "embed",
            arguments.model,
            str(folder),
            "--out",
            str(out),
            "--up",
            "y",
        ]
        for way in track(arguments.way or WAYS, "Embedding"):
            if not way.startswith("again"):
                shutil.rmtree(out, ignore_errors=True)
            seconds, peak = run(commands(way, embed, cores))
            rows.append({"way": way, "seconds": round(seconds, 2), "peak_mb": round(peak / 1e6, 1)})
            series.append(Series(way, "s", (seconds,)))
        parts = sum(part.stat().st_size for part in out.glob("part-*"))
        rows[-1]["output_bytes"] = parts
    print("\n".join(table(rows, arguments.files)))
    print(f"{parts / arguments.files:,.0f} bytes of embeddings a file")
    write("bulk", arguments, series, rows)
