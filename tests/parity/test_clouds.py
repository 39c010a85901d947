import numpy as np
import pytest

from crosspoint.parity.clouds import gate_clouds, hostile, ordinary


@pytest.mark.parametrize("points", [1, 2, 7, 64])
def test_clouds_have_the_number_of_points_and_are_finite(points):
    assert ordinary(5, points).shape == (5, points, 3)
    for cloud in (*ordinary(5, points), *hostile(points).values()):
        assert cloud.shape == (points, 3)
        assert cloud.dtype == np.float32
        assert np.isfinite(cloud).all()


def test_ordinary_clouds_are_normalised_and_differ():
    clouds = ordinary(5, 64)
    np.testing.assert_allclose(clouds.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(clouds, axis=2).max(axis=1), 1, rtol=1e-6)
    assert len({cloud.tobytes() for cloud in clouds}) == 5


def test_clouds_that_are_not_normalised_are_as_far_off_as_they_are_called():
    clouds = hostile(64)
    assert np.linalg.norm(clouds["size 0.0001"], axis=1).max() == pytest.approx(1e-4, rel=1e-5)
    np.testing.assert_allclose(clouds["100 away"].mean(axis=0), 100, atol=1e-4)


def test_duplicates_and_a_lattice_have_exact_ties():
    clouds = hostile(64)
    assert len(np.unique(clouds["each point four times"], axis=0)) == 16
    lattice = clouds["lattice"]
    distances = np.linalg.norm(lattice[:, None] - lattice[None], axis=-1).round(5)
    assert len(np.unique(distances)) < 64


def test_two_specks_are_far_apart_for_their_size():
    cloud = hostile(64)["two specks"]
    one, two = cloud[::2], cloud[1::2]
    apart = np.linalg.norm(one.mean(axis=0) - two.mean(axis=0))
    sizes = [np.linalg.norm(speck - speck.mean(axis=0), axis=1).max() for speck in (one, two)]
    assert 1000 < apart / max(sizes) < 4000


def test_the_seed_makes_other_clouds_of_every_set():
    one, two = ({each.name: each.inputs["points"] for each in gate_clouds(64, seed=seed)} for seed in (0, 1))
    assert one.keys() == two.keys()
    for name in ("ordinary clouds", "each point four times", "two specks"):
        assert not np.array_equal(one[name], two[name])
