"""The table of a model's layers, from ONNX Runtime's profile and from TensorRT's inspector."""

import numpy as np
import pytest
import small_models as small
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.bench.bench import bench, list_layers
from crosspoint.runtime.bench.layers import CALLS, TIME, WARM_UP, _inspected, _profiled, layers_of
from crosspoint.runtime.released import resolve

QUICK = {"batch": 2, "points": 16, "threads": 1, "seconds": 0.0}


def event(name, milliseconds, operator="MatMul"):
    return {"cat": "Node", "name": f"{name}{TIME}", "dur": 1e3 * milliseconds, "args": {"op_name": operator}}


def test_times_are_medians_of_the_calls_after_the_warm_up():
    first = [event("a", 100), event("b", 100)] * WARM_UP
    later = [event(name, time) for time in (1, 2, 90) for name in "ab"]
    session = {"cat": "Session", "name": "model_run", "dur": 5, "args": {}}
    rows = _profiled([session, *first, *later])
    assert [(row.name, row.operator, row.ms, row.share) for row in rows] == [
        ("a", "MatMul", 2, 0.5),
        ("b", "MatMul", 2, 0.5),
    ]


def test_layers_of_an_engine_have_the_details_that_were_kept():
    detailed, named = _inspected({"Layers": [{"Name": "x", "LayerType": "gemm", "Precision": "FP16"}, "y"]})
    assert (detailed.name, detailed.operator, detailed.precision, detailed.ms) == ("x", "gemm", "FP16", None)
    assert (named.name, named.operator, named.precision) == ("y", "", "")


def test_onnx_runtime_gives_a_time_for_every_node(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with OnnxEncoder(small.write_onnx(tmp_path / "m.onnx"), threads=1) as encoder:
        table = layers_of(encoder, {"points": np.zeros((1, 16, 3), np.float32)})
    assert {row.operator for row in table.rows} >= {"MatMul", "ReduceMax"}
    assert all(row.ms > 0 for row in table.rows)
    assert sum(row.share for row in table.rows) == pytest.approx(1)
    assert str(CALLS - WARM_UP) in table.source
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_an_engine_is_inspected(tmp_path, engine_bundle, host):
    result = list_layers(bench([engine_bundle / "encoder.plan"], devices=["cuda"], **QUICK), points=16)
    assert [row.name for row in result.layers[0].rows] == ["mapped", "max"]


def test_what_has_no_table_says_so():
    pytest.importorskip("torch")
    result = list_layers(bench([resolve("pointnet", ".safetensors")], devices=["cpu"], **QUICK), points=16)
    assert result.layers == ()
    assert "has no table of layers; give an .onnx file" in result.not_run[0].reason


def test_the_command_prints_the_layers(tmp_path):
    path = small.write_onnx(tmp_path / "m.onnx")
    words = ["bench", str(path), "--device", "cpu", "--points", "16", "--seconds", "0", "--layers"]
    done = CliRunner().invoke(crosspoint, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert "ReduceMax" in done.output
    assert "layer" in done.output
