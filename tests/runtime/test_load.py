import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models as small

from crosspoint.core.errors import InputError, Unsupported
from crosspoint.runtime import load_encoder
from crosspoint.runtime.backends import kernels

Clouds = Callable[..., np.ndarray]


def test_a_bundle_runs_its_onnx_file_on_the_cpu(engine_bundle: Path, clouds: Clouds) -> None:
    with load_encoder(engine_bundle) as encoder:
        assert encoder.specification.backend == "onnxruntime"
        assert encoder.specification.path == str(engine_bundle / "encoder.onnx")
        np.testing.assert_allclose(encoder.embed(clouds()), small.reference(clouds()), rtol=1e-6)


def test_a_path_may_be_a_string(bundle: Path) -> None:
    with load_encoder(str(bundle)) as encoder:
        assert encoder.specification.device == "cpu"


def test_a_bare_onnx_file(tmp_path: Path) -> None:
    with load_encoder(small.write_onnx(tmp_path / "m.onnx")) as encoder:
        assert encoder.specification.dim == 4


@pytest.mark.parametrize("name", ["", "encoder.onnx"])
def test_a_changed_file_is_not_opened(bundle: Path, name: str) -> None:
    with (bundle / "encoder.onnx").open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match=r"encoder\.onnx has \d+ bytes"):
        load_encoder(bundle / name)


def test_an_onnx_file_in_a_bundle_that_the_manifest_does_not_list_is_refused(bundle: Path) -> None:
    for path in (small.write_onnx(bundle / "other.onnx"), (bundle / "encoder.onnx").rename(bundle / "renamed.onnx")):
        with pytest.raises(InputError, match=rf"{path.name} is not listed in the bundle's manifest\.json; nothing was"):
            load_encoder(path)


def test_an_onnx_file_beside_another_software_s_manifest_is_a_bare_one(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web application", "icons": []}')
    with load_encoder(small.write_onnx(tmp_path / "m.onnx")) as encoder:
        assert encoder.specification.dim == 4


@pytest.mark.parametrize("content", ['{"schema": "crosspoint.manifest/9"}', '{"schema": null}', "[]", "rubbish"])
def test_an_onnx_file_beside_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json"):
        load_encoder(small.write_onnx(tmp_path / "m.onnx"))


@pytest.mark.parametrize("why", ["this CPU has no AVX512-BF16", "this installation has no compiled CPU operators"])
def test_a_bundle_in_bf16_says_why_the_cpu_cannot_run_it(
    bundle: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "lacks_bf16", lambda: why)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["precision"] = {"asked": "bf16", "read_back": "bf16+fp32"}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Unsupported, match=rf"is a bf16 model, and {why}; give .* fp32 or int8, or --device cuda"):
        load_encoder(bundle)


def test_a_plan_without_a_manifest_is_refused(tmp_path: Path, plan: bytes) -> None:
    (tmp_path / "encoder.plan").write_bytes(plan)
    with pytest.raises(InputError, match=r"no manifest\.json beside it\. A plan is executable code"):
        load_encoder(tmp_path / "encoder.plan", "cuda")


def test_a_plan_that_the_manifest_does_not_list_is_refused(bundle: Path, plan: bytes) -> None:
    (bundle / "encoder.plan").write_bytes(plan)
    with pytest.raises(InputError, match=r"encoder\.plan is not listed"):
        load_encoder(bundle / "encoder.plan", "cuda")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nothing", "nothing does not exist; give a run folder"),
        (lambda folder: folder, "holds neither encoder.safetensors nor segmenter.safetensors nor manifest.json"),
        (lambda folder: _touch(folder / "model.pt"), "model.pt is a PyTorch checkpoint; convert it first"),
        (
            lambda folder: _touch(folder / "model.safetensors"),
            "model.safetensors: is damaged or not a readable safetensors file",
        ),
        (lambda folder: _touch(folder / "model.onnx"), "model.onnx: is empty"),
        (lambda folder: _touch(folder / "manifest.json").parent, "manifest.json: is empty"),
    ],
)
def test_what_is_no_model(tmp_path: Path, make, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(make(tmp_path))
    assert "\n" not in str(caught.value)


def _touch(path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("name", "backend", "message"),
    [
        ("encoder.onnx", "pytorch", r"runs on the backend onnxruntime or .*give the \.safetensors"),
        ("encoder.onnx", "tensorrt", r"crosspoint export --trt"),
        ("", "pytorch", r"runs on the backend onnxruntime or"),
        ("", "tensorrt", "does not hold a TensorRT engine"),
        ("", "openvino", "unknown backend 'openvino'; give one of pytorch"),
    ],
)
def test_a_backend_that_does_not_go_with_the_file(bundle: Path, name: str, backend: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(bundle / name, "cpu", backend=backend)


def test_an_unknown_device(bundle: Path) -> None:
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        load_encoder(bundle, "gpu")


WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from pathlib import Path
import crosspoint.runtime
from crosspoint.core.errors import MissingDependency
from crosspoint.runtime.jobs.embed import embed

model, folder, out, weights = map(Path, sys.argv[1:])
result = embed(model, [folder], out=out)
assert result.embedded == 2, result
try:
    embed(weights, [folder], out=out)
except MissingDependency as error:
    print(error)
assert "torch" not in sys.modules
"""


def test_onnx_models_need_no_torch_and_weights_say_that_they_do(bundle: Path, tmp_path: Path, clouds: Clouds) -> None:
    folder = tmp_path / "clouds"
    folder.mkdir()
    for i in range(2):
        np.save(folder / f"{i}.npy", clouds(1, 16, i)[0])
    weights = _touch(tmp_path / "encoder.safetensors")
    arguments = [sys.executable, "-c", WITHOUT_TORCH, bundle, folder, tmp_path / "out.npz", weights]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "needs the package torch" in done.stdout
    assert "[train]'" in done.stdout
    assert (tmp_path / "out.npz").exists()
