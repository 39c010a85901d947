"""How time and memory of embedding and of a training step grow with points, batch, k, threads and processes.

    python benchmarks growth --json growth.json --picture growth.png      measure, draw, print the tables
    python benchmarks growth --read growth.json --picture growth.png      without measuring
    python benchmarks growth --read growth.json --rounds 1 --json growth.json       another round of the same

Each measurement is a process of its own; a round takes all of them in turn. Embedding runs the ONNX file that
`crosspoint export NAME --points N` writes for the released model, in ONNX Runtime with the CPU operators; a training
step is forward and backward of the same network in PyTorch.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from results import Series, add_json, write
from scaling.picture import draw
from scaling.tables import DONE, TITLES, Row, read_rows, tables
from scaling.work import Measured, Setting, Task

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed
from crosspoint.core.system.processes import available_cpus

FOLDER = Path(__file__).parent
MODELS = ("pointnet", "dgcnn")
POINTS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
TASKS: tuple[Task, ...] = ("embed", "train")
BATCHES = (2, 8, 32)
NEIGHBOURS = (5, 10, 20, 40)


def settings(most: int, cores: int) -> list[Setting]:
    """All that is measured, with clouds of up to `most` points; each once."""
    usual = min(most, 1024)
    found: list[Setting] = []
    for model in MODELS:
        for points in (points for points in POINTS if points <= most):
            found += [Setting("embed", model, points), Setting("train", model, points, batch=2)]
        for batch in BATCHES:
            found += [Setting(task, model, usual, batch) for task in TASKS]
        for threads in sorted({1, cores}):
            found += [Setting(task, model, usual, 8, threads=threads) for task in TASKS]
        found += [Setting("embed", model, usual, 8, processes=count) for count in sorted({1, cores, 2 * cores})]
    for k in NEIGHBOURS:
        found += [Setting("embed", "dgcnn", usual, k=k), Setting("train", "dgcnn", usual, batch=2, k=k)]
    return list(dict.fromkeys(found))


def export(setting: Setting, folder: Path) -> Path:
    """The ONNX file of a setting, as `crosspoint export` writes it."""
    from crosspoint.export.onnx.build import build
    from crosspoint.export.onnx.file import write_onnx
    from crosspoint.export.onnx.fold import deploy
    from crosspoint.models import DGCNN
    from crosspoint.models.weights import load_model
    from crosspoint.runtime.released import resolve

    file = folder / f"{setting.model}-{setting.points}-{setting.k}.onnx"
    if not file.is_file():
        network = load_model(resolve(setting.model, ".safetensors"))
        if setting.model == "dgcnn":
            trained, network = network, DGCNN(k=setting.k).eval()
            network.load_state_dict(trained.state_dict())
        write_onnx(file, build(deploy(network), setting.points), provenance={"k": setting.k})
    return file


def measure(setting: Setting, model: Path | None) -> Measured:
    """Run a setting's processes at the same time.

    Returns:
        Milliseconds of a call, so that `processes` calls take that long together; memory of all processes.

    Raises:
        CheckFailed: A process ended early, e.g. because memory ran out.
    """
    command = [
        sys.executable,
        "-m",
        "scaling.work",
        json.dumps(asdict(setting)),
        *([] if model is None else [str(model)]),
    ]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(command, cwd=FOLDER, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for _ in range(setting.processes)
    ]
    try:
        for process in running:  # all have warmed up
            assert process.stdout is not None
            process.stdout.readline()
        for process in running:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it has failed, as its code and its messages say
                process.stdin.write("\n")
                process.stdin.flush()
        done = [process.communicate() for process in running]
    finally:
        for process in running:
            process.kill()
    if wrong := [process.returncode for process in running if process.returncode]:
        reason = (done[0][1].strip().splitlines() or ["no message"])[-1]
        raise CheckFailed(f"{setting}: a process ended with code {wrong[0]} ({reason}); give fewer --points")
    parts = [Measured(**json.loads(out)) for out, _ in done]
    return Measured(
        statistics.mean(part.call_ms for part in parts),
        sum(part.peak_mb for part in parts),
        sum(part.work_mb for part in parts),
    )


def sweep(chosen: Sequence[Setting], rounds: int) -> list[Row]:
    """Measure all settings in turns."""
    found: dict[Setting, list[Measured]] = {setting: [] for setting in chosen}
    with tempfile.TemporaryDirectory() as folder:
        files = {one: export(one, Path(folder)) if one.task == "embed" else None for one in chosen}
        for setting in track([*chosen] * rounds, "Measuring"):
            found[setting].append(measure(setting, files[setting]))
    return [Row(setting, tuple(values)) for setting, values in found.items()]


def join(rows: Sequence[Row], more: Sequence[Row]) -> list[Row]:
    """Rows with the rounds of others of the same settings added."""
    others = {row.setting: row.rounds for row in more}
    return [Row(row.setting, (*row.rounds, *others.get(row.setting, ()))) for row in rows]


def series_of(rows: Sequence[Row]) -> list[Series]:
    """Time and peak memory of each setting, for `benchmarks compare`."""
    series = []
    for row in rows:
        own = asdict(row.setting)
        numbers = ", ".join(f"{key} {value}" for key, value in own.items() if key not in ("task", "model"))
        name = f"{DONE[row.setting.task]}, {TITLES[row.setting.model]}, {numbers}"
        series.append(Series(f"{name}, call", "ms", tuple(one.call_ms for one in row.rounds)))
        series.append(Series(f"{name}, peak", "MB", tuple(one.peak_mb for one in row.rounds)))
    return series


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=POINTS[-1], help="of the largest cloud; default 16384")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", type=Path, metavar="FILE", help="an earlier result; with --json, add rounds to it")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    add_json(parser)
    arguments = parser.parse_args()
    earlier = None if arguments.read is None else read_rows(arguments.read)
    if earlier is not None and arguments.json_file is None:
        rows = earlier
    else:
        rows = sweep(settings(arguments.points, available_cpus()), arguments.rounds)
        rows = rows if earlier is None else join(earlier, rows)
        given = {"points": arguments.points, "rounds": max(len(row.rounds) for row in rows)}
        write(
            "growth",
            argparse.Namespace(**given, json_file=arguments.json_file),
            series_of(rows),
            [row.to_json() for row in rows],
        )
    print("\n\n".join("\n".join(table) for table in tables(rows)))
    if arguments.picture is not None:
        draw(rows, arguments.picture)
