"""What is given on the command line is what the function behind it gets."""

from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.commands.embed import parse_shard
from crosspoint.core.errors import InputError
from crosspoint.export.engine.builder import Options
from crosspoint.export.options import ExportOptions
from crosspoint.runtime.jobs.parts import PartOptions
from crosspoint.runtime.jobs.search import SearchOptions
from crosspoint.runtime.library.duplicates import DuplicatesOptions
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.scans import TrainingSet


class Called(Exception):
    """Of a function, instead of its work."""


def given_to(monkeypatch, module, function, *words):
    """Positional and keyword arguments of the function's only call."""

    def called(*arguments, **options):
        raise Called(arguments, options)

    monkeypatch.setattr(import_module(module), function, called)
    with pytest.raises(Called) as found:
        CliRunner().invoke(crosspoint, [str(word) for word in words], catch_exceptions=False)
    return found.value.args


def test_train(monkeypatch):
    words = (
        "--data",
        "d",
        "--out",
        "o",
        "--recipe",
        "quick",
        "--set",
        "batch=3",
        "--views",
        "2",
        "--objective",
        "imid",
    )
    words += ("--negatives", "local", "--precision", "bf16", "--resume", "--device", "cuda:3", "--workers", 5)
    words += ("--probe", "p", "--probe-every", 7, "--init", "i.safetensors", "--scans", "s")
    arguments, options = given_to(monkeypatch, "crosspoint.train.pretrain.pretrain", "train", "train", *words)
    overrides = ("batch=3", "objective=imid", "views=2", "negatives=local", "precision=bf16")
    assert arguments == (TrainingSet(Path("d"), Path("s")), Path("o"))
    assert sorted(options.pop("overrides")) == sorted(overrides)
    assert options == {
        "recipe": "quick",
        "resume": True,
        "device": "cuda:3",
        "init": Path("i.safetensors"),
        "options": RunOptions(workers=5, probe=Path("p"), probe_every=7),
    }


def test_finetune(monkeypatch):
    words = ("--data", "d", "--out", "o", "--from", "b", "--recipe", "quick", "--set", "batch=3", "--resume")
    module = "crosspoint.train.partseg.finetune"
    arguments, options = given_to(monkeypatch, module, "partseg", "finetune", "partseg", *words, "--device", "cuda:3")
    assert arguments == (Path("d"), Path("o"))
    assert options == {
        "start": Path("b"),
        "recipe": "quick",
        "overrides": ("batch=3",),
        "resume": True,
        "device": "cuda:3",
    }


def test_export(monkeypatch):
    words = ("export", "m", "--out", "o", "--trt", "--precision", "fp16", "--batch", "1:2:3", "--points", "any")
    words += ("--target", "sm86,sm89", "--builder", "rtx", "--tf32", "--workspace", 5, "--timing-cache", "t")
    words += ("--triton", "r", "--projection", "--calibrate", "c", "--verify-data", "v", "--verify-clouds", 7)
    words += ("--max-drop", 0.3, "--up", "-y", "--sign", "k")
    arguments, options = given_to(monkeypatch, "crosspoint.export.bundle", "export", *words)
    verified = options.pop("verification")
    assert arguments == (Path("m"), Path("o"))
    found = (verified.data, verified.clouds, verified.max_drop, verified.calibrate, verified.up)
    assert found == (Path("v"), 7, 0.3, Path("c"), "-y")
    assert options == {
        "trt": True,
        "precision": "fp16",
        "batch": "1:2:3",
        "points": "any",
        "options": ExportOptions(
            builder="rtx",
            target=("sm86", "sm89"),
            build=Options(tf32=True, workspace=5, timing_cache=Path("t")),
            projection=True,
            triton=Path("r"),
            sign=Path("k"),
        ),
    }


COMPARED = ("--data", "d", "--points", 99, "--clouds", 8, "--seed", 7, "--up", "z", "--device", "cuda:3")
COMPARED += ("--backend", "tensorrt", "--reference-device", "cuda:1")
COMPARED_AS = {
    "data": Path("d"),
    "clouds": 8,
    "sampling": Sampling(99, 7, up="z"),
    "run_on": RunOn("cuda:3", "tensorrt"),
    "reference_device": "cuda:1",
}


def test_parity(monkeypatch):
    words = ("parity", "a", "b", *COMPARED, "--by-interval")
    arguments, options = given_to(monkeypatch, "crosspoint.parity.parity", "parity", *words)
    assert arguments == (Path("a"), Path("b"))
    assert options == COMPARED_AS | {"by_interval": True}


