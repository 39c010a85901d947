"""The whole flow on built-in shapes: make, train, export, embed, evaluate, compare, report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosspoint.core.console import announce
from crosspoint.core.errors import InputError, MissingDependency, require
from crosspoint.core.files import write_json
from crosspoint.core.outputs import check_folder, is_schema
from crosspoint.core.reading import read_json
from crosspoint.core.workspaces import in_use, remove_partial_files
from crosspoint.runtime.signing import require_no_key

PER_CLASS = 24
POINTS = 256  # of a cloud, in training, in the engine and in the evaluation
RECIPE = ("points=256", "epochs=6", "batch=32", "image_size=48")
SUMMARY, SCHEMA = "quickstart.json", "crosspoint.quickstart/1"
UNTRAINED, RESULTS = "untrained", "results"  # folders that the quickstart itself writes into
DATASET = "modelnet40_ply_hdf5_2048"


@dataclass
class Steps:
    """What has been done so far and how long it took."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step, time it, and keep its outcome."""
        announce(f"· {name}")
        started = time.monotonic()
        yield
        self.rows.append({"name": name, "seconds": round(time.monotonic() - started, 1), "status": "ran"})


def quickstart(out: Path = Path("quickstart"), seed: int = 0) -> dict[str, Any]:
    """Run everything once at small scale and leave `report.html`.

    One that was interrupted is run again in its folder; its training goes on where it was.

    Args:
        out: Folder for all that is made; new or empty, or that of an interrupted one.
        seed: Of shapes, training and evaluation.

    Returns:
        `out`, `seconds`, `steps`, `engine` and `accuracy` with the linear-SVM accuracies on held-out shapes of the
        trained encoder, of the same encoder untrained, and of the exported model.

    Raises:
        InputError: `out` is in use, or a key is set that bundles have to be signed with.
        MissingDependency: Packages for training are not installed.
        CheckFailed: The parity gate failed.
    """
    require("torch", "train", purpose="the quickstart")
    require("onnxruntime", "cpu", purpose="the quickstart")
    require_no_key("the quickstart opens models that it makes itself")
    out = Path(out)
    _claim(out, seed)
    started, steps = time.monotonic(), Steps()
    engine = _train_and_export(out, seed, steps)
    accuracy = _evaluate(out, seed, steps)
    summary = {
        "schema": SCHEMA,
        "finished": True,
        "out": str(out),
        "seed": seed,
        "accuracy": accuracy,
        "engine": engine,
        "steps": steps.rows,
    }
    write_json(out / SUMMARY, {**summary, "finished": False})
    with steps.step("write the report"):
        from crosspoint.report.page import report

        report(out)
    result = {**summary, "seconds": round(time.monotonic() - started, 1)}
    write_json(out / SUMMARY, result)
    return result


def _claim(out: Path, seed: int) -> None:
    """Make sure that `out` is new, or of an interrupted run with this seed, and say so in it."""
    check_folder(out)
    mark = {"schema": SCHEMA, "seed": seed, "finished": False}
    if out.exists() and in_use(out):
        path = out / SUMMARY
        found = read_json(path, "a summary") if path.is_file() else None
        if not is_schema(found, "quickstart") or {name: found.get(name) for name in mark} != mark:
            raise InputError(f"{out} exists and is not empty; choose another --out or remove it")
        for name in (UNTRAINED, RESULTS):  # every other folder is cleared by the step that writes it
            remove_partial_files(out / name)
    write_json(out / SUMMARY, mark)


def _train_and_export(out: Path, seed: int, steps: Steps) -> dict[str, Any]:
    """Shapes, a trained encoder, an untrained one, and the bundle; returns what the manifest says of the engine."""
    from crosspoint.data.shapes.make_shapes import make_shapes
    from crosspoint.export.bundle import export
    from crosspoint.models.weights import save_model
    from crosspoint.train.pretrain.options import RunOptions
    from crosspoint.train.pretrain.pretrain import make_network, train
    from crosspoint.train.pretrain.recipes import make_recipe

    with steps.step("make shapes of 41 categories, their parts and their renderings"):
        made = make_shapes(out / "shapes", PER_CLASS, seed=seed, views=2, size=64, points=4 * POINTS)
        write_json(out / RESULTS / "shapes.json", {"schema": "crosspoint.make-shapes/1", **made})
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
    engine: dict[str, Any] = manifest["engine"] or {"status": f"not built: {missing}"}
    if missing is None and not engine["executed"]:
        steps.rows.append({"name": "run the TensorRT engine", "seconds": 0, "status": engine["status"]})
    return engine


def _missing_builder() -> str | None:
    """Why no engine can be built here, in one line, or None."""
    from crosspoint.export.engine.builder import find_builder

    try:
        find_builder(())
    except MissingDependency as error:
        return str(error)
    return None


def _evaluate(out: Path, seed: int, steps: Steps) -> dict[str, dict[str, float]]:
    from crosspoint.eval.svm import svm
    from crosspoint.parity.parity import parity
    from crosspoint.runtime.jobs.embed import embed
    from crosspoint.runtime.options import Sampling

    data = out / "shapes" / DATASET
    models = {"trained": out / "run", "untrained": out / UNTRAINED, "engine": out / "bundle"}
    with steps.step("embed all shapes with the exported model"):
        embedded = embed(models["engine"], [data], out=out / "embeddings.npz", sampling=Sampling(POINTS, seed=seed))
        write_json(out / RESULTS / "embed.json", {"schema": "crosspoint.embed/1", **embedded})
    accuracy = {}
    for name, model in models.items():
        with steps.step(f"linear SVM on held-out shapes, {name}"):
            result = svm(model, data, sampling=Sampling(POINTS, seed, 1), out=out / RESULTS / name)
            write_json(out / RESULTS / f"svm-{name}.json", result.to_json())
        accuracy[name] = {"official": result.official.accuracy, "clean": result.clean.accuracy}
    with steps.step("compare the exported model with PyTorch"):
        compared = parity(
            models["trained"], models["engine"], data=data, sampling=Sampling(POINTS, seed=seed), clouds=200
        )
        write_json(out / RESULTS / "parity.json", {"schema": compared.schema, **compared.to_json()})
    return accuracy


def summary_lines(result: dict[str, Any]) -> list[str]:
    """What the command prints at its end."""
    out, accuracy = result["out"], result["accuracy"]

    def percent(name: str) -> str:
        return f"{accuracy[name]['clean']:.1%} (C = 0.1: {accuracy[name]['official']:.1%})"

    return [
        "",
        f"linear SVM on held-out shapes, trained    {percent('trained')}",
        f"                               untrained  {percent('untrained')}",
        f"                               exported   {percent('engine')}",
        f"TensorRT engine: {result['engine']['status']}",
        f"report: {out}/report.html   ({result['seconds']:.0f} s in all)",
        "",
        "The same with your own meshes:",
        "  crosspoint data render MESHES --out pairs",
        "  crosspoint train --data pairs --recipe quick --out run",
        "  crosspoint export run --trt --out bundle",
        "  crosspoint embed bundle MESHES --out embeddings.npz",
    ]
