"""Which objects a step takes, and what is drawn of them."""

import numpy as np
import pytest
from object_pairs import MadeObjects

from crosspoint.train.pretrain.pairs import Pairs, StepSampler
from crosspoint.train.pretrain.recipes import make_recipe


def steps(seed, **options):
    recipe = make_recipe("quick", (f"seed={seed}", "batch=4", "epochs=3"))
    return list(StepSampler(14, recipe, **options))


def test_the_seed_of_the_recipe_orders_the_objects():
    assert steps(5) == steps(5)
    assert steps(5) != steps(6)


def test_an_epoch_takes_each_object_once_and_another_order_than_the_one_before():
    items = steps(5)
    orders = [[i for step in items[3 * e : 3 * e + 3] for _, i in step] for e in range(3)]
    assert all(len(set(order)) == 12 for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert [{epoch for epoch, _ in step} for step in items] == [{0}] * 3 + [{1}] * 3 + [{2}] * 3


@pytest.mark.parametrize("start", [1, 3, 5, 8])
def test_a_run_that_goes_on_takes_the_steps_that_are_left(start):
    assert steps(5, start=start) == steps(5)[start:]


def test_the_permutation_is_that_of_seed_and_epoch():
    expected = np.random.default_rng((5, 1)).permutation(14)[:4].tolist()
    assert [i for _, i in steps(5)[3]] == expected


@pytest.mark.parametrize(("points", "copies"), [(12, 1), (10, 1), (24, 2), (16, 2)])
def test_a_view_is_cut_from_twice_its_points_or_from_copies_of_all_there_are(points, copies):
    recipe = make_recipe("quick", (f"points={points}", "k=4", "single_view=true", "objective=imid"))
    drawn, _, _, _ = Pairs(MadeObjects(8), recipe)[(0, 3)]
    assert drawn.shape == (2 * points, 3)
    counts = drawn.unique(dim=0, return_counts=True)[1]
    assert counts.max() == copies
    assert len(counts) == min(2 * points, 24)
    assert len(drawn[:points].unique(dim=0)) == points


@pytest.mark.parametrize("objective", ["imid", "distil"])
def test_images_are_not_read_where_no_objective_needs_them(objective):
    source = MadeObjects(8)
    source.image = None
    recipe = make_recipe("quick", ("points=24", "k=4", f"objective={objective}"))
    assert Pairs(source, recipe)[(0, 3)][1].numel() == 0
