import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.files import sha256
from crosspoint.data.points import normalise
from crosspoint.eval.metrics.statistics import Paired
from crosspoint.export import bundle, trained
from crosspoint.export.bundle import Verification, export
from crosspoint.export.onnx import choose
from crosspoint.export.options import ExportOptions
from crosspoint.models import ImageEncoder
from crosspoint.models.weights import save_model
from crosspoint.parity.task import SvmTask
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.manifest import load_manifest, verify_files

SMALL = {"batch": "1:2:4", "points": 64}


@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_seg"])
def test_a_bundle_embeds_as_the_network_does(name, saved, tmp_path):
    export(saved(name), tmp_path / "bundle", **SMALL)
    clouds = normalise(np.random.default_rng(0).standard_normal((5, 64, 3)))
    with load_encoder(tmp_path / "bundle") as exported, load_encoder(saved(name)) as trained:
        a, b = exported.embed(clouds), trained.embed(clouds)
        assert exported.specification.points == 64
        assert exported.specification.architecture == name
    assert (np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max() < 1e-4


def test_a_bundle_segments_as_the_network_does(saved, tmp_path):
    export(saved("dgcnn_partseg"), tmp_path / "bundle", batch=2, points="16:32:64")
    clouds = normalise(np.random.default_rng(0).standard_normal((5, 40, 3)))
    category = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]
    with load_encoder(tmp_path / "bundle") as exported, load_encoder(saved("dgcnn_partseg")) as trained:
        a, b = exported.segment(clouds, category), trained.segment(clouds, category)
    np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_the_manifest_says_what_is_in_the_bundle(saved, tmp_path):
    source = saved("dgcnn")
    returned = export(source, tmp_path / "bundle", **SMALL).to_json()
    written = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert json.loads(json.dumps(returned)) == written
    manifest = load_manifest(tmp_path / "bundle")
    assert set(verify_files(manifest)) == {"encoder.onnx", "golden.npz"}
    assert manifest.model == {"architecture": "dgcnn", "k": 6}
    assert (manifest.batch, manifest.points, manifest.precision) == ((1, 2, 4), (64, 64, 64), "fp32")
    assert manifest.engine is None
    assert written["source"] == {"path": source.name, "sha256": sha256(source)}
    assert written["inputs"] == {"points": ["batch", 64, 3]}
    assert written["outputs"] == {"embedding": ["batch", 2048]}
    assert written["parity"]["relative_l2_max"] <= 1e-4
    assert str(tmp_path) not in json.dumps(written)


def test_the_onnx_file_says_where_it_comes_from(saved, tmp_path):
    source = saved("dgcnn")
    export(source, tmp_path / "bundle", **SMALL)
    (entry,) = onnx.load(tmp_path / "bundle" / "encoder.onnx").metadata_props
    provenance = json.loads(entry.value)
    assert provenance["model"] == {"architecture": "dgcnn", "k": 6}
    assert (provenance["dim"], provenance["points"], provenance["k"], provenance["precision"]) == (2048, 64, 6, "fp32")
    assert provenance["source_sha256"] == sha256(source)
    assert set(provenance["preprocessing"]) == {"centre", "scale", "sampling"}


def test_the_source_hash_is_of_the_weights_that_were_exported(saved, tmp_path, monkeypatch):
    """Another file takes the place once the network is loaded."""
    source = Path(shutil.copy(saved("pointnet"), tmp_path / "encoder.safetensors"))
    exported = sha256(source)
    read = trained.read_weights

    def replaced(path):
        weights = read(path)
        shutil.copy(saved("dgcnn"), source)
        return weights

    monkeypatch.setattr(trained, "read_weights", replaced)
    manifest = export(source, tmp_path / "bundle", **SMALL).to_json()
    assert sha256(source) != exported
    assert manifest["source"]["sha256"] == exported
    (entry,) = onnx.load(tmp_path / "bundle" / "encoder.onnx").metadata_props
    assert json.loads(entry.value)["source_sha256"] == exported


