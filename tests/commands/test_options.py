"""What is given on the command line is what the function behind it gets."""

from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from crosspoint.cli import crosspoint


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
    words += ("--probe", "p", "--probe-every", 7, "--init", "i.safetensors")
    arguments, options = given_to(monkeypatch, "crosspoint.train.pretrain.pretrain", "train", "train", *words)
    overrides = ("batch=3", "objective=imid", "views=2", "negatives=local", "precision=bf16")
    assert arguments == (Path("d"), Path("o"))
    assert sorted(options.pop("overrides")) == sorted(overrides)
    assert options == {
        "recipe": "quick",
        "resume": True,
        "device": "cuda:3",
        "workers": 5,
        "probe": Path("p"),
        "probe_every": 7,
        "init": Path("i.safetensors"),
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
    words += ("--max-drop", 0.3, "--sign", "k")
    arguments, options = given_to(monkeypatch, "crosspoint.export.bundle", "export", *words)
    built, verified = options.pop("options"), options.pop("verification")
    assert arguments == (Path("m"), Path("o"))
    assert (built.tf32, built.workspace, built.timing_cache) == (True, 5, Path("t"))
    found = (verified.data, verified.clouds, verified.max_drop, verified.calibrate)
    assert found == (Path("v"), 7, 0.3, Path("c"))
    assert tuple(options.pop("target")) == ("sm86", "sm89")
    assert options == {
        "trt": True,
        "precision": "fp16",
        "batch": "1:2:3",
        "points": "any",
        "builder": "rtx",
        "triton": Path("r"),
        "projection": True,
        "sign": Path("k"),
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
