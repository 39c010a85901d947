"""The main job from end to end: shapes, training, export, engine, embedding, evaluation, parity, report."""

import json
import math
import subprocess
import sys
import time
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from calls import bound, record

from crosspoint import quickstart
from crosspoint.cli import main
from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.data.shapes import make_shapes
from crosspoint.models.weights import load_model
from crosspoint.runtime import load_encoder, load_manifest, verify_files
from crosspoint.runtime.options import Sampling
from crosspoint.runtime.signing import VARIABLE

SHAPES = ("airplane", "chair", "lamp", "table")
STEPS = (
    "make shapes",
    "train on pairs",
    "export to ONNX",
    "embed all shapes",
    "linear SVM",
    "compare",
    "write the report",
)


def run(out, monkeypatch, *options):
    """The command; its exit code."""
    monkeypatch.setattr(sys, "argv", ["crosspoint", "quickstart", "--out", str(out), *options])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def check(out, result, points):
    """What every run leaves, whatever its size."""
    for name in STEPS:
        assert any(step["name"].startswith(name) and step["status"] == "ran" for step in result["steps"]), name
    manifest = load_manifest(out / "bundle")
    verify_files(manifest)
    assert manifest.points == (points, points, points)
    assert result["engine"]["status"].startswith(("built, not executed", "executed, passed", "not built: "))

    weights = load_model(out / "run" / "encoder.safetensors").state_dict()
    untrained = load_model(out / "untrained" / "encoder.safetensors").state_dict()
    assert not all(np.array_equal(weights[name], untrained[name]) for name in weights)

    with np.load(out / "embeddings.npz") as file:
        embeddings, names, digest = file["embeddings"], file["names"], str(file["model_sha256"])
    with load_encoder(out / "bundle") as encoder:
        assert digest == encoder.specification.sha256
        assert embeddings.shape == (len(names), encoder.specification.dim)
    assert np.isfinite(embeddings).all()
    assert embeddings.std(axis=0).max() > 0  # clouds differ, and so do their embeddings

    for name in ("trained", "untrained", "engine"):
        measured = json.loads((out / "results" / f"svm-{name}.json").read_text())
        for rule in ("official", "clean"):
            accuracy = result["accuracy"][name][rule]
            assert accuracy == measured[rule]["accuracy"]
            assert 0 <= accuracy <= 1
    models = {
        name: json.loads((out / "results" / f"svm-{name}.json").read_text())["model"] for name in ("trained", "engine")
    }
    assert [models[name]["backend"] for name in ("trained", "engine")] == ["pytorch", "onnxruntime"]

    parity = json.loads((out / "results" / "parity.json").read_text())
    assert parity["passed"]
    page = (out / "report.html").read_text()
    for title in ("Accuracy", "Training", "Map of the embeddings", "Parity", "Versions and hashes"):
        assert f"<h2>{title}<" in page


@pytest.fixture
def small(monkeypatch):
    """Four categories, six objects of each, 64 points, one epoch of a DGCNN with 8 neighbours."""
    monkeypatch.setattr(make_shapes, "CATEGORIES", {name: make_shapes.CATEGORIES[name] for name in SHAPES})
    monkeypatch.setattr(quickstart, "PER_CLASS", 6)
    monkeypatch.setattr(quickstart, "POINTS", 64)
    monkeypatch.setattr(quickstart, "RECIPE", ("points=64", "k=8", "epochs=1", "batch=8", "image_size=32"))


def test_the_whole_flow_in_a_small_form(small, tmp_path, monkeypatch, capsys):
    out = tmp_path / "quickstart"
    made = record(monkeypatch, "crosspoint.data.shapes.make_shapes", "make_shapes")
    trained = record(monkeypatch, "crosspoint.train.pretrain.pretrain", "train")
    embedded = record(monkeypatch, "crosspoint.runtime.jobs.embed", "embed")
    measured = record(monkeypatch, "crosspoint.eval.svm", "svm")
    compared = record(monkeypatch, "crosspoint.parity.parity", "parity")
    started = time.monotonic()
    assert run(out, monkeypatch, "--seed", "3", "--json", str(tmp_path / "result.json")) == 0
    taken = time.monotonic() - started
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["schema"], result["seed"]) == ("crosspoint.quickstart/1", 3)
    assert list(result) == ["schema", "finished", "out", "seed", "accuracy", "engine", "steps", "seconds"]
    assert result == json.loads((out / "quickstart.json").read_text())
    check(out, result, 64)
    steps = sum(step["seconds"] for step in result["steps"])
    assert steps - 0.1 <= result["seconds"] <= taken + 0.1
    assert result["seconds"] == round(result["seconds"], 1)
    said = capsys.readouterr().out
    assert f"report: {out}/report.html" in said
    assert f"trained    {result['accuracy']['trained']['clean']:.1%}" in said
    assert f"TensorRT engine: {result['engine']['status']}" in said

    (shapes,) = made
    assert shapes["settings"] == make_shapes.ShapesSettings(6, 3, views=2, size=64, points=256)
    assert set(trained[0]["overrides"]) == {*quickstart.RECIPE, "seed=3"}
    assert trained[0]["resume"]
    assert (embedded[0]["sampling"].points, embedded[0]["sampling"].seed) == (64, 3)
    assert [call["model"] for call in measured] == [out / "run", out / "untrained", out / "bundle"]
    assert {(call["sampling"].points, call["sampling"].seed, call["sampling"].seeds) for call in measured} == {
        (64, 3, 1)
    }
    assert (compared[0]["sampling"].points, compared[0]["sampling"].seed) == (64, 3)
    assert (compared[0]["reference"], compared[0]["candidate"]) == (out / "run", out / "bundle")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_flow_as_a_user_starts_it(tmp_path, monkeypatch):
    out = tmp_path / "quickstart"
    assert run(out, monkeypatch) == 0
    result = json.loads((out / "quickstart.json").read_text())
    check(out, result, 256)
    accuracy = {name: values["clean"] for name, values in result["accuracy"].items()}
    assert accuracy["trained"] > accuracy["untrained"]
    assert math.isclose(accuracy["engine"], accuracy["trained"], abs_tol=0.02)


