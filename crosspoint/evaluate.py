"""The paper's evaluation protocols as functions, e.g. `crosspoint.evaluate.svm(model, data)`; imported on first use."""

from typing import TYPE_CHECKING

from crosspoint.core.lazy import lazy

if TYPE_CHECKING:
    from crosspoint.eval.classify import classify as classify
    from crosspoint.eval.fewshot import fewshot as fewshot
    from crosspoint.eval.image.fewshot import image_fewshot as image_fewshot
    from crosspoint.eval.partseg import partseg as partseg
    from crosspoint.eval.robustness import robustness as robustness
    from crosspoint.eval.svm import svm as svm

__all__ = ["classify", "fewshot", "image_fewshot", "partseg", "robustness", "svm"]

_functions = {
    "classify": "crosspoint.eval.classify",
    "fewshot": "crosspoint.eval.fewshot",
    "image_fewshot": "crosspoint.eval.image.fewshot",
    "partseg": "crosspoint.eval.partseg",
    "robustness": "crosspoint.eval.robustness",
    "svm": "crosspoint.eval.svm",
}
__getattr__ = lazy(__name__, _functions)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
