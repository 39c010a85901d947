"""A seed that no generator takes is refused by every evaluation before a model or data is opened."""

import pytest

from crosspoint.core.errors import InputError
from crosspoint.eval.fewshot import fewshot
from crosspoint.eval.image.fewshot import ImageTaskOptions, image_fewshot
from crosspoint.eval.robustness import robustness
from crosspoint.eval.svm import svm
from crosspoint.runtime.options import Sampling

CALLS = {
    "svm": lambda place: svm(place, place, sampling=Sampling(seed=-1)),
    "fewshot": lambda place: fewshot(place, place, sampling=Sampling(seed=-1)),
    "robustness": lambda place: robustness([place], place, sampling=Sampling(seed=-1)),
    "image-fewshot": lambda place: image_fewshot(place, place, options=ImageTaskOptions(seed=-1)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_negative_seed_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"seed.*-1|-1.*seed"):
        CALLS[name](tmp_path / "nothing")
