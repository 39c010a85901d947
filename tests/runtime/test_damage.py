"""Ways to damage or mismatch a bundle, and what the command line says of each: one line, its own, and the exit code."""

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import small_models as small
from onnx import TensorProto, numpy_helper

from crosspoint.cli import main
from crosspoint.core.errors import InputError
from crosspoint.runtime import load_encoder

Damage = Callable[[Path], Any]
CUDA = ("--device", "cuda")


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def another_plan(bundle: Path) -> None:
    onnx_file = small.write_onnx(bundle.parent / "other.onnx", points=16)
    (bundle / "encoder.plan").write_bytes(small.build_plan(onnx_file, (1, 1, 1), (16, 16, 16)))


def link_out(bundle: Path) -> None:
    outside = bundle.parent / "outside.plan"
    shutil.move(bundle / "encoder.plan", outside)
    small.flip(outside)
    (bundle / "encoder.plan").symlink_to(outside)


def edited(bundle: Path, *keys: str, value: object) -> None:
    """Change one value of the manifest."""
    path = bundle / "manifest.json"
    values = here = json.loads(path.read_text())
    for key in keys[:-1]:
        here = here[key]
    here[keys[-1]] = value
    path.write_text(json.dumps(values))


def without(bundle: Path, key: str) -> None:
    path = bundle / "manifest.json"
    values = json.loads(path.read_text())
    del values[key]
    path.write_text(json.dumps(values))


def rewritten(bundle: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """An ONNX file that was changed, and a manifest that agrees with it."""
    model = onnx.load(bundle / "encoder.onnx")
    change(model)
    (bundle / "encoder.onnx").write_bytes(model.SerializeToString())
    small.write_manifest(bundle, small.ENGINE)


def with_nan(model: onnx.ModelProto) -> None:
    weight = np.array(numpy_helper.to_array(model.graph.initializer[0]))
    weight[0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))


def with_external_data(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)

    return change


def float16_input(bundle: Path) -> None:
    small.write_onnx(bundle / "encoder.onnx", kind=TensorProto.FLOAT16)
    small.write_manifest(bundle, small.ENGINE)


def fixed_points(bundle: Path) -> None:
    small.write_onnx(bundle / "encoder.onnx", points=40)
    small.write_manifest(bundle, small.ENGINE)


def cut_with_manifest(bundle: Path) -> None:
    cut(bundle / "encoder.onnx", 100)
    small.write_manifest(bundle, small.ENGINE)


def bad_metadata(bundle: Path) -> None:
    small.write_onnx(bundle / "encoder.onnx", metadata="{")
    small.write_manifest(bundle, small.ENGINE)


