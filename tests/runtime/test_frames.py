"""Clouds given in Python: turned and normalised if asked, refused where they plainly should have been."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models as small

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.parity.clouds import ordinary
from crosspoint.runtime import load_encoder
from crosspoint.runtime.encoder import Encoder

Clouds = Callable[..., np.ndarray]


@pytest.fixture
def encoder(tmp_path: Path):
    with load_encoder(small.write_onnx(tmp_path / "model.onnx")) as opened:
        yield opened


def lay_z_up(points: np.ndarray) -> np.ndarray:
    """A y-up cloud as it is where z points up: `(x, y, z)` becomes `(x, −z, y)`."""
    return points[..., [0, 2, 1]] * np.array([1, -1, 1], points.dtype)


def test_normalise_centres_and_scales_first(encoder: Encoder, clouds: Clouds) -> None:
    points = 40 * clouds() + 7
    np.testing.assert_array_equal(encoder.embed(points, normalise=True), encoder.embed(normalise(points)))


def test_clouds_far_away_are_centred_before_they_become_float32(encoder: Encoder, clouds: Clouds) -> None:
    points = clouds().astype(np.float64)
    far = encoder.embed(points + np.array([500_000, 5_600_000, 300]), normalise=True)
    np.testing.assert_allclose(far, encoder.embed(points, normalise=True), atol=1e-6)


def test_up_turns_clouds_to_y_up(encoder: Encoder, clouds: Clouds) -> None:
    np.testing.assert_array_equal(encoder.embed(lay_z_up(clouds()), up="z"), encoder.embed(clouds()))


def test_up_turns_what_a_file_holds(encoder: Encoder, clouds: Clouds, tmp_path: Path) -> None:
    for name, points in (("y", clouds(1)[0]), ("z", lay_z_up(clouds(1)[0]))):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "cloud.npy", points)
    turned = encoder.embed(tmp_path / "z" / "cloud.npy", up="z")
    np.testing.assert_array_equal(turned, encoder.embed(tmp_path / "y" / "cloud.npy"))


@pytest.mark.parametrize("of_files", [False, True])
def test_an_unknown_axis_is_refused(encoder: Encoder, clouds: Clouds, tmp_path: Path, of_files: bool) -> None:
    np.save(tmp_path / "cloud.npy", clouds(1)[0])
    with pytest.raises(InputError, match="'Z' is no axis"):
        encoder.embed(tmp_path / "cloud.npy" if of_files else clouds(), up="Z")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(1000, 0), (1e-4, 0), (0.5, 0), (1.7, 0), (1, 0.5), (1, 100), (1e30, 0)],
    ids=["millimetres", "tiny", "unit diameter", "cube of side 2", "unit cube", "far", "huge"],
)
def test_clouds_that_are_not_normalised_are_refused_with_the_advice(
    encoder: Encoder, clouds: Clouds, scale: float, offset: float
) -> None:
    points = clouds()
    points[1] = scale * points[1] + offset
    with pytest.raises(InputError, match=r"1 of 3 clouds are not normalised, first number 1: .* give normalise=True"):
        encoder.embed(points)


def test_the_number_of_a_bad_cloud_is_of_the_whole_batch(encoder: Encoder, clouds: Clouds) -> None:
    points = clouds(40)
    points[35:] *= 1000
    with pytest.raises(InputError, match="5 of 40 clouds are not normalised, first number 35"):
        encoder.embed(points)


def test_clouds_of_one_point_in_many_places_pass_as_zeros(encoder: Encoder) -> None:
    same = np.full((2, 16, 3), 5.0)
    np.testing.assert_array_equal(encoder.embed(same, normalise=True), encoder.embed(np.zeros((2, 16, 3))))


@pytest.mark.parametrize("points", [64, 1024])
def test_half_of_the_points_of_a_normalised_cloud_are_normalised_enough(encoder: Encoder, points: int) -> None:
    drawn = ordinary(20, 2 * points)[:, np.random.default_rng(0).permutation(2 * points)[:points]]
    assert encoder.embed(drawn).shape == (20, 4)


def test_a_comparison_may_feed_what_is_not_normalised(encoder: Encoder, clouds: Clouds) -> None:
    points = clouds() + np.float32(100)
    result = encoder.infer({"points": points}, any_scale=True)
    np.testing.assert_allclose(result, small.reference(points), rtol=1e-5)


def test_inference_by_name_refuses_the_same_clouds(encoder: Encoder, clouds: Clouds) -> None:
    with pytest.raises(InputError, match=r"4 of 4 clouds are not normalised.*give normalise=True"):
        encoder.infer({"points": clouds(4) + np.float32(100)})


def test_a_segmenter_takes_and_refuses_the_same(tmp_path: Path, clouds: Clouds) -> None:
    category = np.array([[1, 0], [0, 1]])
    with load_encoder(small.write_segmenter(tmp_path / "segmenter.onnx")) as segmenter:
        expected = segmenter.segment(clouds(2), category)
        raw = 30 * lay_z_up(clouds(2).astype(np.float64))
        np.testing.assert_allclose(segmenter.segment(raw, category, normalise=True, up="z"), expected, atol=1e-6)
        with pytest.raises(InputError, match="2 of 2 clouds are not normalised"):
            segmenter.segment(30 * clouds(2), category)
        np.testing.assert_array_equal(segmenter.infer({"points": clouds(2), "category": category}), expected)