def test_diagnose(monkeypatch):
    words = ("diagnose", "a", "b", *COMPARED, "--out", "o.png")
    arguments, options = given_to(monkeypatch, "crosspoint.parity.layers.diagnose", "diagnose", *words)
    assert arguments == (Path("a"), Path("b"))
    assert options == COMPARED_AS | {"out": Path("o.png")}


def test_embed(monkeypatch):
    words = ("embed", "in.ply", "--model", "m", "--out", "o/", "--points", 99, "--seed", 7, "--up", "z", "--batch", 3)
    words += ("--draws", 4, "--shard", "2/5", "--part", 6, "--format", "npz", "--readers", 4, "--ray")
    words += ("--columns", "2,3,4", "--include", "*.xyz", "--include", "maps/*", "--exclude", "old*")
    words += ("--device", "cuda:3", "--backend", "tensorrt", "--trust")
    arguments, options = given_to(monkeypatch, "crosspoint.runtime.jobs.embed", "embed", *words)
    assert arguments == ("m", (Path("in.ply"),))
    assert options == {
        "out": "o/",
        "sampling": Sampling(99, 7, up="z", draws=4),
        "batch": 3,
        "run_on": RunOn("cuda:3", "tensorrt", trust=True),
        "parts": PartOptions((2, 5), size=6, form="npz", ray=True),
        "reading": Reading("2,3,4", ("*.xyz", "maps/*"), ("old*",), readers=4),
    }


def test_duplicates(monkeypatch):
    words = ("duplicates", "a", "b", "--level", "copy", "--out", "o.csv", "--within", 0.25, "--files", "f")
    words += ("--model", "m", "--points", 99, "--seed", 7, "--draws", 4, "--up", "z")
    words += (
        "--columns",
        "5",
        "--include",
        "*.ply",
        "--exclude",
        "old*",
        "--device",
        "cuda:3",
        "--backend",
        "tensorrt",
    )
    arguments, options = given_to(monkeypatch, "crosspoint.runtime.library.duplicates", "duplicates", *words)
    assert arguments == ((Path("a"), Path("b")), DuplicatesOptions("copy", 0.25))
    assert options == {
        "out": Path("o.csv"),
        "files": Path("f"),
        "model": "m",
        "sampling": Sampling(99, 7, up="z", draws=4),
        "run_on": RunOn("cuda:3", "tensorrt"),
        "reading": Reading("5", ("*.ply",), ("old*",)),
    }


def test_select(monkeypatch):
    words = ("select", "e.npz", "--keep", 30, "--out", "o.csv")
    arguments, options = given_to(monkeypatch, "crosspoint.runtime.library.select", "select", *words)
    assert (arguments, options) == ((Path("e.npz"), 30), {"out": Path("o.csv")})


def test_search(monkeypatch):
    words = ("search", "q", "--in", "i.npz", "--k", 3, "--metric", "euclidean", "--out", "o.png", "--model", "m")
    words += ("--files", "f", "--up", "-x", "--device", "cuda:3", "--backend", "tensorrt")
    arguments, options = given_to(monkeypatch, "crosspoint.runtime.jobs.search", "search", *words)
    assert arguments == ("q",)
    assert options == {
        "index": Path("i.npz"),
        "options": SearchOptions(3, "euclidean", "-x"),
        "out": Path("o.png"),
        "model": "m",
        "files": Path("f"),
        "run_on": RunOn("cuda:3", "tensorrt"),
    }


def test_bench(monkeypatch):
    words = (
        "bench",
        "a.onnx",
        "--batch",
        3,
        "--points",
        99,
        "--threads",
        2,
        "--device",
        "cpu",
        "--seconds",
        0.5,
        "--trust",
    )
    arguments, options = given_to(
        monkeypatch, "crosspoint.runtime.bench.bench", "bench", *words, "--backend", "pytorch"
    )
    assert [Path(model) for model in arguments[0]] == [Path("a.onnx")]
    assert tuple(options.pop("devices")) == ("cpu",)
    assert options == {
        "batch": 3,
        "points": 99,
        "threads": 2,
        "backend": "pytorch",
        "seconds": 0.5,
        "trust": True,
    }


@pytest.mark.parametrize("text", ["3", "3/", "/100", "a/b", "3/100/7", "-1/3"])
def test_a_shard_that_is_not_two_numbers_is_refused(text):
    with pytest.raises(InputError, match="give for example 3/100"):
        parse_shard(text)


def test_a_shard_is_two_numbers():
    assert parse_shard("3/100") == (3, 100)
    assert parse_shard(None) is None