ON_DISK: dict[str, tuple[Damage, tuple[str, ...], str]] = {
    "plan truncated": (
        lambda b: cut(b / "encoder.plan", 1000),
        CUDA,
        r"encoder\.plan has 1000 bytes, but the bundle's manifest\.json says \d+; nothing was loaded",
    ),
    "plan with one bit flipped": (
        lambda b: small.flip(b / "encoder.plan"),
        CUDA,
        r"encoder\.plan is not the exported file: its SHA-256 differs",
    ),
    "plan empty": (lambda b: cut(b / "encoder.plan", 0), CUDA, r"encoder\.plan has 0 bytes, .* says \d+"),
    "plan of another bundle": (another_plan, CUDA, r"encoder\.plan (has \d+ bytes|is not the exported file)"),
    "plan missing": (
        lambda b: (b / "encoder.plan").unlink(),
        CUDA,
        r"encoder\.plan: cannot be opened \(No such file",
    ),
    "plan a link to another file": (lambda b: link_out(b), CUDA, r"encoder\.plan is not the exported file"),
    "ONNX file with one bit flipped": (
        lambda b: small.flip(b / "encoder.onnx"),
        (),
        r"encoder\.onnx is not the exported file: its SHA-256 differs",
    ),
    "ONNX file missing": (
        lambda b: (b / "encoder.onnx").unlink(),
        (),
        r"encoder\.onnx: cannot be opened \(No such file",
    ),
    "ONNX file a folder": (
        lambda b: replaced_by_folder(b / "encoder.onnx"),
        (),
        r"encoder\.onnx: is a folder",
    ),
    "ONNX file truncated, manifest too": (cut_with_manifest, (), r"encoder\.onnx: is damaged or not an ONNX model"),
    "ONNX file with NaN weights": (
        lambda b: rewritten(b, with_nan),
        (),
        r"encoder\.onnx gave NaN or infinite values for 3 of 3 clouds",
    ),
    "ONNX file with data in a missing file": (
        lambda b: rewritten(b, with_external_data("weights.bin")),
        (),
        r"encoder\.onnx: keeps tensors in other files",
    ),
    "ONNX file with data outside the bundle": (
        lambda b: (
            np.zeros((3, 4), np.float32).tofile(b.parent / "secret.bin"),
            rewritten(b, with_external_data("../secret.bin")),
        ),
        (),
        r"encoder\.onnx: keeps tensors in other files",
    ),
    "ONNX file of float16": (
        float16_input,
        (),
        r"points has the type tensor\(float16\); inputs and outputs must be float32",
    ),
    "ONNX file for another number of points": (
        fixed_points,
        ("--points", "16"),
        r"takes exactly 40 points per cloud, not 16",
    ),
    "ONNX file with damaged metadata": (
        bad_metadata,
        (),
        r"encoder\.onnx: is damaged or not an ONNX model of",
    ),
    "manifest missing": (
        lambda b: (b / "manifest.json").unlink(),
        (),
        r"bundle holds neither encoder\.safetensors nor segmenter\.safetensors nor manifest\.json",
    ),
    "manifest of another schema": (
        lambda b: edited(b, "schema", value="crosspoint.manifest/9"),
        (),
        r"manifest\.json has the schema 'crosspoint\.manifest/9', this version reads",
    ),
    "manifest cut short": (lambda b: cut(b / "manifest.json", 50), (), r"manifest\.json: is damaged "),
    "manifest without a value": (
        lambda b: without(b, "precision"),
        (),
        r"manifest\.json: is damaged .*KeyError: 'precision'",
    ),
    "manifest with a wrong hash": (
        lambda b: edited(b, "files", "encoder.onnx", "sha256", value="0" * 64),
        (),
        r"encoder\.onnx is not the exported file",
    ),
    "manifest that names a file outside": (
        lambda b: edited(b, "files", "../../etc/passwd", value={"sha256": "", "bytes": 1}),
        (),
        r"names a file outside the bundle, '\.\./\.\./etc/passwd'",
    ),
    "manifest without the plan": (
        lambda b: edited(b, "files", value={"encoder.onnx": {"sha256": "", "bytes": 1}}),
        (*CUDA, "--backend", "tensorrt"),
        r"bundle does not hold a TensorRT engine",
    ),
    "engine of an unknown builder": (
        lambda b: edited(b, "engine", "builder", value="openvino"),
        CUDA,
        r"does not say which TensorRT built it",
    ),
    "engine on the CPU": (lambda b: None, ("--backend", "tensorrt"), r"is a TensorRT engine and runs on a GPU only"),
    "device of a wrong name": (lambda b: None, ("--device", "gpu"), r"unknown device 'gpu'; give cpu, cuda or"),
}


