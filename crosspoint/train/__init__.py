"""Pretraining and fine-tuning."""

from typing import TYPE_CHECKING

from crosspoint.core.lazy import lazy

if TYPE_CHECKING:
    from crosspoint.train.pretrain.pretrain import train as train
    from crosspoint.train.pretrain.recipes import Recipe as Recipe
    from crosspoint.train.pretrain.recipes import make_recipe as make_recipe

__all__ = ["Recipe", "make_recipe", "train"]

_functions = {
    "Recipe": "crosspoint.train.pretrain.recipes",
    "make_recipe": "crosspoint.train.pretrain.recipes",
    "train": "crosspoint.train.pretrain.pretrain",
}
__getattr__ = lazy(__name__, _functions, torch=frozenset({"train"}))