def test_two_exports_are_the_same_files(saved, tmp_path):
    for name in ("one", "two"):
        export(saved("dgcnn"), tmp_path / name, **SMALL)
    for file in ("encoder.onnx", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_run_folder_is_a_model(saved, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(saved("pointnet"), run / "encoder.safetensors")
    assert export(run, tmp_path / "bundle", **SMALL).source.path == "encoder.safetensors"


def test_any_number_of_points_leaves_it_open(saved, tmp_path):
    manifest = export(saved("pointnet"), tmp_path / "bundle", batch=1, points="any").to_json()
    assert manifest["profile"] == {"batch": [1, 1, 1], "points": None}
    assert manifest["inputs"] == {"points": ["batch", "points", 3]}
    with load_encoder(tmp_path / "bundle") as encoder:
        assert encoder.embed(np.zeros((1, 7, 3), np.float32)).shape == (1, 1024)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize("name", ["dgcnn", "dgcnn_partseg"])
def test_a_bundle_is_in_the_asked_precision_and_says_how_it_was_checked(name, precision, saved, tmp_path):
    manifest = export(saved(name), tmp_path / "bundle", precision=precision, batch=2, points=48).to_json()
    settled, parity = manifest["precision"], manifest["parity"]
    assert (settled["asked"], settled["read_back"]) == (precision, precision)
    kept = {layer for layer, kind in settled["layers"].items() if kind == "fp32"}
    assert kept == set(settled["kept"]) < set(settled["layers"])
    assert set(settled["layers"].values()) <= {precision, "fp32"}
    assert set(settled["types"].split("+")) == {precision, "fp32"}
    assert parity["tier"] == precision
    assert parity["before_lowering"]["relative_l2_max"] <= 1e-4
    assert parity["overlap_min"] >= parity["limits"]["overlap"]
    executed = precision != "bf16" or not kernels.lacks_bf16()
    assert (parity["emulation"] is not None) == (executed and precision in ("fp16", "bf16"))
    assert parity["status"].startswith("executed" if executed else "built, not executed")
    assert load_manifest(tmp_path / "bundle").precision == precision
    assert len(settled.get("calibration", {}).get("sha256", "")) == (64 if precision == "int8" else 0)
    if executed:
        with load_encoder(tmp_path / "bundle") as encoder:
            assert encoder.specification.precision == precision


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_two_exports_in_a_lower_precision_are_the_same_files(precision, saved, modelnet, tmp_path):
    verification = Verification(calibrate=modelnet if precision == "int8" else None)
    for name in ("one", "two"):
        export(saved("pointnet"), tmp_path / name, precision=precision, verification=verification, **SMALL)
    assert (tmp_path / "one" / "encoder.onnx").read_bytes() == (tmp_path / "two" / "encoder.onnx").read_bytes()
    first, second = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("one", "two"))
    for manifest in (first, second):
        for measured in ("speed", "fp32_ms", "int8_ms"):
            manifest["precision"].get("gain", {}).pop(measured, None)
    assert first == second


def test_int8_is_refused_where_one_object_is_worth_more_than_the_limit(saved, modelnet, tmp_path):
    with pytest.raises(InputError, match=r"15 test objects, one of which is worth 6\.67 points, .*at least 200 test"):
        export(saved("pointnet"), tmp_path / "out", precision="int8", verification=Verification(modelnet), **SMALL)


def test_int8_is_tuned_on_the_training_part(saved, modelnet, tmp_path, monkeypatch):
    accuracy, seen = import_module("crosspoint.parity.accuracy").SvmAccuracy, []
    original = accuracy.compare

    def compare(self, encoder):
        seen.append((self._probe.train, len(self._probe.points)))
        return original(self, encoder)

    monkeypatch.setattr(accuracy, "compare", compare)
    options = {"precision": "int8", "verification": Verification(modelnet, max_drop=100.0)}
    manifest = export(saved("pointnet"), tmp_path / "bundle", **options, **SMALL)
    assert seen == [(30, 45), (45, 60)]  # a third of the training part in the search, the test part at the end
    assert 0 < manifest.precision.gain.int8_share < 1


def test_labelled_data_is_part_of_the_gate(saved, modelnet, tmp_path):
    options = {"precision": "int8", "verification": Verification(modelnet, max_drop=100.0)}
    manifest = export(saved("pointnet"), tmp_path / "bundle", **options, **SMALL).to_json()
    task = manifest["parity"]["task"]
    assert (task["objects"], task["max_drop"]) == (15, 100.0)
    assert -1 <= task["difference"] <= 1
    assert "real clouds" in {case["name"] for case in manifest["parity"]["cases"]}
    assert manifest["precision"]["calibration"]["source"].startswith(modelnet.name)
    assert manifest["precision"]["calibration"]["clouds"] == 45
    assert str(tmp_path) not in json.dumps(manifest)


def test_lost_accuracy_leaves_nothing_behind(saved, modelnet, tmp_path, monkeypatch):
    monkeypatch.setattr(import_module("crosspoint.parity.accuracy").SvmAccuracy, "compare", lambda *_: LOST)
    source = saved("pointnet")
    with pytest.raises(CheckFailed, match=r"loses 3\.00 points of SVM accuracy.*\(limit 0\.2\)"):
        export(source, tmp_path / "bundle", precision="fp16", verification=Verification(modelnet), **SMALL)
    assert not (tmp_path / "bundle").exists()


LOST = SvmTask("SVM accuracy", "clouds", 45, 0.1, Paired(200, 0.9, 0.87, 0.96, 7, 1, 0.07, -0.03, (-0.06, 0.0)))


@pytest.mark.parametrize("sabotage", ["weight", "casts"])
def test_a_faulty_lowering_leaves_nothing_behind(sabotage, saved, tmp_path, monkeypatch):
    faithful = choose.lower

    def faulty(model, precision, *, exact_choices=0):
        if sabotage == "casts":
            return model  # and nobody notices that it is float32
        lowered = faithful(model, precision, exact_choices=exact_choices)
        weight = next(c for c in lowered.graph.initializer if c.name.startswith("layer3/linear/product/weight"))
        weight.raw_data = weight.raw_data[::-1]
        return lowered

    monkeypatch.setattr(choose, "lower", faulty)
    source = saved("pointnet")
    with pytest.raises(CheckFailed, match="nothing was written"):
        export(source, tmp_path / "bundle", precision="fp16", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def perturbed(model):
    weights = deploy_faithfully(model)
    weights.layers[2].weight[:] *= -1
    return weights


deploy_faithfully = bundle.deploy


def test_a_failing_gate_leaves_nothing_behind(saved, tmp_path, monkeypatch):
    source = saved("pointnet")
    monkeypatch.setattr(bundle, "deploy", perturbed)
    with pytest.raises(CheckFailed, match=r"encoder\.onnx differs from the trained network.*nothing was written"):
        export(source, tmp_path / "bundle", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_failing_gate_keeps_the_earlier_bundle(saved, tmp_path, monkeypatch):
    source = saved("pointnet")
    export(source, tmp_path / "bundle", **SMALL)
    before = {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()}
    monkeypatch.setattr(bundle, "deploy", perturbed)
    with pytest.raises(CheckFailed):
        export(source, tmp_path / "bundle", **SMALL)
    assert {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", source.name]


def test_a_folder_of_other_files_is_not_replaced(saved, tmp_path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.tex").write_text("words")
    with pytest.raises(InputError, match="holds files that are not a bundle"):
        export(saved("pointnet"), precious, **SMALL)
    assert (precious / "chapter.tex").read_text() == "words"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp8"}, "--precision fp8 is not known; give one of fp32, fp16, bf16, int8"),
        ({"points": 5}, "--points 5 is fewer than the 6 neighbours"),
        ({"points": "5:10:20"}, "--points 5 is fewer than the 6 neighbours"),
        ({"batch": "8:4:2"}, "--batch 8:4:2 is invalid"),
        ({"trt": True, "points": "any"}, "give --points min:opt:max"),
        ({"options": ExportOptions(target=("sm86",))}, "add --trt"),
        ({"verification": Verification(calibrate=Path("x"))}, "--calibrate needs --precision int8"),
        ({"verification": Verification(max_drop=1.0)}, "add --verify-data"),
        ({"verification": Verification(data=Path("nowhere"))}, "nowhere does not exist; give --verify-data"),
        ({"verification": Verification(data=Path("x"), max_drop=-1.0)}, "--max-drop is -1.0"),
        ({"options": ExportOptions(projection=True)}, "holds no projection.safetensors"),
    ],
)
def test_options_that_cannot_be_met_are_refused(options, message, saved, tmp_path):
    with pytest.raises(InputError, match=message):
        export(saved("dgcnn"), tmp_path / "bundle", **options)
    assert not (tmp_path / "bundle").exists()


def test_weights_that_are_not_numbers_are_refused(network, tmp_path):
    model = network("pointnet")
    model.linears[1].weight.data[0, 0] = float("nan")
    save_model(model, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"holds NaN or infinite weights \(linears\.1\.weight\)"):
        export(tmp_path / "x.safetensors", tmp_path / "bundle", **SMALL)


def test_models_that_cannot_be_exported_are_refused(tmp_path):
    save_model(ImageEncoder(18), tmp_path / "image.safetensors")
    (tmp_path / "picture.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" * 10)
    (tmp_path / "model.onnx").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name, message in [
        ("image.safetensors", "ImageEncoder cannot be exported"),
        ("picture.safetensors", "not a readable safetensors file"),
        ("model.onnx", "not a .safetensors file"),
        ("empty", "holds no encoder.safetensors or segmenter.safetensors"),
        ("nowhere", "does not exist"),
    ]:
        with pytest.raises(InputError, match=message):
            export(tmp_path / name, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": -0.1}, "--max-drop is -0.1; give percentage points, 0 or more"),
        ({"max_drop": float("nan")}, "--max-drop is nan"),
        ({"clouds": 0}, "--verify-clouds is 0; give 1 or more"),
        ({"max_drop": 0.0}, None),
        ({"max_drop": 0.5, "clouds": 1}, None),
    ],
)
def test_what_is_verified_is_a_sensible_number(tmp_path, options, message):
    verification = Verification(tmp_path, **options)
    if message is None:
        verification.check("fp32")
    else:
        with pytest.raises(InputError, match=re.escape(message)):
            verification.check("fp32")
