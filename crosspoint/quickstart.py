"""The whole workflow on generated shapes: make data, train, export, embed, evaluate, compare, report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from crosspoint.core.console import announce
from crosspoint.core.errors import InputError, MissingDependency, require
from crosspoint.core.files import write_json
from crosspoint.core.outputs import check_folder, is_schema
from crosspoint.core.reading import read_json
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.core.workspaces import in_use, remove_partial_files
from crosspoint.export.manifest import EngineEntry
from crosspoint.report.records import QuickstartStep
from crosspoint.runtime.signing import require_no_key

PER_CLASS = 24
POINTS = 256  # points per cloud in training, export and evaluation
RECIPE = ("points=256", "epochs=6", "batch=32", "image_size=48")
SUMMARY, SCHEMA = "quickstart.json", "crosspoint.quickstart/1"
UNTRAINED, RESULTS = "untrained", "results"  # folders that the quickstart itself writes into
DATASET = "modelnet40_ply_hdf5_2048"


@dataclass(frozen=True)
class SvmAccuracies:
    """Linear-SVM accuracies of a model on held-out shapes, by both rules."""

    official: float
    clean: float


@dataclass(frozen=True)
class NoEngine:
    """Why no engine was built."""

    status: str


@dataclass(frozen=True)
class QuickstartResult(Result):
    """What the quickstart did.

    Attributes:
        finished: Whether it came to its end.
        out: Folder of all that was made.
        seed: Of shapes, training and evaluation.
        accuracy: Of the trained encoder, the same untrained, and the exported model.
        engine: What the manifest says of the engine.
        steps: In order.
        seconds: What all of it took; None before the end.
    """

    schema: ClassVar[str] = SCHEMA

    finished: bool
    out: str
    seed: int
    accuracy: dict[str, SvmAccuracies]
    engine: EngineEntry | NoEngine
    steps: tuple[QuickstartStep, ...]
    seconds: float | None = field(default=None, metadata=OPTIONAL)


@dataclass
class StepTimer:
    """The steps so far, with their duration."""

    rows: list[QuickstartStep] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step, time it, and store its outcome."""
        announce(f"· {name}")
        started = time.monotonic()
        yield
        self.rows.append(QuickstartStep(name, round(time.monotonic() - started, 1), "ran"))


def quickstart(out: Path = Path("quickstart"), seed: int = 0) -> QuickstartResult:
    """Run every step once at small scale and write `report.html`.

    An interrupted quickstart can be run again in its folder; its training is resumed.

    Args:
        out: Output folder; new, empty, or that of an interrupted quickstart.
        seed: Random seed of shapes, training and evaluation.

    Returns:
        What was done, with the accuracies of the trained encoder, the untrained encoder, and the exported model.

    Raises:
        InputError: `out` is in use, or a public key is set, which the bundle of the quickstart is not signed with.
        MissingDependency: Packages for training are not installed.
        CheckFailed: The parity gate failed.
    """
    require("torch", "train", purpose="the quickstart")
    require("onnxruntime", "cpu", purpose="the quickstart")
    require_no_key("the quickstart opens models that it makes itself")
    out = Path(out)
    _claim(out, seed)
    started, steps = time.monotonic(), StepTimer()
    engine = _train_and_export(out, seed, steps)
    accuracy = _evaluate(out, seed, steps)
    unfinished = QuickstartResult(False, str(out), seed, accuracy, engine, tuple(steps.rows))
    write_json(out / SUMMARY, unfinished.to_json())
    with steps.step("write the report"):
        from crosspoint.report.page import report

        report(out)
    seconds = round(time.monotonic() - started, 1)
    result = replace(unfinished, finished=True, steps=tuple(steps.rows), seconds=seconds)
    write_json(out / SUMMARY, result.to_json())
    return result


def _claim(out: Path, seed: int) -> None:
    """Check that `out` is new or belongs to an interrupted quickstart with this seed, and mark it."""
    check_folder(out)
    mark = {"schema": SCHEMA, "seed": seed, "finished": False}
    if out.exists() and in_use(out):
        path = out / SUMMARY
        found = read_json(path, "a summary") if path.is_file() else None
        if not is_schema(found, "quickstart") or {name: found.get(name) for name in mark} != mark:
            raise InputError(f"{out} exists and is not empty; choose another --out or remove it")
        for name in (UNTRAINED, RESULTS):  # each other folder is cleared by the step that writes it
            remove_partial_files(out / name)
    write_json(out / SUMMARY, mark)


