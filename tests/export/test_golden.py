"""Golden vectors beside the package's own reading, drawing, normalising and embedding."""

import numpy as np
import pytest

from crosspoint.core.files import write_json
from crosspoint.data.io.files import read_points
from crosspoint.data.points import normalise
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.manifest import NAME, load_manifest, verify_files

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

COUNT = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    from crosspoint.export.bundle import export

    out = tmp_path_factory.mktemp("golden") / "bundle"
    export("pointnet", out, points=COUNT)
    return out


@pytest.fixture(scope="module")
def golden(bundle):
    return dict(np.load(bundle / "golden.npz"))


def test_the_manifest_lists_them(bundle):
    assert "golden.npz" in verify_files(load_manifest(bundle))


def test_a_file_of_the_cloud_gives_the_same_points(golden, tmp_path):
    np.save(tmp_path / "cloud.npy", golden["cloud"])
    found = read_points(tmp_path / "cloud.npy", COUNT, seed=int(golden["seed"]), up=str(golden["up"]))
    assert (normalise(found) == golden["points"]).all()


def test_a_file_of_the_cloud_gives_the_same_embedding(bundle, golden, tmp_path):
    np.save(tmp_path / "cloud.npy", golden["cloud"])
    with load_encoder(bundle, threads=1) as encoder:
        found = encoder.embed([tmp_path / "cloud.npy"], up="z")
    np.testing.assert_allclose(found, golden["embedding"], atol=1e-6)


def test_the_steps_of_the_page_give_the_same_points(golden):
    """Slowly, by plain numbers."""
    cloud = [row for row in golden["cloud"].tolist() if all(value == value for value in row)]
    turned = [(x, z, -y) for x, y, z in (cloud[row] for row in golden["rows"])]
    mean = [sum(axis) / COUNT for axis in zip(*turned, strict=True)]
    centred = [[value - middle for value, middle in zip(row, mean, strict=True)] for row in turned]
    radius = max(sum(value * value for value in row) ** 0.5 for row in centred)
    np.testing.assert_allclose(golden["points"][0], np.array(centred) / radius, atol=1e-6)


def test_float32_would_not_give_these_points(golden):
    """So that they catch a program that centres in float32."""
    cloud = golden["cloud"][np.isfinite(golden["cloud"]).all(axis=1)].astype(np.float32)
    turned = cloud[golden["rows"]][:, [0, 2, 1]] * np.array([1, 1, -1], np.float32)
    assert np.abs(normalise(turned) - golden["points"][0]).max() > 1e-2


def test_the_same_model_gives_the_same_bytes(bundle, tmp_path):
    from crosspoint.export.golden import write_golden

    (tmp_path / "encoder.onnx").write_bytes((bundle / "encoder.onnx").read_bytes())
    write_golden(tmp_path, "encoder.onnx", count=COUNT, runs=True)
    assert (tmp_path / "golden.npz").read_bytes() == (bundle / "golden.npz").read_bytes()


def test_a_model_that_the_cpu_cannot_run_has_points_alone(tmp_path):
    from crosspoint.export.golden import write_golden

    write_golden(tmp_path, "encoder.onnx", count=COUNT, runs=False)
    written = set(np.load(tmp_path / "golden.npz"))
    assert {"cloud", "rows", "points"} <= written
    assert not {"embedding", "scores"} & written


@pytest.mark.parametrize("why", ["", "this CPU has no AVX512-BF16"])
def test_a_bundle_in_bf16_has_the_outputs_where_it_was_executed(why, tmp_path, monkeypatch):
    from crosspoint.export.bundle import export

    if not why and kernels.lacks_bf16():
        pytest.skip(kernels.lacks_bf16())
    monkeypatch.setattr(kernels, "lacks_bf16", lambda: why)
    export("pointnet", tmp_path / "bundle", precision="bf16", points=COUNT, batch=1)
    golden = dict(np.load(tmp_path / "bundle" / "golden.npz"))
    assert ("embedding" in golden) == (not why)
    if not why:
        with load_encoder(tmp_path / "bundle", threads=1) as encoder:
            np.testing.assert_allclose(encoder.embed(golden["points"]), golden["embedding"], atol=1e-6)


def test_a_bundle_without_them_opens_as_before(bundle, golden, tmp_path):
    import json

    old = json.loads((bundle / NAME).read_text())
    del old["files"]["golden.npz"]
    write_json(tmp_path / NAME, old)
    (tmp_path / "encoder.onnx").write_bytes((bundle / "encoder.onnx").read_bytes())
    with load_encoder(tmp_path, threads=1) as encoder:
        np.testing.assert_allclose(encoder.embed(golden["points"]), golden["embedding"], atol=1e-6)
