"""The build on the device.

The fixture `device` has ONNX Runtime compute in the engine's place, so that everything around the engine is checked
without a GPU: what is carried, compared, written and left alone. Engines run in the tests marked `gpu`.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from crosspoint.core.errors import CheckFailed, InputError, MissingDependency
from crosspoint.core.files import sha256
from crosspoint.export.bundle import export
from crosspoint.export.engine import builder as tensorrt
from crosspoint.export.engine import engine, on_device
from crosspoint.export.engine.builder import Builder, Options
from crosspoint.export.engine.on_device import build_on_device, read_reference, write_reference
from crosspoint.export.options import ExportOptions
from crosspoint.parity.clouds import CloudSet
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.manifest import Manifest, load_manifest, sign_bundle, verify_files
from crosspoint.runtime.signing import SIGNATURE, VARIABLE, read_signing_key, write_key_pair

ON_DEVICE = ExportOptions("device")
FILES = {"encoder.onnx", "build_on_device.sh", "golden.npz", "reference.npz"}
SHAPES = {"trt": True, "batch": "1:2:4", "points": "16:32:64"}


@pytest.fixture(scope="module")
def exported():
    """The bundle that `bundle` copies, once it was made."""
    return []


@pytest.fixture
def bundle(exported, saved, tmp_path, tmp_path_factory):
    """For building elsewhere."""
    if not exported:
        exported.append(tmp_path_factory.mktemp("exported") / "bundle")
        export(
            saved("dgcnn"), exported[0], **SHAPES, options=replace(ON_DEVICE, build=Options(tf32=True, workspace=512))
        )
    return shutil.copytree(exported[0], tmp_path / "bundle")


@pytest.fixture
def device(monkeypatch):
    """A machine with TensorRT-RTX, and ONNX Runtime in the place of its GPU."""
    trt = pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(on_device, "_builder", lambda: Builder("tensorrt-rtx", trt, ("sm86",), executes=True))
    monkeypatch.setattr(engine, "TensorRTEncoder", lambda plan, *_, **__: OnnxEncoder(plan.with_name("encoder.onnx")))


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_bundle_holds_what_the_build_takes(bundle):
    manifest = load_manifest(bundle)
    assert set(verify_files(manifest)) == FILES
    assert manifest.engine is None
    assert os.access(bundle / "build_on_device.sh", os.X_OK)
    written = json.loads((bundle / "manifest.json").read_text())
    assert written["on_device"] == {"tf32": True, "workspace": 512}
    with pytest.raises(InputError, match=r"does not hold a TensorRT engine yet; rebuild it here: sh .*build_on_device"):
        load_encoder(bundle, "cuda", backend="tensorrt")


def test_two_exports_are_the_same_files(saved, tmp_path):
    for name in ("one", "two"):
        export(saved("pointnet"), tmp_path / name, **SHAPES, options=ON_DEVICE)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_what_the_network_gives_is_carried_exactly(tmp_path):
    prepared = [
        CloudSet("ordinary clouds", {"points": np.random.default_rng(0).random((2, 8, 3), np.float32)}, np.eye(2) / 3),
        CloudSet(
            "lattice", {"points": np.zeros((1, 8, 3), np.float32)}, None
        ),  # neighbours there are a matter of choice
        CloudSet(
            "8 points",
            {"points": np.ones((1, 8, 3), np.float32), "category": np.eye(1, 3, dtype=np.float32)},
            np.ones(1),
        ),
    ]
    write_reference(tmp_path / "reference.npz", prepared)
    read = read_reference(tmp_path / "reference.npz")
    assert [clouds.name for clouds in read] == ["ordinary clouds", "8 points"]
    for a, b in zip(read, (prepared[0], prepared[2]), strict=True):
        np.testing.assert_array_equal(a.own_graphs, b.own_graphs)
        assert set(a.inputs) == set(b.inputs)
        for key, array in b.inputs.items():
            np.testing.assert_array_equal(a.inputs[key], array)
            assert a.inputs[key].dtype == np.float32


def test_a_build_adds_the_engine_and_what_came_of_running_it(bundle, device):
    before = files(bundle)
    returned = build_on_device(bundle, workspace=1024).to_json()
    after = files(bundle)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: content for name, content in before.items() if name != "manifest.json"
    }
    manifest = load_manifest(bundle)
    assert set(verify_files(manifest)) == FILES | {"encoder.plan"}
    assert (manifest.engine.executed, manifest.engine.status) == (True, "executed, passed the parity gate")
    written = json.loads(after["manifest.json"])
    assert written == json.loads(json.dumps(returned))
    assert (written["engine"]["tf32"], written["engine"]["workspace"]) == (True, 1024)
    assert written["engine"]["parity"]["relative_l2_max"] <= 1e-2
    assert [case["batch"] for case in written["engine"]["parity"]["cases"]] == [1, 2, 4, 2, 2]
    assert os.access(bundle / "build_on_device.sh", os.X_OK)
    assert written["engine"]["parity"]["tier"] == "fp16"  # what TF32 rounds to
    build_on_device(bundle)  # again, over the first


def test_an_engine_that_was_built_and_did_not_run_is_not_accepted(bundle, device, monkeypatch):
    added, before = on_device.add_engine, files(bundle)

    def not_executed(*given, **options):
        manifest = added(*given, **options)
        return replace(manifest, engine=replace(manifest.engine, executed=False))

    monkeypatch.setattr(on_device, "add_engine", not_executed)
    with pytest.raises(CheckFailed, match="was built and did not run here; nothing was written"):
        build_on_device(bundle)
    assert files(bundle) == before


def test_kernels_that_were_skipped_are_named_in_the_manifest(bundle, device, monkeypatch):
    built, line = engine.build_engine, "Error Code: 9: Skipping tactic 0x1 due to exception misaligned address"
    monkeypatch.setattr(
        engine, "build_engine", lambda *given, **options: replace(built(*given, **options), skipped=(line,))
    )
    build_on_device(bundle)
    written = json.loads((bundle / "manifest.json").read_text())["engine"]
    assert (written["skipped_tactics"], written["executed"]) == ([line], True)


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        {"tf32": True},
        {"tf32": 1, "workspace": None},
        {"tf32": True, "workspace": "512"},
        {"tf32": True, "workspace": 0},
        {"tf32": False, "shell": "rm"},
    ],
)
def test_options_in_a_damaged_manifest(asked, bundle, device):
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "on_device": asked}))
    with pytest.raises(
        InputError, match=r"manifest\.json: is damaged .*; copy the bundle again|was not exported for this"
    ):
        build_on_device(bundle)


def test_damaged_reference_clouds_are_one_line(tmp_path):
    for content in (b"", b"PK\x03\x04rubbish", b"rubbish"):
        (tmp_path / "reference.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"reference\.npz: is (empty|damaged or not the reference of a bundle)"):
            read_reference(tmp_path / "reference.npz")
    np.savez(tmp_path / "reference.npz", **{"clouds/points": np.zeros((1, 8, 3), np.float32)})  # no output
    with pytest.raises(InputError, match=r"reference\.npz: its clouds and their outputs are not as many"):
        read_reference(tmp_path / "reference.npz")


def test_an_engine_that_computes_something_else_changes_nothing(bundle, device, monkeypatch):
    prepared = read_reference(bundle / "reference.npz")
    wrong = [CloudSet(clouds.name, clouds.inputs, clouds.own_graphs * 1.5) for clouds in prepared]
    monkeypatch.setattr(on_device, "read_reference", lambda path: wrong)
    before = files(bundle)
    with pytest.raises(CheckFailed, match=r"encoder\.plan differs from the trained network.*nothing was written"):
        build_on_device(bundle)
    assert files(bundle) == before
    assert [path.name for path in bundle.parent.iterdir() if path.name.startswith(".")] == []


def test_an_engine_of_another_precision_changes_nothing(bundle, device, monkeypatch):
    built = engine.build_engine

    def mixed(*given, **options):
        return tensorrt.BuiltEngine(**{**vars(built(*given, **options)), "precision": "fp16+fp32"})

    monkeypatch.setattr(engine, "build_engine", mixed)
    before = files(bundle)
    with pytest.raises(CheckFailed, match=r"fp32 was asked for, but the engine computes in fp16\+fp32"):
        build_on_device(bundle)
    assert files(bundle) == before


@pytest.mark.parametrize("name", ["encoder.onnx", "reference.npz", "build_on_device.sh"])
def test_a_damaged_bundle_is_not_built_from(name, bundle, device):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is not the exported file"):
        build_on_device(bundle)


def test_another_bundle_is_not_built_from(saved, tmp_path, device):
    export(saved("pointnet"), tmp_path / "bundle", batch=1, points=32)
    with pytest.raises(InputError, match="was not exported for this; export it with --trt --builder device"):
        build_on_device(tmp_path / "bundle")


def test_without_tensorrt_it_says_where_a_jetson_has_it(bundle, monkeypatch):
    monkeypatch.setattr(on_device, "device_count", lambda: 1)
    monkeypatch.setattr(on_device, "compute_capability", lambda index: "sm87")
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: "sm87")
    monkeypatch.setattr(tensorrt, "import_or_reason", lambda name: (None, "is not installed"))
    with pytest.raises(MissingDependency, match=r"JetPack \(apt install python3-libnvinfer\).*--system-site-packages"):
        build_on_device(bundle)


WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "onnx", "onnxruntime"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from crosspoint.cli import main
import crosspoint.parity.gate, crosspoint.commands.tables.export, crosspoint.runtime.backends.tensorrt
main()
"""


