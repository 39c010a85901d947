"""One contract for all backends: the same suite runs on each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from gpus import builder_or_skip

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.runtime import Encoder, load_encoder

Clouds = Callable[..., np.ndarray]


def pointnet_reference(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """PointNet from its weights in float64, point by point."""
    from safetensors.numpy import load_file

    weights = {name: value.astype(np.float64) for name, value in load_file(path).items()}

    def embed(points: np.ndarray) -> np.ndarray:
        result = []
        for cloud in points.astype(np.float64):
            x = cloud
            for i in range(5):
                x = x @ weights[f"linears.{i}.weight"].T
                mean, var = weights[f"norms.{i}.running_mean"], weights[f"norms.{i}.running_var"]
                x = (x - mean) / np.sqrt(var + 1e-5) * weights[f"norms.{i}.weight"] + weights[f"norms.{i}.bias"]
                x = np.maximum(x, 0)
            result.append(x.max(axis=0))
        return np.array(result, np.float32)

    return embed


@pytest.fixture(
    params=[
        "pytorch",
        "onnxruntime",
        pytest.param("pytorch cuda", marks=pytest.mark.gpu),
        pytest.param("onnxruntime cuda", marks=pytest.mark.gpu),
        pytest.param("tensorrt-rtx", marks=pytest.mark.gpu),
    ]
)
def case(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Encoder, Callable[[np.ndarray], np.ndarray], str]]:
    """An open encoder, its reference, and the backend's name; the clouds that fit have 8 to 32 points."""
    backend, _, device = request.param.partition(" ")
    if "gpu" in [mark.name for mark in request.node.iter_markers()]:
        request.getfixturevalue("gpu")
    if backend == "pytorch":
        from crosspoint.models import PointNet
        from crosspoint.models.weights import save_model

        save_model(PointNet(), tmp_path / "encoder.safetensors")
        model, reference = tmp_path, pointnet_reference(tmp_path / "encoder.safetensors")
    elif backend == "onnxruntime":
        if device == "cuda":
            providers = pytest.importorskip("onnxruntime").get_available_providers()
            if "CUDAExecutionProvider" not in providers:
                pytest.skip("onnxruntime has no CUDA provider")
        model, reference = small.write_onnx(tmp_path / "small.onnx"), small.reference
    else:
        builder_or_skip("rtx")
        model, reference, device = request.getfixturevalue("engine_bundle"), small.reference, "cuda"
    with load_encoder(model, device or "cpu") as encoder:
        yield encoder, reference, backend


def test_embeds_as_its_reference(case, clouds: Clouds) -> None:
    encoder, reference, _ = case
    for batch, points in ((1, 16), (2, 8), (3, 32)):
        expected = reference(clouds(batch, points))
        result = encoder.embed(clouds(batch, points))
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_specification_is_of_the_loaded_file(case) -> None:
    encoder, _, backend = case
    specification = encoder.specification
    assert specification.backend == backend
    assert specification.sha256 == sha256(Path(specification.path))
    assert encoder.embed(np.zeros((2, 16, 3), np.float32)).shape == (2, specification.dim)
    assert specification.categories is None


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_any_floating_type_is_taken(case, clouds: Clouds, dtype: type) -> None:
    points = clouds().astype(dtype)
    np.testing.assert_array_equal(case[0].embed(points), case[0].embed(points.astype(np.float32)))


def test_non_contiguous_points_are_taken(case, clouds: Clouds) -> None:
    points = clouds(3, 32)
    np.testing.assert_array_equal(case[0].embed(points[:, ::2]), case[0].embed(points[:, ::2].copy()))


def test_points_are_left_as_they_were(case, clouds: Clouds) -> None:
    points = clouds()
    case[0].embed(points)
    np.testing.assert_array_equal(points, clouds())


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((16, 3), np.float32), r"\(16, 3\); give \(B, N, 3\).*points\[None\]"),
        (np.zeros((2, 3, 16), np.float32), r"\(2, 3, 16\); give \(B, N, 3\)"),
        (np.zeros((0, 16, 3), np.float32), r"\(0, 16, 3\).*B at least 1"),
        (np.zeros((2, 0, 3), np.float32), r"points per cloud, not 0"),
        (np.zeros((2, 16, 3), np.int64), r"type int64.*astype"),
        (np.zeros((2, 16, 3), complex), r"type complex128"),
        (np.array([["a", "b", "c"]]), r"type <U1"),
        ([[[0.0, 0, 0]], [[0.0, 0, 0], [1, 1, 1]]], r"not a regular array"),
        (np.full((2, 16, 3), np.nan), r"NaN or infinite values, first at index \(0, 0, 0\)"),
        (np.full((2, 16, 3), 1e300), r"NaN or infinite values"),
    ],
)
def test_what_does_not_fit_is_refused(case, points: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        case[0].embed(points)
    assert "\n" not in str(caught.value)


def test_an_encoder_does_not_segment(case, clouds: Clouds) -> None:
    with pytest.raises(InputError, match=r"not a part segmenter; use embed"):
        case[0].segment(clouds(), np.eye(3))


def test_closing_twice_is_harmless(case) -> None:
    case[0].close()
    case[0].close()
