import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.core.errors import CheckFailed
from crosspoint.eval.fewshot import TaskOptions
from crosspoint.models import PointNet
from crosspoint.models.weights import save_model
from crosspoint.runtime.options import RunOn, Sampling


def invoke(*arguments):
    return CliRunner().invoke(crosspoint, [str(a) for a in arguments], catch_exceptions=False)


def test_eval_svm_prints_both_rules_and_writes_them(tmp_path, modelnet, pointnet):
    result = invoke("eval", "svm", pointnet, "--data", modelnet, "--points", 16, "--json", tmp_path / "svm.json")
    assert "official" in result.output
    assert "clean" in result.output
    written = json.loads((tmp_path / "svm.json").read_text())
    assert written["schema"] == "crosspoint.svm/1"
    for rule in ("official", "clean"):
        assert 0 <= written[rule]["accuracy"] <= 1
        assert f"{written[rule]['accuracy']:.2%}" in result.output


def test_eval_svm_says_that_it_held_out_a_part(tmp_path, writers, pointnet):
    root = writers["modelnet40"](tmp_path, test=0)
    result = invoke("eval", "svm", pointnet, "--data", root, "--points", 64)
    assert "there is no test split" in " ".join(result.output.split())


def test_eval_fewshot_prints_a_row_for_each_pair(tmp_path, modelnet, pointnet):
    options = ("--ways", 2, "--ways", 3, "--shots", 1, "--queries", 5, "--runs", 2, "--points", 16)
    result = invoke("eval", "fewshot", pointnet, "--data", modelnet, *options, "--json", tmp_path / "a.json")
    assert "standard error" in result.output
    written = json.loads((tmp_path / "a.json").read_text())
    assert len(written["tasks"]) == 4


def test_against_is_shown_by_both_evaluations(tmp_path, modelnet, pointnet):
    common = ("--data", modelnet, "--points", 16, "--against", pointnet, "--cache", tmp_path / "cache")
    svm = invoke("eval", "svm", pointnet, *common)
    few = invoke("eval", "fewshot", pointnet, *common, "--ways", 2, "--shots", 2, "--queries", 3, "--runs", 2)
    for result in (svm, few):
        assert "McNemar's p" in result.output
        assert "100.00%" in result.output
    assert list((tmp_path / "cache").iterdir())


def test_parity_of_a_model_with_itself_ends_well(tmp_path, modelnet, pointnet):
    result = invoke("parity", pointnet, pointnet, "--data", modelnet, "--points", 16, "--json", tmp_path / "a.json")
    assert result.exit_code == 0
    assert "passed" in result.output
    assert json.loads((tmp_path / "a.json").read_text())["passed"] is True


def test_parity_of_different_models_is_a_failed_check_with_a_result(tmp_path, modelnet, pointnet):
    torch.manual_seed(1)
    save_model(PointNet().eval(), tmp_path / "b.safetensors")
    arguments = ("parity", pointnet, tmp_path / "b.safetensors", "--data", modelnet, "--points", 16)
    with pytest.raises(CheckFailed, match=r"fp32: largest relative L2 error .* would pass at"):
        invoke(*arguments, "--json", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["passed"] is False


class Called(Exception):
    """Of a protocol, instead of its work."""


@pytest.mark.parametrize(
    ("command", "options", "sampling", "run_on", "others"),
    [
        ("svm", ("--seeds", 5), Sampling(99, 7, 5), RunOn("cuda:3", "tensorrt", Path("f")), {}),
        (
            "fewshot",
            ("--ways", 3, "--shots", 4, "--queries", 6, "--runs", 8, "--k", 9),
            Sampling(99, 7),
            RunOn("cuda:3", "tensorrt", Path("f")),
            {"tasks": TaskOptions((3,), (4,), queries=6, runs=8), "k": 9},
        ),
        (
            "robustness",
            ("--corruption", "noise", "--out", "o"),
            Sampling(99, 7),
            RunOn("cuda:3", "tensorrt", Path("f")),
            {"corruptions": ("noise",), "out": Path("o")},
        ),
        ("partseg", ("--seeds", 5, "--out", "o"), Sampling(99, 7, 5), RunOn("cuda:3", "tensorrt"), {"out": Path("o")}),
    ],
)
def test_options_reach_the_protocol(monkeypatch, command, options, sampling, run_on, others):
    def called(model, data, **given):
        raise Called(model, data, given)

    monkeypatch.setattr(import_module(f"crosspoint.eval.{command}"), command, called)
    usual = ("--points", 99, "--seed", 7, "--device", "cuda:3", "--backend", "tensorrt", "--against", "b.onnx")
    cache = () if run_on.cache is None else ("--cache", "f")
    with pytest.raises(Called) as found:
        invoke("eval", command, "a.onnx", "--data", "d", *usual, *cache, *options)
    _, data, given = found.value.args
    assert (data, given["sampling"], given["run_on"]) == (Path("d"), sampling, run_on)
    assert given["against"] == Path("b.onnx")
    assert {name: given[name] for name in others} == others


def test_importing_the_evaluations_does_not_import_torch():
    names = ("commands.tables.eval", "eval.fewshot", "eval.figures", "eval.robustness", "eval.svm", "parity.parity")
    imports = "".join(f"\nimport crosspoint.{name}" for name in names)
    code = f"import sys\nsys.modules['torch'] = None{imports}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_untrained_encoder_beats_chance_on_real_shapes(tmp_path, pointnet):
    root = os.environ.get("CROSSPOINT_TEST_DATA")
    if root is None:
        pytest.skip("CROSSPOINT_TEST_DATA is not set")
    source = Path(root) / "modelnet40_ply_hdf5_2048"
    with h5py.File(source / "ply_data_train0.h5") as file:
        points, labels = file["data"][:], file["label"][:].reshape(-1)
    kept = np.concatenate([np.flatnonzero(labels == label)[:20] for label in (0, 8, 30, 37)])
    (tmp_path / "modelnet40_ply_hdf5_2048").mkdir()
    with h5py.File(tmp_path / "modelnet40_ply_hdf5_2048" / "ply_data_train0.h5", "w") as file:
        file["data"], file["label"] = points[kept], labels[kept][:, None]
    (tmp_path / "modelnet40_ply_hdf5_2048" / "shape_names.txt").write_text((source / "shape_names.txt").read_text())
    invoke("eval", "svm", pointnet, "--data", tmp_path, "--points", 256, "--seeds", 1, "--json", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["clean"]["interval"][0] > 0.25
