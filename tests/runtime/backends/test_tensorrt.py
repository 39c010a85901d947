"""A TensorRT engine is opened as its manifest says, or refused in one line, with the real modules as far as they go.

The fixture `host` stands in for the GPU in host memory, so that what is done before an engine runs is checked
everywhere. It proves nothing about TensorRT itself.
"""

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_models as small
from host_cuda import HostCuda

from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.runtime import load_encoder
from crosspoint.runtime.backends import cuda
from crosspoint.runtime.backends import tensorrt as backend
from crosspoint.runtime.backends.tensorrt_log import errors_of, logger

Clouds = Callable[..., np.ndarray]


def test_an_engine_does_not_run_on_the_cpu(engine_bundle: Path) -> None:
    for model, chosen in ((engine_bundle / "encoder.plan", None), (engine_bundle, "tensorrt")):
        with pytest.raises(InputError, match=r"runs on a GPU only; give --device cuda, or .*--backend onnxruntime"):
            load_encoder(model, "cpu", backend=chosen)


def test_a_changed_engine_is_not_deserialized(engine_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = engine_bundle / "encoder.plan"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("TensorRT was reached")

    monkeypatch.setattr(backend, "require", forbidden)
    with pytest.raises(InputError, match=r"encoder\.plan is not the exported file"):
        load_encoder(engine_bundle, "cuda")


def test_without_a_gpu_it_says_so(engine_bundle: Path, no_gpu: None) -> None:
    with pytest.raises(
        InputError, match=r"encoder\.plan cannot run here: .*\(\w+\); .*--backend onnxruntime"
    ) as caught:
        load_encoder(engine_bundle, "cuda")
    assert "\n" not in str(caught.value)


def test_a_flavour_that_is_not_installed(engine_bundle: Path) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed")
    small.write_manifest(engine_bundle, {**small.ENGINE, "builder": "tensorrt"})
    with pytest.raises(MissingDependency, match=r"needs the package tensorrt .*pip install .*\[trt\]"):
        load_encoder(engine_bundle, "cuda")


@pytest.mark.parametrize("engine", [None, {"builder": "other"}])
def test_an_engine_of_unknown_origin(engine_bundle: Path, engine: dict | None) -> None:
    small.write_manifest(engine_bundle, None if engine is None else {**small.ENGINE, **engine})
    with pytest.raises(InputError, match="does not say which TensorRT built it"):
        load_encoder(engine_bundle / "encoder.plan", "cuda")


def test_the_logger_keeps_the_errors_of_the_real_runtime(capfd: pytest.CaptureFixture[str]) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    with errors_of(trt) as errors, errors_of(trt) as others:
        assert trt.Runtime(logger(trt)).deserialize_cuda_engine(b"rubbish") is None
    assert errors
    assert errors == others
    assert all("\n" not in message for message in errors)
    assert capfd.readouterr() == ("", "")


def test_a_failing_call_names_itself(no_gpu: None) -> None:
    pytest.importorskip("cuda.bindings.runtime")
    with pytest.raises(InputError, match=r"cudaGetDeviceCount failed with cudaError\w+"):
        cuda.call(cuda.cuda_runtime().cudaGetDeviceCount)


# In host memory


def test_all_is_freed_when_opening_fails(engine_bundle: Path, host: SimpleNamespace) -> None:
    host.limit = 1000  # enough for no input buffer
    with pytest.raises(InputError, match="cudaMalloc failed with cudaErrorMemoryAllocation"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ({}, "it is damaged, or is no engine"),
        ({"version": "1.2.0"}, r"it was built with tensorrt-rtx 1\.2\.0, and 1\.7\.1 is installed here"),
        ({"targets": ["sm89", "sm120"]}, "it was built for sm89, sm120, and this GPU is sm86"),
    ],
)
def test_an_engine_that_does_not_load_is_explained(
    engine: dict, reason: str, engine_bundle: Path, host: SimpleNamespace
) -> None:
    (engine_bundle / "encoder.plan").write_bytes(b"x")
    small.write_manifest(engine_bundle, {**small.ENGINE, **engine})
    with pytest.raises(InputError, match=rf"does not load: {reason} .*rebuild it here: crosspoint export") as caught:
        load_encoder(engine_bundle, "cuda")
    assert "\n" not in str(caught.value)
    assert len(host.memory) == 0


