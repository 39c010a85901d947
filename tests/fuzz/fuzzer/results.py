"""Targets: results and their report, cached features, the registry of released models, JSON."""

import json
from functools import cache
from pathlib import Path

import numpy as np

from crosspoint.runtime.options import Sampling
from fuzzer import made
from fuzzer.attacks import NO_JSON, instead
from fuzzer.cases import Files, Target
from fuzzer.made import CLOUDS, folder, place
from fuzzer.run import is_line
from fuzzer.training_runs import run_folder


@cache
def _results() -> Files:
    """A folder as the quickstart leaves it, its results made by the commands."""
    from click.testing import CliRunner

    from crosspoint.cli import crosspoint
    from crosspoint.runtime.jobs.embed import embed

    def make(root: Path) -> None:
        model, data = root / "model.onnx", place(made.modelnet(), root / "set")
        model.write_bytes(made.small_onnx())
        small = ("--data", data, "--points", 16)
        for kind, line in {
            "svm": ("eval", "svm", model, *small, "--seeds", 1),
            "fewshot": ("eval", "fewshot", model, *small, "--ways", 2, "--shots", 1, "--queries", 1),
            "robustness": ("eval", "robustness", model, *small, "--corruption", "rotation"),
            "bench": ("bench", model, "--points", 16, "--batch", 2, "--threads", 1, "--seconds", 0, "--device", "cpu"),
        }.items():
            words = [str(word) for word in (*line, "--json", root / f"{kind}.json")]
            done = CliRunner().invoke(crosspoint, words)
            assert done.exit_code == 0, done.output
        embed(model, [data], out=root / "embeddings.npz", sampling=Sampling(16))
        model.unlink()
        place(run_folder("pretrain"), root / "run")
        place(made.bundle(), root / "bundle")
        steps = [{"name": "train", "seconds": 3.0, "status": "ran"}]
        summary = {"schema": "crosspoint.quickstart/1", "seed": 4, "accuracy": {}, "steps": steps}
        (root / "quickstart.json").write_text(json.dumps(summary))
        place(made.parts(), root / "parts")

    return folder(make)


def _read_report(root: Path) -> None:
    from crosspoint.report.page import report

    result = report(root)
    assert all(map(is_line, result.remarks)), result.remarks
    (root / "report.html").read_text(encoding="utf-8")


SPECIFICATION = ("dgcnn", 8, None, None, "fp32", "onnxruntime", "cpu", "0" * 64, "model.onnx")


@cache
def _cache() -> Files:
    from crosspoint.eval.cache import cached
    from crosspoint.runtime.specification import Specification

    features = np.ones((6, 8), np.float32)
    return folder(lambda root: cached(root, Specification(*SPECIFICATION), clouds=CLOUDS, compute=lambda: features))


def _read_cache(root: Path) -> None:
    from crosspoint.eval.cache import cached
    from crosspoint.runtime.specification import Specification

    features = np.ones((6, 8), np.float32)
    assert (cached(root, Specification(*SPECIFICATION), clouds=CLOUDS, compute=lambda: features) == 1).all()


def _registry() -> Files:
    from crosspoint.runtime.released import FOLDER, REGISTRY

    return {REGISTRY: (FOLDER / REGISTRY).read_bytes()}


def _read_registry(root: Path) -> None:
    from crosspoint.runtime import released as named

    usual, named.FOLDER = named.FOLDER, root
    try:
        for name in named.releases():
            named.find_release(name)
        named.find_hash("0" * 64)
        named.names()
        named.resolve("dgcnn", ".onnx")
    except named.InputError as error:
        if "is missing or is not the released file" not in str(error):  # the models do not lie beside this registry
            raise
    finally:
        named.FOLDER = usual


def _write_json(root: Path) -> None:
    """Whatever JSON can hold is written and is the same when it is read, or is refused in one line."""
    from crosspoint.core.files import write_json
    from crosspoint.core.reading import read_json

    value = read_json(root / "value.json", "JSON")
    write_json(root / "out.json", value)
    assert repr(read_json(root / "out.json", "JSON")) == repr(value)
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


def _json() -> Files:
    value = {"name": "añ", "numbers": [1, 2.5, -3], "none": None, "inner": {"true": True, "text": "x\ny"}}
    return {"value.json": json.dumps(value).encode()}


def _reports() -> list[Files]:
    """Results, and once in eight cases with the embeddings, whose map takes long to draw."""
    whole = _results()
    return [whole] + 7 * [{name: content for name, content in whole.items() if name != "embeddings.npz"}]


RESULTS = (
    Target("report", _reports, _read_report, instead(_results, "svm.json", NO_JSON)),
    Target("cache", lambda: [_cache()], _read_cache),
    Target("registry", lambda: [_registry()], _read_registry, instead(_registry, "registry.json", NO_JSON)),
    Target("write-json", lambda: [_json()], _write_json),
)
