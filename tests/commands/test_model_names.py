"""The names of released models are taken wherever a model is."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.models.weights import load_model
from crosspoint.runtime import released
from crosspoint.train.pretrain.initial_weights import find_initial_weights

POINTNET = released.releases()["pointnet"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def result_of(*arguments):
    done = CliRunner().invoke(crosspoint, [*arguments, "--json", "result.json"])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output, json.loads(Path("result.json").read_text())


def write_clouds(count, points):
    rng = np.random.default_rng(0)
    Path("clouds").mkdir()
    for i in range(count):
        np.save(f"clouds/{i}.npy", rng.normal(size=(points, 3)).astype(np.float32))


def test_train_starts_from_a_name():
    assert find_initial_weights(Path("pointnet")) == POINTNET.file(".safetensors")
    assert find_initial_weights(Path("pointnet@2")) == POINTNET.file(".safetensors")


def test_finetune_says_that_a_released_encoder_is_no_backbone_of_a_segmenter():
    done = CliRunner().invoke(crosspoint, ["finetune", "partseg", "--data", ".", "--out", "run", "--from", "pointnet"])
    assert str(done.exception).startswith(f"{POINTNET.file('.safetensors')} holds pointnet, which does not fit")


def test_bench_runs_a_name_on_all_that_can_run_it():
    _, result = result_of("bench", "pointnet", "--device", "cpu", "--batch", "1", "--points", "32", "--seconds", "0")
    assert [(row["model"], row["backend"]) for row in result["rows"]] == [
        ("pointnet", "onnxruntime"),
        ("pointnet", "pytorch"),
    ]


def test_parity_of_a_name_compares_with_the_trained_network_and_says_so():
    write_clouds(2, 32)
    shown, result = result_of("parity", "pointnet", "pointnet", "--data", "clouds", "--points", "32")
    trained, exported = str(POINTNET.file(".safetensors")), str(POINTNET.file(".onnx"))
    assert (result["reference"]["path"], result["candidate"]["path"]) == (trained, exported)
    assert f"reference: {trained} (fp32, pytorch on cpu)\ncandidate: {exported} (fp32, onnxruntime on cpu)\n" in shown


def test_diagnose_of_a_name_compares_with_the_trained_network():
    _, result = result_of("diagnose", "pointnet", "pointnet", "--points", "32")
    assert result["reference"]["path"] == str(POINTNET.file(".safetensors"))
    assert result["candidate"]["path"] == str(POINTNET.file(".onnx"))


def test_reproduce_reads_the_role_of_a_name_from_its_trained_network():
    from crosspoint.eval.paper.roles import assign

    path = POINTNET.file(".safetensors")
    models, facts = assign(
        ["pointnet"], lambda facts: facts.value("objective"), roles=["joint"], names=["encoder.safetensors"]
    )
    assert models == {"joint": [path]}
    assert facts[path].config == load_model(path).config


def test_without_torch_a_name_opens_the_exported_file(monkeypatch):
    monkeypatch.setattr(released, "find_spec", lambda name: None)
    assert released.trained("pointnet") == Path("pointnet")
    assert released.resolve(released.trained("pointnet"), ".onnx") == POINTNET.file(".onnx")
