import math

import numpy as np
import pytest
import torch

from crosspoint.data.points import normalise
from crosspoint.models import DGCNN
from crosspoint.models.weights import save_model
from crosspoint.parity.numeric import LIMIT, Comparison, compare, relative_l2
from crosspoint.runtime.load import load_encoder


def test_compare_by_hand():
    reference = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]], np.float32)
    candidate = np.array([[3.0, 4.5], [0.0, 1.0], [0.0, 0.0]], np.float32)
    result = compare(reference, candidate)
    assert result["relative_l2_max"] == pytest.approx(math.sqrt(2))
    assert result["relative_l2_median"] == pytest.approx(0.1)
    assert result["cosine_min"] == pytest.approx(0)
    assert compare(reference[:1], candidate[:1])["cosine_min"] == pytest.approx(27 / (5 * math.hypot(3, 4.5)))
    assert compare(reference[2:], candidate[2:])["cosine_min"] == 1


def test_compare_with_a_slow_reference():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((300, 7))
    b = a + 0.1 * rng.standard_normal((300, 7))
    errors = sorted(math.dist(x, y) / math.hypot(*x) for x, y in zip(a.tolist(), b.tolist(), strict=True))
    result = compare(a.astype(np.float32), b.astype(np.float32))
    assert result["relative_l2_max"] == pytest.approx(errors[-1], rel=1e-5)
    assert result["relative_l2_median"] == pytest.approx((errors[149] + errors[150]) / 2, rel=1e-5)
    assert errors[294] <= result["relative_l2_p99"] <= errors[298]


@pytest.fixture
def encoder(tmp_path):
    torch.manual_seed(0)
    save_model(DGCNN(k=4).eval(), tmp_path / "a.safetensors")
    with load_encoder(tmp_path / "a.safetensors") as opened:
        yield opened


@pytest.fixture
def near_tie(encoder):
    """Of many clouds the one whose embedding jumps most when its points move a little, with both embeddings."""
    rng = np.random.default_rng(0)
    clouds = normalise(rng.standard_normal((200, 128, 3)))
    moved = (clouds + 1e-6 * rng.standard_normal(clouds.shape)).astype(np.float32)
    reference, candidate = encoder.embed(clouds), encoder.embed(moved)
    most = relative_l2(reference, candidate).argmax()
    return clouds[most], reference[most], candidate[most]


def test_a_jump_that_the_reference_shares_is_explained(encoder, near_tie):
    comparison = Comparison("near tie", *(array[None] for array in near_tie))
    row = comparison.row(encoder, 0, True)
    assert row["relative_l2_max"] > LIMIT
    assert (row["over_limit"], row["explained"]) == (1, 1)
    assert row["relative_l2_unexplained"] == 0.0


def test_a_fault_is_not_explained(encoder):
    clouds = normalise(np.random.default_rng(1).standard_normal((20, 40, 3)))
    reference = encoder.embed(clouds)
    candidate = reference.copy()
    candidate[3] *= 1.01
    row = Comparison("fault", clouds, reference, candidate).row(encoder, 0, True)
    assert (row["over_limit"], row["explained"]) == (1, 0)
    assert row["relative_l2_unexplained"] == pytest.approx(0.01, rel=1e-3)


def test_errors_of_many_clouds_are_not_explained_even_if_small(encoder, near_tie):
    comparison = Comparison("all", *(np.repeat(array[None], 12, axis=0) for array in near_tie))
    row = comparison.row(encoder, 0, True)
    assert (row["over_limit"], row["explained"]) == (12, 0)
    assert row["relative_l2_unexplained"] == row["relative_l2_max"] > LIMIT