@pytest.fixture
def embed(
    engine_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs `crosspoint embed` on the bundle, or on a file; gives the exit code and the last line of its errors."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "clouds.npy", rng.standard_normal((3, 16, 3)).astype(np.float32))

    def run(*options: str, model: Path = engine_bundle) -> tuple[int, str]:
        arguments = ["crosspoint", "embed", model, tmp_path / "clouds.npy", "--out", tmp_path / "out.npz", *options]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not (tmp_path / "out.npz").exists()
        lines = capsys.readouterr().err.splitlines()
        assert len([line for line in lines if line.startswith("crosspoint: ")]) == 1
        return stop.value.code, lines[-1]

    return run


@pytest.mark.parametrize("name", ON_DISK)
def test_a_damaged_bundle(name: str, embed: Callable, engine_bundle: Path) -> None:
    damage, options, message = ON_DISK[name]
    damage(engine_bundle)
    code, line = embed(*options)
    assert code == (1 if name == "ONNX file with NaN weights" else 2)
    assert re.search(message, line), line


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(embed: Callable, engine_bundle: Path) -> None:
    (engine_bundle / "encoder.onnx").chmod(0)
    code, line = embed()
    assert (code, "encoder.onnx: cannot be opened (Permission denied)" in line) == (2, True)


def test_a_plan_away_from_its_bundle(embed: Callable, engine_bundle: Path) -> None:
    alone = engine_bundle.parent / "alone"
    alone.mkdir()
    shutil.copy(engine_bundle / "encoder.plan", alone)
    code, line = embed(*CUDA, model=alone / "encoder.plan")
    assert code == 2
    assert "no manifest.json beside it. A plan is executable code" in line
    assert "If the file is your own, open it with crosspoint embed or bench and --trust" in line


def test_no_gpu(embed: Callable, no_gpu: None) -> None:
    code, line = embed(*CUDA)
    assert code == 2
    assert re.search(r"encoder\.plan cannot run here: .*--backend onnxruntime", line)


def test_a_builder_that_is_not_installed(embed: Callable, engine_bundle: Path) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed")
    edited(engine_bundle, "engine", "builder", value="tensorrt")
    code, line = embed(*CUDA)
    assert code == 2
    assert re.search(r"encoder\.plan .* needs the package tensorrt .*pip install .*\[trt\]", line)


# What only shows once the engine is opened, with host memory in the place of a GPU

LOADED: dict[str, tuple[Damage, tuple[str, ...], str]] = {
    "built for another GPU": (
        lambda b: edited(b, "engine", "targets", value=["sm89"]),
        CUDA,
        r"does not load: it was built for sm89, and this GPU is sm86 .*rebuild it here: crosspoint export",
    ),
    "built with another version": (
        lambda b: edited(b, "engine", "version", value="1.2.0"),
        CUDA,
        r"does not load: it was built with tensorrt-rtx 1\.2\.0, and 1\.7\.1 is installed .*rebuild it here",
    ),
    "damaged before it was listed": (
        lambda b: None,
        CUDA,
        r"does not load: it is damaged, or is no engine .*rebuild",
    ),
    "manifest of another batch": (
        lambda b: edited(b, "profile", "batch", value=[1, 8, 64]),
        CUDA,
        r"takes batch 2 to 4, but its manifest says 1 to 64: they belong to different bundles; rebuild it here",
    ),
    "manifest of another number of points": (
        lambda b: edited(b, "profile", "points", value=[1024, 1024, 1024]),
        CUDA,
        r"takes points 8 to 32, but its manifest says 1024 to 1024: they belong to different bundles",
    ),
    "more points than the profile": (
        lambda b: np.save(b.parent / "clouds.npy", np.zeros((2, 33, 3), np.float32)),
        (*CUDA, "--points", "33"),
        r"encoder\.plan takes 8 to 32 points per cloud, not 33; sample that many",
    ),
    "a GPU that is not there": (
        lambda b: None,
        ("--device", "cuda:3"),
        r"device cuda:3 does not exist; there are 1",
    ),
}


@pytest.mark.parametrize("name", LOADED)
def test_an_engine_that_does_not_fit(name: str, embed: Callable, engine_bundle: Path, host: Any) -> None:
    damage, options, message = LOADED[name]
    if "does not load" in message:  # what no TensorRT would take
        (engine_bundle / "encoder.plan").write_bytes(b"x")
        small.write_manifest(engine_bundle, small.ENGINE)
    damage(engine_bundle)
    code, line = embed(*options)
    assert code == 2
    assert re.search(message, line), line
    assert (len(host.memory), host.streams) == (0, 0)


def test_a_full_gpu(embed: Callable, host: Any) -> None:
    host.limit = 100
    code, line = embed(*CUDA)
    assert code == 2
    assert "cudaMalloc failed with cudaErrorMemoryAllocation; run nvidia-smi" in line


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((3, 16, 3), int), "points are of type int64; give floating-point values"),
        (np.zeros((16, 3), np.float32), r"points have the shape \(16, 3\); .* give points\[None\]"),
        (np.zeros((0, 16, 3), np.float32), "with B at least 1"),
        (np.full((3, 16, 3), np.inf, np.float32), "points hold NaN or infinite values"),
        (np.zeros((3, 7, 3), np.float32), "points per cloud, not 7"),
    ],
)
def test_clouds_that_do_not_fit(points: np.ndarray, message: str, engine_bundle: Path, host: Any) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder, pytest.raises(InputError, match=message) as caught:
        encoder.embed(points)
    assert caught.value.exit_code == 2
