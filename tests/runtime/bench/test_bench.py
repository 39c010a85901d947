import json

import pytest
import small_models as small
from click.testing import CliRunner
from PIL import Image

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.runtime.backends.cuda import device_count
from crosspoint.runtime.bench.bench import bench

QUICK = {"batch": 2, "points": 16, "threads": 1, "seconds": 0.0}


def gpu_present():
    try:
        return device_count() > 0
    except Exception:
        return False


def test_two_models_in_turns(tmp_path):
    files = [small.write_onnx(tmp_path / f"{name}.onnx") for name in "ab"]
    result = bench(files, devices=["cpu"], **QUICK)
    assert [row.model for row in result.rows] == [str(file) for file in files]
    for row in result.rows:
        assert row.p50_ms <= row.p90_ms <= row.p99_ms
        assert row.calls >= 5
        assert row.clouds_per_second > 0
        assert (row.device, row.points, row.threads) == ("cpu", 16, 1)
        assert row.engine.startswith("ONNX Runtime")
        assert row.floor is None
        assert row.memory_bytes is None or row.memory_bytes >= 0
    assert result.not_run == ()


def test_a_known_architecture_has_its_floor(tmp_path):
    metadata = '{"model": {"architecture": "dgcnn", "k": 10}, "k": 10}'
    (row,) = bench([small.write_onnx(tmp_path / "m.onnx", metadata=metadata)], devices=["cpu"], **QUICK).rows
    assert row.floor.operations > 0
    assert row.floor.call_ms > 0
    assert row.gflops > 0


def test_segmenters_are_measured_too(tmp_path):
    (row,) = bench([small.write_segmenter(tmp_path / "s.onnx")], devices=["cpu"], **QUICK).rows
    assert row.p50_ms > 0


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_what_cannot_run_is_listed_with_its_reason(tmp_path):
    file = small.write_onnx(tmp_path / "m.onnx")
    result = bench([file], devices=["cpu", "cuda"], **QUICK)
    assert [row.device for row in result.rows] == ["cpu"]
    assert {row.backend for row in result.not_run} == {"onnxruntime", "onnxruntime-tensorrt"}
    assert all(row.device == "cuda" and row.reason for row in result.not_run)


@pytest.mark.gpu
@pytest.mark.skipif(not gpu_present(), reason="no NVIDIA GPU")
def test_a_gpu_is_measured_beside_the_cpu(tmp_path):
    result = bench([small.write_onnx(tmp_path / "m.onnx")], **QUICK)
    devices = [row.device for row in result.rows]
    assert "cpu" in devices
    assert "cuda:0" in devices


def test_the_processor_is_measured_where_one_of_several_models_runs_on_it(tmp_path, engine_bundle, host):
    metadata = '{"model": {"architecture": "dgcnn", "k": 10}, "k": 10}'
    cpu = small.write_onnx(tmp_path / "m.onnx", metadata=metadata)
    rows = bench([cpu, engine_bundle / "encoder.plan"], devices=["cpu", "cuda"], **QUICK).rows
    assert {row.device: row.floor is not None for row in rows} == {"cpu": True, "cuda:0": False}


def test_clouds_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing could be run: .* takes exactly 32 points per cloud, not 16"):
        bench([small.write_onnx(tmp_path / "m.onnx", points=32)], devices=["cpu"], **QUICK)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        bench([tmp_path / "none"], devices=["cpu"], **QUICK)


def test_an_engine_without_a_manifest_has_to_be_trusted(tmp_path, plan, host):
    (tmp_path / "own.plan").write_bytes(plan)
    document = tmp_path / "speed.json"
    arguments = ["bench", str(tmp_path / "own.plan"), "--device", "cuda", "--points", "16", "--seconds", "0"]
    refused = CliRunner().invoke(crosspoint, arguments)
    assert isinstance(refused.exception, InputError)
    assert "embed or bench and --trust" in str(refused.exception)
    result = CliRunner().invoke(crosspoint, [*arguments, "--trust", "--json", str(document)])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(document.read_text())["rows"]
    assert (row["backend"], row["precision"], row["floor"]) == ("tensorrt", "unknown", None)


def test_the_command_writes_table_picture_and_json(tmp_path):
    file = small.write_onnx(tmp_path / "m.onnx")
    picture, document = tmp_path / "speed.png", tmp_path / "speed.json"
    options = ["--device", "cpu", "--points", "16", "--seconds", "0", "--out", str(picture), "--json", str(document)]
    result = CliRunner().invoke(crosspoint, ["bench", str(file), *options])
    assert result.exit_code == 0, result.output
    assert "clouds/s" in result.output
    written = json.loads(document.read_text())
    assert written["schema"] == "crosspoint.bench/1"
    assert written["batch"] == 8
    assert list(written) == ["schema", "processor", "machine", "batch", "threads", "rows", "not_run"]
    assert list(written["machine"]) == ["gflops", "gigabytes"]
    assert list(written["rows"][0]) == [
        *("model", "backend", "device", "engine", "architecture", "precision", "points", "threads", "open_ms"),
        *("first_call_ms", "calls", "p50_ms", "p90_ms", "p99_ms", "clouds_per_second", "memory_bytes", "floor"),
        *("gflops", "sha256"),
    ]
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert min(image.size) > 100


def test_a_picture_has_to_be_a_png(tmp_path):
    file = small.write_onnx(tmp_path / "m.onnx")
    result = CliRunner().invoke(crosspoint, ["bench", str(file), "--out", str(tmp_path / "speed.jpg")])
    assert isinstance(result.exception, InputError)