def test_a_folder_in_use_is_refused_before_the_work(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        quickstart.quickstart(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


KILLED = """
import os, signal, sys
from pathlib import Path
from crosspoint.core.workspaces import workspace
with workspace(Path(sys.argv[1])) as space:
    (space.new / "encoder.safetensors").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Begun(Exception):
    """Of the first step, instead of its work."""


@pytest.mark.parametrize("folder", ["", "untrained", "results"])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path, monkeypatch, folder):
    def first_step(*_, **__):
        raise Begun

    monkeypatch.setattr("crosspoint.data.shapes.make_shapes.make_shapes", first_step)
    mark = {"schema": quickstart.SCHEMA, "seed": 3, "finished": False}
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "quickstart.json").write_text(json.dumps(mark))
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / folder], check=False)
    assert any(path.name.startswith(".crosspoint-") for path in (tmp_path / folder).iterdir())
    with pytest.raises(Begun):
        quickstart.quickstart(tmp_path, seed=3)
    assert not any(path.name.startswith(".crosspoint-") for path in (tmp_path / folder).iterdir())


def test_where_bundles_have_to_be_signed_it_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "fleet.pub"))
    with pytest.raises(InputError, match="opens models that it makes itself, which are not signed"):
        quickstart.quickstart(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_a_builder_the_reason_stands_in_the_engine_s_place(monkeypatch):
    def missing(targets):
        raise MissingDependency("tensorrt is not installed")

    monkeypatch.setattr(import_module("crosspoint.export.engine.builder"), "find_builder", missing)
    assert quickstart._missing_builder() == "tensorrt is not installed"


def test_the_sizes_that_the_documentation_states():
    assert (quickstart.PER_CLASS, quickstart.POINTS) == (24, 256)
    assert quickstart.RECIPE == ("points=256", "epochs=6", "batch=32", "image_size=48")


def test_what_is_measured_and_where_it_is_written(tmp_path, monkeypatch):
    calls = []

    def stand_in(module, name, result):
        original = getattr(import_module(module), name)

        def called(*arguments, **options):
            calls.append((name, bound(original, arguments, options)))
            return result(len(calls))

        monkeypatch.setattr(import_module(module), name, called)

    def scored(count):
        scores = {"official": SimpleNamespace(accuracy=count / 100), "clean": SimpleNamespace(accuracy=count / 10)}
        return SimpleNamespace(**scores, to_json=lambda: {"call": count})

    stand_in("crosspoint.runtime.jobs.embed", "embed", scored)
    stand_in("crosspoint.eval.svm", "svm", scored)
    stand_in("crosspoint.parity.parity", "parity", scored)
    steps = quickstart.StepTimer()
    accuracy = quickstart._evaluate(tmp_path, 5, steps)
    assert [name for name, _ in calls] == ["embed", "svm", "svm", "svm", "parity"]
    assert [row.status for row in steps.rows] == ["ran"] * 5
    data = tmp_path / "shapes" / "modelnet40_ply_hdf5_2048"
    embedded, *measured, compared = (given for _, given in calls)
    models = {"trained": tmp_path / "run", "untrained": tmp_path / "untrained", "engine": tmp_path / "bundle"}
    assert (embedded["model"], embedded["inputs"]) == (models["engine"], [data])
    assert (embedded["out"], embedded["sampling"]) == (tmp_path / "embeddings.npz", Sampling(256, seed=5))
    for given, (name, model) in zip(measured, models.items(), strict=True):
        assert (given["model"], given["data"], given["sampling"]) == (model, data, Sampling(256, 5, 1))
        assert given["out"] == tmp_path / "results" / name
    assert (compared["reference"], compared["candidate"], compared["data"]) == (
        models["trained"],
        models["engine"],
        data,
    )
    assert (compared["sampling"], compared["clouds"]) == (Sampling(256, seed=5), 200)
    assert {name: (own.official, own.clean) for name, own in accuracy.items()} == {
        "trained": (0.02, 0.2),
        "untrained": (0.03, 0.3),
        "engine": (0.04, 0.4),
    }
    names = ("embed", "svm-trained", "svm-untrained", "svm-engine", "parity")
    written = [json.loads((tmp_path / "results" / f"{name}.json").read_text())["call"] for name in names]
    assert written == [1, 2, 3, 4, 5]
