"""The losses equal a literal, loop-written reading of equations 1 to 6 in float64."""

import math

import pytest
import torch

from crosspoint.models.crosspoint import Projections
from crosspoint.train.pretrain.losses import crosspoint_loss, nt_xent


def literal_l(i, one, two, temperature):
    """Equation 1, for sample i of view `one` (lists of lists of float)."""

    def s(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))

    count = len(one)
    own = sum(math.exp(s(one[i], one[k]) / temperature) for k in range(count) if k != i)
    other = sum(math.exp(s(one[i], two[k]) / temperature) for k in range(count))
    return -math.log(math.exp(s(one[i], two[i]) / temperature) / (own + other))


def literal_loss(one, two, temperature):
    """Equation 2."""
    one, two, count = one.tolist(), two.tolist(), len(one)
    terms = (literal_l(i, one, two, temperature) + literal_l(i, two, one, temperature) for i in range(count))
    return sum(terms) / (2 * count)


def projections(count, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Projections(*torch.randn(3, count, dim, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("count", [2, 3, 7, 20])
@pytest.mark.parametrize("dim", [1, 5, 256])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_nt_xent_is_equation_2(count, dim, temperature):
    one, two, _ = projections(count, dim)
    assert nt_xent(one, two, temperature=temperature).item() == pytest.approx(
        literal_loss(one, two, temperature), abs=1e-10
    )
    single = nt_xent(one.float(), two.float(), temperature=temperature).item()
    assert single == pytest.approx(literal_loss(one, two, temperature), rel=1e-5, abs=1e-6)


def test_joint_loss_is_equation_6_with_the_mean_before_normalisation():
    views = projections(6, 16)
    losses = crosspoint_loss(views, 0.1, objective="joint")
    prototype = (views.first + views.second) / 2
    assert losses.imid.item() == pytest.approx(literal_loss(views.first, views.second, 0.1), abs=1e-10)
    assert losses.cmid.item() == pytest.approx(literal_loss(prototype, views.image, 0.1), abs=1e-10)
    assert losses.total.item() == pytest.approx(losses.imid.item() + losses.cmid.item(), abs=1e-12)


def test_objectives_leave_the_other_term_out():
    views = projections(6, 16)
    joint = crosspoint_loss(views, 0.1, objective="joint")
    imid = crosspoint_loss(views._replace(image=None), 0.1, objective="imid")
    cmid = crosspoint_loss(views, 0.1, objective="cmid")
    assert imid.cmid is None
    assert imid.total == joint.imid
    assert cmid.imid is None
    assert cmid.total == joint.cmid


def test_closed_form_of_identical_views():
    """Orthogonal samples, both views equal: −log(e^{1/τ} / (e^{1/τ} + 2(N − 1)))."""
    one = torch.eye(5, dtype=torch.float64) * 3
    expected = -math.log(math.exp(10) / (math.exp(10) + 8))
    assert nt_xent(one, one * 0.5, temperature=0.1).item() == pytest.approx(expected, abs=1e-12)


def test_gradient():
    one, two, _ = projections(4, 3)
    assert torch.autograd.gradcheck(
        lambda a, b: nt_xent(a, b, temperature=0.5), (one.requires_grad_(), two.requires_grad_())
    )


def test_half_precision_projections_lose_nothing_in_the_loss():
    one, two, _ = projections(16, 64)
    low = one.bfloat16(), two.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(*low, temperature=0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(literal_loss(low[0].double(), low[1].double(), 0.1), rel=1e-5)
