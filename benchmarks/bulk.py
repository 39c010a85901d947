"""A folder of many small files through `crosspoint embed`: in one process, one a core, and on Ray; files/s and memory.

    python benchmarks bulk pointnet --files 100000 --points 256 --json bulk.json
    python benchmarks bulk --read bulk.json --hour 0.085 --month 0.023      what a billion clouds would take, at prices

It makes the files (.npy, float32) in a temporary folder and removes them at the end; TMPDIR says where. Each way makes
all parts anew, then the last one is run again, which compares every input with its part and embeds nothing. Memory is
that of all processes of the command together, sampled twice a second: shared pages count once (PSS, Linux).
"""

import argparse
import contextlib
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from results import Series, add_json, write
from turns import clouds_of

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed
from crosspoint.core.reading import read_json, reading
from crosspoint.core.system.processes import available_cpus

EVERY = 0.5  # seconds between two samples of memory
JOB = 100_000  # clouds of a job in the plan
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


def plan(document: dict[str, Any], *, hour: float, month: float, clouds: int = 10**9) -> list[str]:
    """What more clouds would take on machines like the measured one, in its fastest way.

    Args:
        document: A result.
        hour: Price of a machine for an hour.
        month: Price of a gigabyte of storage for a month.
        clouds: How many.
    """
    files, model = document["settings"]["files"], document["settings"]["model"]
    seconds = min(row["seconds"] for row in document["rows"] if not row["way"].startswith("again"))
    hours, gigabytes = clouds * seconds / files / 3600, clouds * document["rows"][-1]["output_bytes"] / files / 1e9
    return [
        f"| {clouds:,} clouds of {document['settings']['points']:,} points, {model} | |",
        "| --- | --- |",
        f"| hours of a machine of {document['machine']['cores']} cores | {hours:,.0f} |",
        f"| such machines, to be done in a day | {math.ceil(hours / 24):,} |",
        f"| computing, at ${hour} an hour | ${hours * hour:,.0f} |",
        f"| embeddings | {gigabytes / 1000:.1f} TB |",
        f"| storing them, at ${month} a GB and month | ${gigabytes * month:,.0f} a month |",
        f"| parts of 1,024 clouds | {math.ceil(clouds / 1024):,} |",
        f"| jobs of {JOB:,} clouds | {math.ceil(clouds / JOB):,} of {60 * hours * JOB / clouds:,.0f} minutes |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="pointnet", help="default pointnet")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--way", action="append", choices=WAYS, help="only these; may be repeated")
    parser.add_argument("--read", type=Path, metavar="FILE", help="an earlier result of --json, instead of measuring")
    parser.add_argument("--hour", type=float, default=0.085, help="price of such a machine for an hour; default 0.085")
    parser.add_argument("--month", type=float, default=0.023, help="price of a GB for a month; default 0.023")
    add_json(parser)
    arguments = parser.parse_args()
    if arguments.read is not None:
        document = read_json(arguments.read, "a result of benchmarks bulk")
        with reading(arguments.read, "a result of benchmarks bulk"):
            lines = plan(document, hour=arguments.hour, month=arguments.month)
        print("\n".join(lines))
        return
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
    given = {name: getattr(arguments, name) for name in ("model", "files", "points", "way", "json_file")}
    write("bulk", argparse.Namespace(**given), series, rows)