def test_a_bundle_with_a_build_script_says_to_run_it(engine_bundle: Path, host: SimpleNamespace) -> None:
    (engine_bundle / "encoder.plan").write_bytes(b"x")
    (engine_bundle / "build_on_device.sh").write_text("")
    small.write_manifest(engine_bundle, small.ENGINE)
    with pytest.raises(InputError, match=r"rebuild it here: sh .*bundle/build_on_device\.sh, or"):
        load_encoder(engine_bundle, "cuda")


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"batch": [1, 3, 4], "points": [8, 16, 32]}, "batch 2 to 4, but its manifest says 1 to 4"),
        ({"batch": [2, 3, 4], "points": [8, 16, 64]}, "points 8 to 32, but its manifest says 8 to 64"),
    ],
)
def test_a_profile_that_is_not_the_manifest_s(
    profile: dict, said: str, engine_bundle: Path, host: SimpleNamespace
) -> None:
    small.write_manifest(engine_bundle, small.ENGINE, profile=profile)
    with pytest.raises(InputError, match=f"takes {said}: they belong to different bundles"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_a_trusted_engine_without_a_manifest(
    tmp_path: Path, plan: bytes, host: SimpleNamespace, clouds: Clouds
) -> None:
    (tmp_path / "own.plan").write_bytes(plan)
    with load_encoder(tmp_path / "own.plan", "cuda", trust=True) as encoder:
        specification = encoder.specification
        assert (specification.backend, specification.precision) == ("tensorrt-rtx", "unknown")
        assert specification.sha256 == hashlib.sha256(plan).hexdigest()
        np.testing.assert_allclose(encoder.embed(clouds(3, 16)), small.reference(clouds(3, 16)), rtol=1e-5, atol=1e-6)


def test_trust_does_not_overrule_a_manifest(engine_bundle: Path, host: SimpleNamespace) -> None:
    with (engine_bundle / "encoder.plan").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"encoder\.plan has \d+ bytes"):
        load_encoder(engine_bundle, "cuda", trust=True)


def test_a_device_that_is_not_there(engine_bundle: Path, host: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="device cuda:1 does not exist; there are 1"):
        load_encoder(engine_bundle, "cuda:1")


# What a manifest says


def changed(bundle: Path, engine: dict, **values: object) -> None:
    small.write_manifest(bundle, {**small.ENGINE, **engine}, **values)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ({"version": "10.3.0"}, r"was built with tensorrt-rtx 10\.3\.0, and 1\.7\.1 is installed here"),
        ({"version": "1.7.1.2"}, r"was built with tensorrt-rtx 1\.7\.1\.2, and 1\.7\.1 is"),
        ({"targets": ["sm87"]}, "was built for sm87, and this GPU is sm86"),
        ({"targets": []}, "was built for no GPU that its manifest names, and this GPU is sm86"),
    ],
)
def test_an_engine_of_another_version_or_gpu_is_not_deserialized(
    engine: dict, reason: str, engine_bundle: Path, host: HostCuda
) -> None:
    changed(engine_bundle, engine)
    with pytest.raises(InputError, match=rf"does not load: it {reason}.*rebuild it here: crosspoint export") as caught:
        load_encoder(engine_bundle, "cuda")
    assert "\n" not in str(caught.value)
    assert host.trt.deserialized == []


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (None, "batch 2 to 4, but its manifest says nothing of it"),
        ({"batch": [2, 3, 4], "points": None}, "points 8 to 32, but its manifest says nothing of it"),
        ({"batch": [2, 4, 4], "points": [8, 16, 32]}, "batch usually 3, but its manifest says usually 4"),
        ({"batch": [2, 3, 4], "points": [8, 32, 32]}, "points usually 16, but its manifest says usually 32"),
    ],
)
def test_a_profile_that_the_manifest_does_not_say(
    profile: dict | None, said: str, engine_bundle: Path, host: HostCuda
) -> None:
    changed(engine_bundle, {}, profile=profile)
    with pytest.raises(InputError, match=f"takes {said}: they belong to different bundles"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_host_code_of_an_engine_is_never_allowed(engine_bundle: Path, host: HostCuda, plan: bytes) -> None:
    load_encoder(engine_bundle, "cuda").close()
    assert host.trt.deserialized == [(hashlib.sha256(plan).hexdigest()[:8], False)]


# What fails on the way


def test_cuda_that_does_not_start_is_one_line(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.starts = False
    with pytest.raises(InputError, match=r"does not start \(CUDA initialization failure with error: 35 Please"):
        load_encoder(engine_bundle, "cuda")


def test_without_memory_for_the_first_context_it_does_not_open(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.contexts = 0
    with pytest.raises(InputError, match=r"no execution context: Error Code 2: OutOfMemory .*nvidia-smi"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_a_profile_that_is_not_taken(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.fails = {"set_optimization_profile_async"}
    with pytest.raises(InputError, match=r"refuses the engine's own profile: Error Code 3.*profile_async"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


@pytest.mark.parametrize(
    "outputs",
    [
        lambda shapes: {"embedding": (-1, 4)},
        lambda shapes: {"embedding": (shapes["points"][0], -1)},
        lambda shapes: {"embedding": (shapes["points"][0] + 1, 4)},
        lambda shapes: {"embedding": (4,)},
    ],
)
def test_an_output_that_no_buffer_can_be_made_for_is_refused(
    outputs: Callable, engine_bundle: Path, host: HostCuda
) -> None:
    host.trt.model = replace(host.trt.model, outputs=outputs)
    with pytest.raises(InputError, match=r"gives embedding of shape \(.*\) for points of shape .*, which is wrong"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_an_engine_in_another_type_is_refused(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.model = replace(host.trt.model, types={"embedding": "float16"})
    with pytest.raises(InputError, match="embedding is not float32"):
        load_encoder(engine_bundle, "cuda")
