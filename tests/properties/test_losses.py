"""The losses do not depend on the order of a batch or on the lengths of its vectors."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from crosspoint.models.crosspoint import Projections
from crosspoint.train.engine.metrics import embedding_health
from crosspoint.train.pretrain.losses import crosspoint_loss, nt_xent
from crosspoint.train.pretrain.recipes import CHOICES

TEMPERATURES = st.sampled_from([0.05, 0.1, 0.5, 1.0])


@st.composite
def projections(draw):
    """Two views and images `(N, D)`, N at least 2, some samples equal to others."""
    count, dim = draw(st.integers(2, 12)), draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = rng.integers(0, count, count) if draw(st.booleans()) else np.arange(count)
    return Projections(*(torch.tensor(rng.standard_normal((count, dim))[rows]) for _ in range(3)))


def literal(one, two, temperature):
    """Equations 1 and 2, a sample at a time."""
    one, two = (x / x.norm(dim=1, keepdim=True) for x in (one, two))
    terms = []
    for a, b in ((one, two), (two, one)):
        for i in range(len(a)):
            others = [a[i] @ a[k] for k in range(len(a)) if k != i] + [a[i] @ b[k] for k in range(len(a))]
            terms.append(torch.logsumexp(torch.stack(others) / temperature, 0) - a[i] @ b[i] / temperature)
    return torch.stack(terms).mean()


@given(projections(), TEMPERATURES)
def test_the_loss_and_its_gradients_are_those_of_the_equations(views, temperature):
    ours, theirs = ([view.clone().requires_grad_() for view in views[:2]] for _ in range(2))
    loss, expected = nt_xent(*ours, temperature=temperature), literal(*theirs, temperature)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-10)
    loss.backward()
    expected.backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-8, atol=1e-9)


@given(projections(), TEMPERATURES, st.sampled_from(CHOICES["objective"]), st.randoms(use_true_random=False))
def test_the_order_of_a_batch_does_not_matter(views, temperature, objective, random):
    order = random.sample(range(len(views.first)), len(views.first))
    loss = crosspoint_loss(views, temperature, objective=objective)
    moved = crosspoint_loss(Projections(*(view[order] for view in views)), temperature, objective=objective)
    for name in ("total", "imid", "cmid"):
        assert (getattr(loss, name) is None) == (getattr(moved, name) is None)
        if getattr(loss, name) is not None:
            torch.testing.assert_close(getattr(moved, name), getattr(loss, name), rtol=1e-10, atol=1e-10)


@given(projections(), TEMPERATURES, st.integers(0, 2**32))
def test_only_the_directions_of_the_vectors_matter(views, temperature, seed):
    lengths = torch.tensor(np.random.default_rng(seed).uniform(0.01, 100, (2, len(views.first), 1)))
    loss = nt_xent(views.first, views.second, temperature=temperature)
    torch.testing.assert_close(
        nt_xent(views.first * lengths[0], views.second * lengths[1], temperature=temperature),
        loss,
        rtol=1e-9,
        atol=1e-9,
    )


@given(projections(), TEMPERATURES)
def test_which_view_is_the_first_does_not_matter(views, temperature):
    there, back = (
        nt_xent(*pair, temperature=temperature) for pair in ((views.first, views.second), (views.second, views.first))
    )
    torch.testing.assert_close(there, back, rtol=1e-10, atol=1e-10)


@given(projections(), st.randoms(use_true_random=False))
def test_the_health_of_an_embedding_does_not_depend_on_the_order_of_a_batch(views, random):
    order = random.sample(range(len(views.first)), len(views.first))
    found = embedding_health(views.first, views.second)
    moved = embedding_health(views.first[order], views.second[order])
    np.testing.assert_allclose([*moved.values()], [*found.values()], rtol=1e-5, atol=1e-6)
