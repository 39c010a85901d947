"""The views of a cloud when an encoder is the teacher of a copy of itself: nothing that use does not bring."""

from typing import NamedTuple

import torch
from torch import Tensor

from crosspoint.core.errors import InputError
from crosspoint.train.pretrain.augment import SampleRng, drop, elastic, jitter, normalise, thin, turn
from crosspoint.train.pretrain.recipes import Recipe
from crosspoint.train.pretrain.single_view import single_view


class Views(NamedTuple):
    """Three clouds of each object, normalised and turned alike."""

    first: Tensor  # (B, n, 3), the cloud with noise; n = N, or fewer with `sparse`
    second: Tensor  # (B, n, 3), what a sensor sees of it with `single_view`, else the cloud again, with noise
    whole: Tensor  # (B, N, 3), the cloud, for the teacher


def views_of(points: Tensor, sides: Tensor | None, *, recipe: Recipe, rng: SampleRng) -> Views:
    """Views of each cloud for the objective `distil`.

    The object is turned about y by U(0, 2π), elastically distorted if the recipe asks for it, and normalised: that is
    what the teacher sees. The student sees it with noise whose standard deviation differs from cloud to cloud, and with
    dropped points. Scaling and translation are left out, since use normalises: a view is centred on what is seen of it.

    With `sparse`, the student sees `N − ⌊u N⌋` points, u from U(0, `sparse`), as many of each cloud of a step; in half
    of the steps copies fill them up to N, as where a program wants a fixed number of points.

    Args:
        points: `(B, M, 3)`: the recipe's number of points N, and more if a view is to be cut from them.
        sides: `(B, N, 3)`, what a sensor saw of each; None: it is cut from `points` with `single_view`.
        recipe: `points`, `single_view`, `elastic`, `dropout` and `sparse`.
        rng: Random generator on the device of `points`.
    """
    x = normalise(points)
    x = elastic(x, rng) if recipe.elastic else x
    if sides is None:
        x = turn(x, rng)
        cloud = x[:, : recipe.points]
        seen = single_view(x, recipe.points, rng=rng) if recipe.single_view else cloud
    else:
        turned = turn(torch.cat([x, normalise(sides)], dim=1), rng)  # (B, 2N, 3), one angle for both
        cloud, seen = turned[:, : x.shape[1]], turned[:, x.shape[1] :]
    whole = normalise(cloud)
    views = [_sensed(x, recipe, rng) for x in (whole, normalise(seen))]
    if recipe.sparse > 0:
        left, copied = recipe.points - int(rng.once() * recipe.sparse * recipe.points), rng.once() < 0.5
        views = [thin(x, left, copied=copied, rng=rng) for x in views]
    first, second = (normalise(x) for x in views)
    return Views(first, second, whole)


def _sensed(x: Tensor, recipe: Recipe, rng: SampleRng) -> Tensor:
    noise = rng.uniform(len(x), 1, 1) * jitter(x, rng)
    return drop(x + noise, recipe.dropout, rng=rng)


def require_teacher(recipe: Recipe) -> None:
    """Refuse the objective `distil` without an encoder to learn from.

    Raises:
        InputError: The objective needs one; the message says how to give it.
    """
    if recipe.objective == "distil":
        raise InputError(
            "the objective distil learns from an encoder; give it, e.g. --init dgcnn, or choose --objective joint"
        )
