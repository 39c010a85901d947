import numpy as np
import pytest
import torch

from crosspoint.data.points import normalise
from crosspoint.models import DGCNN
from crosspoint.models.weights import save_model
from crosspoint.parity.clouds import hostile
from crosspoint.parity.measures import relative_l2
from crosspoint.parity.near_ties import explain
from crosspoint.runtime.load import load_encoder

LIMIT = 1e-4


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
    clouds, reference, candidate = (array[None] for array in near_tie)
    assert relative_l2(reference, candidate)[0] > LIMIT
    found = explain(encoder, clouds, expected=reference, output=candidate, limit=LIMIT)
    assert (found.over_limit, found.explained, found.relative_l2_unexplained) == (1, 1, 0.0)


def test_a_fault_is_not_explained(encoder):
    clouds = normalise(np.random.default_rng(1).standard_normal((20, 40, 3)))
    reference = encoder.embed(clouds)
    candidate = reference.copy()
    candidate[3] *= 1.01
    found = explain(encoder, clouds, expected=reference, output=candidate, limit=LIMIT)
    assert (found.over_limit, found.explained) == (1, 0)
    assert found.relative_l2_unexplained == pytest.approx(0.01, rel=1e-3)


def test_errors_of_many_clouds_are_not_explained_even_if_small(encoder, near_tie):
    clouds, reference, candidate = (np.repeat(array[None], 12, axis=0) for array in near_tie)
    found = explain(encoder, clouds, expected=reference, output=candidate, limit=LIMIT)
    assert (found.over_limit, found.explained) == (12, 0)
    assert found.relative_l2_unexplained == relative_l2(reference, candidate).max() > LIMIT


def test_a_small_cloud_is_moved_by_a_millionth_of_its_own_size(encoder):
    """Moves of 1e-6 would be a hundredth of its radius, and excuse any error."""
    cloud = hostile(64)["size 0.0001"][None]
    reference = encoder.infer({"points": cloud}, any_scale=True)
    found = explain(encoder, cloud, expected=reference, output=reference * np.float32(1.01), limit=LIMIT)
    assert (found.over_limit, found.explained) == (1, 0)
