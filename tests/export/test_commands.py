import copy
import json
import sys
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from crosspoint.cli import main
from crosspoint.export import bundle
from crosspoint.export.onnx import choose
from crosspoint.parity.limits import LIMITS


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line; gives exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["crosspoint", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return call


def test_export_prints_the_comparison_and_the_files(run, saved, tmp_path):
    options = ("--points", "64", "--batch", "1:2:4", "--json", tmp_path / "result.json")
    code, out, _ = run("export", saved("dgcnn"), "--out", tmp_path / "bundle", *options)
    assert code == 0
    assert "passed" in out
    assert "lattice" in out
    assert f"{tmp_path / 'bundle' / 'encoder.onnx'}: " in out
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["schema"] == "crosspoint.export/1"
    assert result["manifest"] == json.loads((tmp_path / "bundle" / "manifest.json").read_text())


def test_export_with_an_engine_says_that_it_was_not_executed(run, saved, tmp_path, monkeypatch):
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(import_module("crosspoint.export.engine.builder"), "find_gpu", lambda: None)
    options = ("--trt", "--points", "64", "--batch", "2", "--target", "sm86,sm89")
    code, out, _ = run("export", saved("pointnet"), "--out", tmp_path / "bundle", *options)
    assert code == 0
    assert "for sm86, sm89: built, not executed" in out
    assert (tmp_path / "bundle" / "encoder.plan").stat().st_size > 0


@pytest.mark.parametrize(
    "options",
    [
        ("--precision", "fp8"),
        ("--batch", "8:1"),
        ("--points", "many"),
        ("--points", "0"),
        ("--trt", "--target", "sm1"),
        ("--points", "5"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(options, run, saved, tmp_path):
    code, out, err = run("export", saved("dgcnn"), "--out", tmp_path / "bundle", *options)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert options[-2 if options[0] != "--trt" else 1] in err
    assert not (tmp_path / "bundle").exists()


def test_a_bad_model_is_one_line_and_exit_code_2(run, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" * 10)
    for name in ("missing", "x.safetensors"):
        code, out, err = run("export", tmp_path / name, "--out", tmp_path / "bundle")
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert str(tmp_path / name) in err


def test_a_failing_gate_is_one_line_and_exit_code_1(run, saved, tmp_path, monkeypatch):
    source = saved("pointnet")
    monkeypatch.setitem(LIMITS, "fp32", replace(LIMITS["fp32"], relative_l2=1e-12))
    code, _, err = run("export", source, "--out", tmp_path / "bundle", "--points", "64", "--batch", "2")
    assert code == 1
    assert err.splitlines()[-1].startswith("crosspoint: encoder.onnx differs from the trained network")
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize("sabotage", ["uncentred half-precision distances", "swapped BN", "flipped sign"])
def test_a_sabotaged_graph_leaves_no_bundle_and_exit_code_1(sabotage, run, network, saved, tmp_path, monkeypatch):
    source = saved("dgcnn")
    faithful_deploy, faithful_lower = bundle.deploy, choose.lower

    def swapped(model):
        model.edges[1].linear.norm, model.edges[0].linear.norm = model.edges[0].linear.norm, model.edges[1].linear.norm
        return faithful_deploy(model)

    def flipped(model):
        weights = faithful_deploy(model)
        weights.edges[2].near[np.unravel_index(np.abs(weights.edges[2].near).argmax(), (64, 128))] *= -1
        return weights

    def uncentred(model, precision, *, exact_choices=0):
        lowered = faithful_lower(model, precision, exact_choices=exact_choices)
        names = {name for node in lowered.graph.node for name in node.output}
        features = "edge1/fp32" if "edge1/fp32" in names else "edge1"  # half precision, widened; float32 if kept
        for node in lowered.graph.node:
            node.input[:] = [features if x == "edge2/centred" else x for x in node.input]
        return lowered

    if sabotage == "uncentred half-precision distances":
        monkeypatch.setattr(choose, "lower", uncentred)
    else:
        # the reference is made from the network after the graph, so that it must not be touched
        alter = swapped if sabotage == "swapped BN" else flipped
        monkeypatch.setattr(bundle, "deploy", lambda model: alter(copy.deepcopy(model)))
    options = ("--points", "48", "--batch", "2", "--precision", "fp16")
    code, _, err = run("export", source, "--out", tmp_path / "bundle", *options)
    assert code == 1
    assert err.splitlines()[-1].startswith("crosspoint: ")
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
    expected = "breaks the rule distances-" if sabotage.startswith("uncentred") else "encoder.onnx d"
    assert expected in err
