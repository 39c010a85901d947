"""Augmentations against their definitions: ranges, order, distributions, and the same numbers for any split."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from crosspoint.train.pretrain import augment
from crosspoint.train.pretrain.augment import (
    SampleRng,
    augment_images,
    augment_points,
    colour_jitter,
    elastic,
    normalise,
    random_crop,
    thin,
)

CPU = torch.device("cpu")


def draw(seed=0):
    return SampleRng(CPU).seed(seed)


def clouds(batch=64, count=128):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, count, 3, generator=generator) * torch.tensor([3.0, 1.0, 0.5]) + 7


def test_normalised_clouds_are_centred_with_radius_one():
    x = normalise(clouds())
    torch.testing.assert_close(x.mean(dim=1), torch.zeros(64, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.norm(dim=2).amax(dim=1), torch.ones(64))
    assert normalise(torch.ones(1, 5, 3)).abs().max() == 0


def test_views_are_similarities_of_the_cloud_plus_bounded_jitter(monkeypatch):
    monkeypatch.setattr(augment, "JITTER", 0.0)
    x = normalise(clouds())
    y = augment_points(clouds(), dropout=0.0, with_elastic=False, rng=draw())
    ratio = torch.pdist(y[0]) / torch.pdist(x[0])
    assert ratio.std() < 1e-4, "one scale for all distances"
    scales = torch.stack([torch.pdist(b).mean() / torch.pdist(a).mean() for a, b in zip(x, y, strict=True)])
    assert scales.min() >= 0.499
    assert scales.max() <= 2.001
    assert scales.std() == pytest.approx(1.5 / math.sqrt(12), rel=0.2)
    centred = (y - y.mean(dim=1, keepdim=True)) / scales.view(-1, 1, 1)
    torch.testing.assert_close(centred[..., 1], x[..., 1], atol=1e-4, rtol=0)  # rotation about y keeps heights
    extent = y.amax(dim=1) - y.amin(dim=1)
    shift = y.mean(dim=1) / extent
    assert shift.abs().max() <= 0.5 + 1e-5
    assert shift.std() == pytest.approx(1 / math.sqrt(12), rel=0.2)


def test_jitter_is_clipped_normal_noise():
    same = clouds()
    one = augment_points(same, 0.0, with_elastic=False, rng=draw(1))
    monkey = pytest.MonkeyPatch()
    monkey.setattr(augment, "JITTER", 0.0)
    two = augment_points(same, 0.0, with_elastic=False, rng=draw(1))
    monkey.undo()
    noise = one - two
    assert noise.abs().max() <= 0.05 + 1e-6
    assert noise.std() == pytest.approx(0.01, rel=0.05)


def test_no_jitter_is_larger_than_its_limit(monkeypatch):
    """With a deviation of twenty times the limit nearly every coordinate is clipped."""
    same = clouds()
    monkeypatch.setattr(augment, "JITTER", 1.0)
    one = augment_points(same, 0.0, with_elastic=False, rng=draw(1))
    monkeypatch.setattr(augment, "JITTER", 0.0)
    noise = one - augment_points(same, 0.0, with_elastic=False, rng=draw(1))
    assert noise.abs().max() == pytest.approx(0.05, abs=1e-5)
    assert (noise.abs() > 0.0499).float().mean() > 0.9


def test_rotations_are_uniform_and_about_the_vertical_axis_alone(monkeypatch):
    monkeypatch.setattr(augment, "JITTER", 0.0)
    x = normalise(clouds(400, 16))
    y = augment_points(clouds(400, 16), 0.0, with_elastic=False, rng=draw())
    y = y - y.mean(dim=1, keepdim=True)
    scale = y.norm(dim=2).mean(dim=1) / x.norm(dim=2).mean(dim=1)
    torch.testing.assert_close(y[..., 1], x[..., 1] * scale.view(-1, 1), atol=1e-4, rtol=0)
    before, after = torch.complex(x[:, 0, 2], x[:, 0, 0]), torch.complex(y[:, 0, 2], y[:, 0, 0])
    angles = (after / before).angle()  # about y, from z to x
    assert torch.histc(angles, 4, -math.pi, math.pi).min() > 60


def test_dropout_replaces_points_by_the_first_one():
    y = augment_points(clouds(256, 200), 0.875, with_elastic=False, rng=draw())
    dropped = (y == y[:, :1]).all(dim=2).float().mean(dim=1)
    assert dropped.max() <= 0.97
    assert dropped.mean() == pytest.approx(0.4375, abs=0.05)
    kept = augment_points(clouds(256, 200), 0.0, with_elastic=False, rng=draw())
    assert (kept == kept[:, :1]).all(dim=2).sum() == 256


@pytest.mark.parametrize("left", [1, 2, 7, 16])
@pytest.mark.parametrize("copied", [False, True])
def test_what_is_left_of_a_cloud_are_points_of_it_and_copies_of_these(left, copied):
    x = clouds(40, 16)
    y = thin(x, left, copied=copied, rng=draw())
    assert y.shape == (40, 16 if copied else left, 3)
    met = set()
    for cloud, thinned in zip(x.tolist(), y.tolist(), strict=True):
        assert len({tuple(point) for point in thinned[:left]}) == left
        assert {tuple(point) for point in thinned[left:]} <= {tuple(point) for point in thinned[:left]}
        met.update(cloud.index(point) for point in thinned)
    assert met == set(range(16))


def test_processes_leave_the_same_points_as_one_process():
    x = clouds(8, 32)
    for copied in (False, True):
        whole = thin(x, 20, copied=copied, rng=draw(5))
        for rank in range(4):
            rng = SampleRng(CPU, rank, size=4).seed(5)
            assert torch.equal(thin(x[2 * rank : 2 * rank + 2], 20, copied=copied, rng=rng), whole[2 * rank :][:2])


def trilinear(field, point):
    """The field (3, 4, 4, 4), indexed by z, y and x, at a point of [−1, 1]³, from its eight corners."""
    at = [(c + 1) / 2 * 3 for c in point]  # in cells
    low = [min(int(c), 2) for c in at]
    total = np.zeros(3)
    for corner in np.ndindex(2, 2, 2):
        x, y, z = (start + step for start, step in zip(low, corner, strict=True))
        weight = math.prod(1 - abs(c - place) for c, place in zip(at, (x, y, z), strict=True))
        total += weight * field[:, z, y, x]
    return total


def test_elastic_distortion_is_a_trilinear_field_of_at_most_a_tenth_of_the_radius():
    x = normalise(clouds(6, 20))
    numbers = draw(4)
    field = numbers.normal(6, 3, 4, 4, 4)
    field = field * numbers.uniform(6, 1, 1, 1, 1, high=0.1)
    moved = (elastic(x, draw(4)) - x).double().numpy()
    for cloud, grid, shift in zip(x.tolist(), field.double().numpy(), moved, strict=True):
        np.testing.assert_allclose(shift, [trilinear(grid, point) for point in cloud], atol=1e-6)


def test_elastic_distortion_is_smooth():
    x = normalise(clouds(8, 512))
    moved = elastic(x, draw()) - x
    step = torch.tensor([1e-3, 0, 0])
    near = elastic(x + step, draw()) - (x + step)
    assert (near - moved).abs().max() < 5e-3


@pytest.mark.parametrize("with_elastic", [True, False])
def test_processes_draw_what_one_process_draws(with_elastic):
    x = clouds(8, 32)
    whole = augment_points(x, 0.5, with_elastic=with_elastic, rng=draw(5))
    for rank in range(4):
        part = augment_points(
            x[2 * rank : 2 * rank + 2], 0.5, with_elastic=with_elastic, rng=SampleRng(CPU, rank, size=4).seed(5)
        )
        torch.testing.assert_close(part, whole[2 * rank : 2 * rank + 2], rtol=0, atol=1e-6)


def test_colour_changes_agree_with_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).float().div(255).unsqueeze(0)
    for change, enhance in zip(
        augment.COLOUR, (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), strict=True
    ):
        for factor in (0.6, 1.0, 1.3):
            ours = change(tensor.clone(), torch.tensor([factor]))[0].permute(1, 2, 0).mul(255)
            theirs = np.asarray(enhance(picture).enhance(factor)).astype(np.float32)
            assert np.abs(ours.numpy() - theirs).max() < 3.0, (change, factor)


def test_images_are_normalised_flipped_and_jittered():
    images = torch.randint(0, 256, (40, 2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    out = augment_images(images, crop=False, rng=draw())
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    low = (0 - np.array(augment.MEAN)) / np.array(augment.STD)
    high = (1 - np.array(augment.MEAN)) / np.array(augment.STD)
    for channel in range(3):
        assert out[:, :, channel].min() >= low[channel] - 1e-5
        assert out[:, :, channel].max() <= high[channel] + 1e-5
    plain = images.float()
    flipped = 0
    for before, after in zip(plain.flatten(0, 1), out.flatten(0, 1), strict=True):
        same = torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1]
        mirrored = torch.corrcoef(torch.stack([before.flip(2).flatten(), after.flatten()]))[0, 1]
        flipped += int(mirrored > same)
    assert 25 <= flipped <= 55


def test_colours_change_by_the_factors_and_in_the_order_of_each_image():
    images = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    numbers = draw(2)
    factors = numbers.uniform(12, 3, low=0.6, high=1.4)
    orders = numbers.uniform(12, 3).argsort(dim=1).tolist()
    assert len({tuple(order) for order in orders}) > 3
    for image, result, factor, order in zip(images, colour_jitter(images, draw(2)), factors, orders, strict=True):
        expected = image[None]
        for number in order:
            expected = augment.COLOUR[number](expected, factor[number : number + 1])
        torch.testing.assert_close(result, expected[0])


def test_every_image_has_an_order_of_its_own():
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).expand(60, -1, -1, -1)
    assert len({tuple(image.flatten().tolist()) for image in colour_jitter(images, draw())}) == 60


def test_crops_stay_inside_and_keep_the_size():
    ramp = torch.linspace(0, 1, 32).expand(50, 3, 32, 32)
    out = random_crop(ramp, draw())
    assert out.shape == ramp.shape
    assert out.min() >= 0
    assert out.max() <= 1
    width = out[:, 0, 0, -1] - out[:, 0, 0, 0]
    assert width.max() <= 1.0
    assert width.min() >= math.sqrt(0.6 * 3 / 4) - 0.1
    assert width.std() > 0.02
