"""Whether speed has fallen since the stored baseline: ratios to what was measured in turns with it. Before a release.

    python benchmarks guard                                   compare with benchmarks/baseline/guard.json
    python benchmarks guard --json benchmarks/baseline/guard.json     measure, and store the result as the new baseline

Times depend on the machine; ratios depend on it less, and a line says so if the baseline is of another processor. So
inference and the training step are compared with the edge form of the same network, the loader of training with numpy
that draws as much, a job on a folder with the bare engine, and the start of commands with Python and the libraries that
they import. Each pair is measured in turns. The exit code is 1 if a ratio has grown by more than `--allowed` of what it
was.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inference import REFERENCE, contenders
from numpy.typing import NDArray
from PIL import Image
from plyfile import PlyData, PlyElement
from results import Result, Series, add_json, read, write
from train_step import EdgeDGCNN, step
from turns import Work, clouds_of, in_turns

import crosspoint
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.sets.pack import PackedRenders, pack
from crosspoint.models import DGCNN
from crosspoint.train.pretrain.pairs import StepSampler, make_loader
from crosspoint.train.pretrain.recipes import make_recipe

BASELINE = Path(__file__).parent / "baseline" / "guard.json"
OBJECTS, STORED, VIEWS = 64, 2048, 4  # of the set that the loader reads: objects, points and pictures of each
BATCHES = 8  # of the loader in one timing
OURS = {"factored, ONNX Runtime": "standard operators", "factored, crosspoint operators": "CPU operators"}


@dataclass(frozen=True)
class Change:
    """A ratio of time to the time of what ran in turns with it, in the baseline and now. Less is better."""

    name: str
    beside: str
    before: float
    now: float

    @property
    def growth(self) -> float:
        """E.g. 0.1 where it takes a tenth longer beside the same counterpart."""
        return self.now / self.before - 1


def changes(baseline: Result, now: Result) -> list[Change]:
    """The ratios that the baseline has.

    Raises:
        InputError: One of them was not measured now, or the settings differ.
    """
    check_settings(baseline, now.settings)
    found = []
    for name, series in baseline.series.items():
        if series.beside is None:
            continue
        before, after = baseline.relative(name), now.relative(name) if name in now.series else None
        if before is None or after is None:
            raise InputError(f"the baseline has {name}, which was not measured; store a new baseline with --json")
        found.append(Change(name, series.beside, before, after))
    return found


def check_settings(baseline: Result, settings: dict[str, Any]) -> None:
    """Raise InputError if a baseline was measured with other settings."""
    if baseline.settings != settings:
        raise InputError(f"the baseline has the settings {baseline.settings} and not {settings}; give the same")


def table(found: Sequence[Change], allowed: float) -> list[str]:
    """Lines of a table of the changes."""
    lines = ["| measured | beside | baseline | now | change |", "| --- | --- | --- | --- | --- |"]
    for one in found:
        mark = " **slower**" if one.growth > allowed else ""
        lines.append(f"| {one.name} | {one.beside} | {one.before:.3f} | {one.now:.3f} | {one.growth:+.1%}{mark} |")
    return lines


def check(found: Sequence[Change], allowed: float) -> None:
    """Raise CheckFailed if a ratio has grown by more than is allowed."""
    if slower := [one.name for one in found if not one.growth <= allowed]:  # NaN too
        raise CheckFailed(
            f"slower than the baseline by more than {allowed:.0%}: {', '.join(slower)}; run it again on an idle "
            "machine, then look for the change that did it"
        )


def paired(works: dict[str, Work], rounds: int) -> list[Series]:
    """Measure in turns; the first is what the others stand beside."""
    reference, *_ = works
    times = in_turns(works, rounds, warm=1)
    return [
        Series(name, "ms", tuple(values), None if name == reference else reference) for name, values in times.items()
    ]


def inference(folder: Path, threads: int, rounds: int) -> list[Series]:
    clouds = clouds_of(4, 1024)
    runs = contenders(folder, len(clouds), 1024, threads)
    works: dict[str, Work] = {f"inference, {REFERENCE}": partial(runs[REFERENCE], clouds)}
    works |= {f"inference, {label}": partial(runs[name], clouds) for name, label in OURS.items()}
    return paired(works, rounds)


def training(rounds: int) -> list[Series]:
    torch.manual_seed(0)
    points = torch.from_numpy(clouds_of(8, 1024))
    edge, ours = EdgeDGCNN(20), DGCNN(k=20)
    return paired(
        {"training step, edge form": lambda: step(edge, points), "training step": lambda: step(ours, points)}, rounds
    )


def write_pairs(root: Path, size: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Write a set in ShapeNetRender's layout; return its clouds `(n, N, 3)` and pictures `(n, views, S, S, 3)`."""
    clouds = clouds_of(OBJECTS, STORED)
    pictures = np.random.default_rng(0).integers(0, 256, (OBJECTS, VIEWS, size, size, 3), np.uint8)
    for i, (cloud, views) in enumerate(zip(clouds, pictures, strict=True)):
        file, renderings = root / f"ShapeNet/c/{i:03d}.ply", root / f"ShapeNetRendering/c/{i:03d}/rendering"
        for made in (file.parent, renderings):
            made.mkdir(parents=True, exist_ok=True)
        vertices = cloud.view([(axis, "f4") for axis in "xyz"])[:, 0]
        PlyData([PlyElement.describe(vertices, "vertex")]).write(file)
        for view, picture in enumerate(views):
            Image.fromarray(picture).save(renderings / f"{view:02d}.png")
    return clouds, pictures


