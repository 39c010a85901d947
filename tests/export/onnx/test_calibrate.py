import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest

from crosspoint.core.errors import InputError
from crosspoint.export.onnx import calibrate as module
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.calibrate import CLOUDS, calibrate, calibration_set
from crosspoint.export.onnx.fold import deploy
from crosspoint.parity.clouds import ordinary
from crosspoint.parity.user_clouds import UserClouds


def test_ranges_are_the_largest_magnitudes(network):
    model, points = build(deploy(network("pointnet")), None), ordinary(5, 40)
    found = calibrate(model, ["layer1", "points", "layer1"], inputs={"points": points})
    model.graph.output.append(onnx.helper.make_tensor_value_info("layer1", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (layer1,) = session.run(["layer1"], {"points": points})
    assert found == pytest.approx({"layer1": np.abs(layer1).max(), "points": np.abs(points).max()}, rel=1e-5)


def test_a_folder_of_clouds_is_drawn_from_and_hashed(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(CLOUDS + 3):
        np.save(tmp_path / f"{i:03d}.npy", rng.standard_normal((40, 3)).astype(np.float32))
    drawn, again = calibration_set(tmp_path, 32), calibration_set(tmp_path, 32)
    assert drawn.points.shape == (CLOUDS, 32, 3)
    np.testing.assert_allclose(np.linalg.norm(drawn.points, axis=2).max(axis=1), 1, atol=1e-5)
    description = drawn.describe()
    assert description.sha256 == hashlib.sha256(drawn.points.tobytes()).hexdigest()
    assert description == again.describe()
    assert (description.clouds, description.points) == (CLOUDS, 32)
    assert description.source.startswith(tmp_path.name)
    assert str(tmp_path) not in description.source
    (tmp_path / "000.npy").unlink()
    (tmp_path / "001.npy").unlink()
    assert calibration_set(tmp_path, 32).describe().sha256 != description.sha256


def test_without_a_folder_it_says_that_clouds_were_made():
    made = calibration_set(None, 32)
    assert made.describe().source == "made surfaces, since no clouds were given"
    np.testing.assert_array_equal(made.points, ordinary(CLOUDS, 32))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="--calibrate"):
        calibration_set(tmp_path / "nowhere", 32)


def test_the_seed_draws_the_clouds(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", rng.random((200, 3), np.float32))
    for folder in (None, tmp_path):
        first, again, other = (calibration_set(folder, 64, seed=seed).points.tobytes() for seed in (0, 0, 1))
        assert first == again != other


@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize("train", [None, 150])
def test_clouds_are_drawn_with_the_seed_and_from_the_training_part_alone(seed, train, monkeypatch, tmp_path):
    points = np.arange(200, dtype=np.float32)[:, None, None] * np.ones((1, 4, 3), np.float32)
    labels = None if train is None else np.zeros(200, np.int64)
    asked = []

    def real_clouds(*given, **options):
        asked.append((given, options))
        return UserClouds(points, labels, 200 if train is None else train, "a source")

    monkeypatch.setattr(module, "real_clouds", real_clouds)
    drawn = calibration_set(tmp_path, 4, seed=seed)
    assert asked == [((tmp_path, 4), {"limit": None, "seed": seed, "up": None})]
    expected = sorted(np.random.default_rng(seed).permutation(train or 200)[:128])
    assert drawn.points[:, 0, 0].tolist() == expected
    assert drawn.source == f"{tmp_path.name}, a source"


def test_each_cloud_is_given_to_the_calibrator_by_itself():
    inputs = {"points": np.arange(24.0).reshape(2, 4, 3), "category": np.eye(2)}
    reader = module._CalibrationReader(inputs)
    for i in range(2):
        given = reader.get_next()
        np.testing.assert_array_equal(given["points"], inputs["points"][[i]])
        np.testing.assert_array_equal(given["category"], inputs["category"][[i]])
    assert reader.get_next() is None