def _train_and_export(out: Path, seed: int, steps: StepTimer) -> EngineEntry | NoEngine:
    """Make shapes, train an encoder, make an untrained one, export; returns the manifest's entry about the engine."""
    from crosspoint.data.shapes.make_shapes import ShapesSettings, make_shapes
    from crosspoint.export.bundle import export
    from crosspoint.models.weights import save_model
    from crosspoint.train.pretrain.networks import make_network
    from crosspoint.train.pretrain.options import RunOptions
    from crosspoint.train.pretrain.pretrain import train
    from crosspoint.train.pretrain.recipes import make_recipe

    with steps.step("make shapes of 41 categories, their parts and their renderings"):
        made = make_shapes(out / "shapes", ShapesSettings(PER_CLASS, seed, views=2, size=64, points=4 * POINTS))
        write_json(out / RESULTS / "shapes.json", made.to_json())
    overrides = (*RECIPE, f"seed={seed}")
    with steps.step("train on pairs of clouds and renderings, without labels"):
        train(
            out / "shapes",
            out / "run",
            recipe="quick",
            overrides=overrides,
            resume=True,
            device="cpu",
            options=RunOptions(1),
        )
    recipe = make_recipe("quick", overrides)
    untrained = make_network(recipe).points
    save_model(untrained, out / UNTRAINED / "encoder.safetensors", recipe={**recipe.as_dict(), "steps": 0})
    missing = _missing_builder()
    with steps.step("export to ONNX, build the TensorRT engine, pass the parity gate"):
        manifest = export(out / "run", out / "bundle", trt=missing is None, points=POINTS)
    engine = manifest.engine
    if engine is None:
        return NoEngine(f"not built: {missing}")
    if not engine.executed:
        steps.rows.append(QuickstartStep("run the TensorRT engine", 0, engine.status))
    return engine


def _missing_builder() -> str | None:
    """Why no engine can be built here, in one line; None if it can."""
    from crosspoint.export.engine.builder import find_builder

    try:
        find_builder(())
    except MissingDependency as error:
        return str(error)
    return None


def _evaluate(out: Path, seed: int, steps: StepTimer) -> dict[str, SvmAccuracies]:
    from crosspoint.eval.svm import svm
    from crosspoint.parity.parity import parity
    from crosspoint.runtime.jobs.embed import embed
    from crosspoint.runtime.options import Sampling

    data = out / "shapes" / DATASET
    models = {"trained": out / "run", "untrained": out / UNTRAINED, "engine": out / "bundle"}
    with steps.step("embed all shapes with the exported model"):
        embedded = embed(models["engine"], [data], out=out / "embeddings.npz", sampling=Sampling(POINTS, seed=seed))
        write_json(out / RESULTS / "embed.json", embedded.to_json())
    accuracy = {}
    for name, model in models.items():
        with steps.step(f"linear SVM on held-out shapes, {name}"):
            result = svm(model, data, sampling=Sampling(POINTS, seed, 1), out=out / RESULTS / name)
            write_json(out / RESULTS / f"svm-{name}.json", result.to_json())
        accuracy[name] = SvmAccuracies(result.official.accuracy, result.clean.accuracy)
    with steps.step("compare the exported model with PyTorch"):
        compared = parity(
            models["trained"], models["engine"], data=data, sampling=Sampling(POINTS, seed=seed), clouds=200
        )
        write_json(out / RESULTS / "parity.json", compared.to_json())
    return accuracy


def summary_lines(result: QuickstartResult) -> list[str]:
    """The lines that the command prints at its end."""

    def percent(name: str) -> str:
        return f"{result.accuracy[name].clean:.1%} (C = 0.1: {result.accuracy[name].official:.1%})"

    return [
        "",
        f"linear SVM on held-out shapes, trained    {percent('trained')}",
        f"                               untrained  {percent('untrained')}",
        f"                               exported   {percent('engine')}",
        f"TensorRT engine: {result.engine.status}",
        f"report: {result.out}/report.html   ({result.seconds:.0f} s in all)",
        "",
        "The same with your own meshes:",
        "  crosspoint data render MESHES --out pairs",
        "  crosspoint train --data pairs --recipe quick --out run",
        "  crosspoint export run --trt --out bundle",
        "  crosspoint embed bundle MESHES --out embeddings.npz",
    ]
