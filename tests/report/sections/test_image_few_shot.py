"""Few-shot accuracies of pictures beside the paper's."""

import pytest
from report_pieces import pieces, some

from crosspoint.eval.image.fewshot import ImageFewShotResult
from crosspoint.eval.paper import published
from crosspoint.report.sections import (
    image_few_shot,
)


@pytest.mark.parametrize("own", [True, False])
def test_few_shot_tasks_with_pictures_stand_beside_the_papers(own, shown):
    frozen, rfs = some(against=None), some(against=some(difference=0.1))
    rows = [
        some(method="frozen", shots=1, official=frozen, clean=rfs),
        some(method="rfs", shots=5, official=rfs, clean=frozen),
        some(method="rfs", shots=2, official=frozen, clean=frozen),
        some(method="another", shots=5, official=frozen, clean=frozen),
    ]
    made = some(schema=ImageFewShotResult.schema, rows=rows, data=some(published=own), rfs=some(epochs=7))
    image_few_shot.image_few_shot(pieces(holds={ImageFewShotResult: [("images.json", made)]}))
    context = shown[0][1]
    assert context.compared == [
        ("frozen, 1-shot, clean", rfs.against),
        ("rfs, 5-shot, official", rfs.against),
    ]
    assert context.papers == ([published.Number(24.12, 0.48), published.Number(76.79, 0.71), None, None] if own else [])
    assert context.rfs == {"epochs": 7}