def loading(folder: Path, rounds: int) -> list[Series]:
    """Batches of the `quick` recipe from a pack, in this process, beside numpy that draws as much from arrays."""
    recipe = make_recipe("quick", ["epochs=10000"])
    clouds, pictures = write_pairs(folder / "pairs", recipe.image_size)
    pack(folder / "pairs", folder / "pack")
    source = PackedRenders(folder / "pack")
    batches = iter(make_loader(source, recipe, steps=StepSampler(len(source), recipe), workers=0))
    rng = np.random.default_rng(0)

    def arrays() -> None:
        for _ in range(BATCHES):
            rows = rng.choice(OBJECTS, recipe.batch, replace=False)
            np.stack([clouds[i][rng.choice(STORED, recipe.points, replace=False)] for i in rows])
            np.stack([pictures[i, rng.integers(VIEWS)].transpose(2, 0, 1) for i in rows])

    def loader() -> None:
        for _ in range(BATCHES):
            next(batches)

    return paired({"loader, numpy": arrays, "loader": loader}, rounds)


def folder_job(folder: Path, rounds: int) -> list[Series]:
    """PointNet on a folder of small files, which is quick, so that reading counts."""
    clouds = clouds_of(256, 1024)
    inputs = folder / "clouds"
    inputs.mkdir()
    for i, cloud in enumerate(clouds):
        np.save(inputs / f"{i:04d}.npy", cloud)
    with crosspoint.load("pointnet") as encoder:

        def engine() -> None:
            for start in range(0, len(clouds), 32):
                encoder.embed(clouds[start : start + 32])

        def job() -> None:
            crosspoint.embed("pointnet", [inputs], out=folder / "job.npz", sampling=crosspoint.Sampling(up="y"))

        return paired({"folder, bare engine": engine, "folder, job": job}, rounds)


def start_up(folder: Path, rounds: int) -> list[Series]:
    np.save(folder / "cloud.npy", clouds_of(1, 1024)[0])

    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as installed

    def run(*words: str) -> Work:
        return lambda: subprocess.run([sys.executable, *words], cwd=folder, check=True, capture_output=True, env=kept)

    embed = ("-m", "crosspoint", "embed", "pointnet", "cloud.npy", "--out", "one.npz")
    version = ("-m", "crosspoint", "--version")
    libraries = ("-c", "import click, google.protobuf.message_factory, numpy, onnxruntime")
    return [
        *paired({"start, libraries": run(*libraries), "start, embed one file": run(*embed)}, rounds),
        *paired({"start, click": run("-c", "import click"), "start, --version": run(*version)}, rounds),
    ]


def remarks(baseline: Result, now: Result) -> list[str]:
    """What else may have changed a ratio: another processor, whose instructions help one of the two more."""
    before, after = (result.machine["processor"] for result in (baseline, now))
    if before == after:
        return []
    return [f"The baseline is of another processor ({before}; here {after}): a ratio may differ for that alone."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--allowed", type=float, default=0.2, metavar="SHARE", help="growth of a ratio; default 0.2")
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE")
    add_json(parser)
    arguments = parser.parse_args()
    stored = arguments.json_file
    settings = {"rounds": arguments.rounds, "threads": arguments.threads}
    renews = stored is not None and stored.absolute() == arguments.baseline.absolute()
    if not renews:
        check_settings(baseline := read(arguments.baseline), settings)  # before the work
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        series = [
            *inference(folder, arguments.threads, arguments.rounds),
            *training(max(3, arguments.rounds // 3)),
            *loading(folder, 4 * arguments.rounds),
            *folder_job(folder, arguments.rounds),
            *start_up(folder, arguments.rounds),
        ]
        for file in filter(None, (folder / "now.json", stored)):
            write("guard", argparse.Namespace(**settings, json_file=file), series)
        now = read(folder / "now.json")
    if renews:
        print(f"stored as the baseline: {stored}")
        return
    found = changes(baseline, now)
    print("\n".join([*table(found, arguments.allowed), *remarks(baseline, now)]))
    check(found, arguments.allowed)