def test_a_device_needs_neither_torch_nor_onnx(bundle):
    if tensorrt.find_gpu() is not None:
        pytest.skip("an NVIDIA GPU is here")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "build", bundle], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(
        r"crosspoint: .*An engine is built where a GPU is; .*'cuda-python<13' for JetPack 6\n$", done.stderr
    )


def test_the_script_says_in_one_line_that_the_package_is_missing(bundle, tmp_path):
    bare = tmp_path / "python"  # which finds the standard library alone
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    done = subprocess.run(
        ["sh", bundle / "build_on_device.sh"], env={"PYTHON": str(bare)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert re.fullmatch(r"crosspoint: .* lacks the package: .*\n", done.stderr)


def test_the_script_runs_the_build(bundle):
    if tensorrt.find_gpu() is not None:
        pytest.skip("an NVIDIA GPU is here")
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", "build_on_device.sh"], cwd=bundle, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "An engine is built where a GPU is" in done.stderr
    done = subprocess.run(
        ["sh", bundle / "build_on_device.sh"], env={"PYTHON": "/bin/false"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "copy the wheel or the checkout of crosspoint3d" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trt": False}, "--builder applies to engines; add --trt"),
        ({"options": replace(ON_DEVICE, target=("sm86",))}, "--target cannot be used with --builder device"),
        (
            {"options": replace(ON_DEVICE, build=Options(timing_cache=on_device.Path("x")))},
            "--timing-cache cannot be used with --builder device",
        ),
        ({"points": "any"}, "give --points min:opt:max"),
    ],
)
def test_options_that_do_not_go_with_it(options, message, saved, tmp_path):
    with pytest.raises(InputError, match=message):
        export(saved("pointnet"), tmp_path / "bundle", **{**SHAPES, "options": ON_DEVICE, **options})
    assert not (tmp_path / "bundle").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_partseg"])
def test_a_build_on_this_gpu(name, saved, tmp_path):
    if tensorrt.find_gpu() is None:
        pytest.skip("no NVIDIA GPU")
    export(saved(name), tmp_path / "bundle", **SHAPES, options=ON_DEVICE)
    try:
        manifest = build_on_device(tmp_path / "bundle").to_json()
    except (MissingDependency, InputError) as error:
        pytest.skip(str(error))
    assert manifest["engine"]["executed"] is True
    assert manifest["engine"]["targets"] == [tensorrt.find_gpu()]
    with load_encoder(tmp_path / "bundle", "cuda") as encoder:
        assert encoder.specification.sha256 == sha256(tmp_path / "bundle" / "encoder.plan")


@pytest.mark.gpu
def test_a_timing_cache_is_written_and_used(saved, tmp_path):
    if tensorrt.find_gpu() is None:
        pytest.skip("no NVIDIA GPU")
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("tensorrt is not installed")
    export(saved("pointnet"), tmp_path / "bundle", **SHAPES, options=ON_DEVICE)
    plans = []
    for _ in range(2):
        build_on_device(tmp_path / "bundle", tmp_path / "timing.cache")
        plans.append((tmp_path / "bundle" / "encoder.plan").read_bytes())
        assert (tmp_path / "timing.cache").stat().st_size > 0
    (tmp_path / "timing.cache").write_bytes(b"rubbish")
    with pytest.raises((CheckFailed, InputError), match=r"timing.?cache"):
        build_on_device(tmp_path / "bundle", tmp_path / "timing.cache")


# Signed bundles


def key_at(path):
    write_key_pair(path)
    return path


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """A key, set as the one that bundles have to be signed with."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "fleet.pub"))
    return key_at(tmp_path / "fleet")


def test_a_build_starts_from_a_signed_bundle_and_is_signed_by_the_device(bundle, device, fleet, tmp_path, monkeypatch):
    own = key_at(tmp_path / "own")
    sign_bundle(bundle, read_signing_key(fleet))
    monkeypatch.setenv(VARIABLE, f"{fleet}.pub{os.pathsep}{own}.pub")
    build_on_device(bundle, sign=own)
    manifest = load_manifest(bundle)
    assert manifest.engine.executed
    assert set(verify_files(manifest)) == FILES | {"encoder.plan"}
    load_encoder(bundle, verify_key=f"{own}.pub").close()
    build_on_device(bundle, sign=own)  # again, over the first


def test_an_unsigned_bundle_is_not_built_from(bundle, device, fleet):
    before = files(bundle)
    with pytest.raises(InputError, match="is not signed"):
        build_on_device(bundle, sign=fleet)
    assert files(bundle) == before


@pytest.mark.parametrize("name", [None, "other"])
def test_a_result_that_no_set_key_would_cover_is_not_built(name, bundle, device, fleet, tmp_path):
    sign_bundle(bundle, read_signing_key(fleet))
    before = files(bundle)
    with pytest.raises(InputError, match=r"the result could not be opened\. Give --sign with a key of this device"):
        build_on_device(bundle, sign=None if name is None else key_at(tmp_path / name))
    assert files(bundle) == before


def test_without_a_set_key_the_signature_does_not_outlive_the_change(bundle, device, tmp_path):
    sign_bundle(bundle, read_signing_key(key_at(tmp_path / "fleet")))
    build_on_device(bundle)
    assert not (bundle / SIGNATURE).exists()


def test_it_is_built_from_the_bytes_that_were_checked(bundle, device, monkeypatch):
    before, read = files(bundle), Manifest.read

    def read_and_exchange(manifest, path):
        content = read(manifest, path)
        path.write_bytes(b"exchanged")
        return content

    monkeypatch.setattr(Manifest, "read", read_and_exchange)
    build_on_device(bundle)
    after = files(bundle)
    names = ("encoder.onnx", "reference.npz", "build_on_device.sh")
    assert {name: after[name] for name in names} == {name: before[name] for name in names}


def test_the_manifest_is_read_once(bundle, device, fleet, monkeypatch):
    sign_bundle(bundle, read_signing_key(fleet))
    read = on_device.read_manifest

    def read_and_exchange(folder, keys):
        listed = read(folder, keys)
        values = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**values, "on_device": {"tf32": False, "workspace": 1}}))
        return listed

    monkeypatch.setattr(on_device, "read_manifest", read_and_exchange)
    assert build_on_device(bundle, sign=fleet).engine.tf32
