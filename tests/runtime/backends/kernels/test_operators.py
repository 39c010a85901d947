"""The graph with the CPU operators, opened by ONNX Runtime alone."""

import contextlib
import json
import subprocess
import sys
import types

import numpy as np
import pytest

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.kernels import operators
from crosspoint.runtime.backends.kernels.operators import write_operators
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.released import resolve

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(not kernels.LIBRARY.is_file(), reason="the CPU operators are not compiled")

ALONE = """
import json, sys
import numpy as np
import onnxruntime
folder, points, out = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.register_custom_ops_library(folder + "/" + json.load(open(folder + "/operators.json"))["library"])
session = onnxruntime.InferenceSession(folder + "/encoder.onnx", options, providers=["CPUExecutionProvider"])
np.save(out, session.run(["embedding"], {"points": np.load(points)})[0])
assert "crosspoint" not in sys.modules
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("operators") / "fast"
    return out, write_operators("pointnet", out)


def run_alone(folder, points, tmp_path):
    np.save(tmp_path / "points.npy", points)
    words = [folder, tmp_path / "points.npy", tmp_path / "out.npy"]
    subprocess.run([sys.executable, "-I", "-c", ALONE, *map(str, words)], check=True)
    return np.load(tmp_path / "out.npy")


@pytest.mark.parametrize("model", ["pointnet", "dgcnn"])
def test_onnxruntime_alone_gives_the_embeddings_of_the_package(model, tmp_path):
    write_operators(model, tmp_path / "fast")
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 40, 3)).astype(np.float32)
    with load_encoder(model, threads=1) as encoder:
        expected = encoder.infer({"points": points}, any_scale=True)
    np.testing.assert_allclose(run_alone(tmp_path / "fast", points, tmp_path), expected, atol=1e-5)


def test_the_result_says_what_was_written(written):
    out, result = written
    assert json.loads((out / "operators.json").read_text()) == json.loads(json.dumps(result.to_json()))
    assert (result.operators, result.library) == ({"Max": 1}, kernels.LIBRARY.name)
    assert {path.name for path in out.iterdir()} == {"encoder.onnx", "operators.json", kernels.LIBRARY.name}
    assert (out / result.library).read_bytes() == kernels.LIBRARY.read_bytes()


def test_an_earlier_result_is_replaced_and_nothing_else(written, tmp_path):
    out, _ = written
    write_operators("pointnet", out)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="did not write"):
        write_operators("pointnet", tmp_path)
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_a_graph_of_another_program_is_refused(tmp_path):
    import onnx

    model = onnx.load(resolve("pointnet", ".onnx"))
    model.ir_version += 1
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="has no place for the CPU operators"):
        write_operators(tmp_path / "other.onnx", tmp_path / "fast")


def test_bf16_is_refused_as_nothing_would_check_it(tmp_path, monkeypatch):
    specification = types.SimpleNamespace(path="m.onnx", sha256="", precision="bf16+fp32", points=64, categories=None)
    encoder = types.SimpleNamespace(specification=specification)
    monkeypatch.setattr(operators, "load_encoder", lambda *_, **__: contextlib.nullcontext(encoder))
    monkeypatch.setattr(operators, "read_same", lambda *_: b"")
    with pytest.raises(InputError, match=r"m\.onnx is bf16, .* give an fp32 or int8 export"):
        write_operators("m.onnx", tmp_path / "fast")
    assert not (tmp_path / "fast").exists()


def test_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="runs on the backend pytorch"):
        write_operators(resolve("pointnet", ".safetensors"), tmp_path / "fast")


def test_operators_that_compute_something_else_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(operators, "LIMIT", -1.0)
    with pytest.raises(CheckFailed, match="differs from"):
        write_operators("pointnet", tmp_path / "fast")
    assert not (tmp_path / "fast").exists()


def test_an_installation_without_the_library_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "edges.so")
    with pytest.raises(InputError, match="no compiled CPU operators"):
        write_operators("pointnet", tmp_path / "fast")
