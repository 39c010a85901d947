"""Few-shot accuracies beside those of the paper's tasks."""

import pytest
from report_pieces import pieces, some, svm

from crosspoint.eval.fewshot import FewShotResult
from crosspoint.report.sections import (
    few_shot,
)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, (92.5, 94.9, 83.6, 87.9)),
        ({"architecture": "pointnet"}, (90.9, 93.5, 84.6, 90.2)),
        ({"form": "scanobjectnn", "sizes": (2304, 576)}, (74.8, 79.0, 62.9, 73.9)),
        ({"sizes": (9841, 2468)}, None),
        ({"queries_from": "test split"}, None),
    ],
)
def test_few_shot_tasks_stand_beside_the_papers(case, expected, shown):
    source = case.pop("queries_from", "training split")
    model = svm(0.5, **case)
    other = some(difference=0.01)
    settings = [(5, 10), (5, 20), (10, 10), (10, 20), (5, 5)]
    tasks = [some(ways=w, shots=s, queries_from=source, against=other if s == 20 else None) for w, s in settings]
    result = some(schema=FewShotResult.schema, data=model.data, model=model.model, tasks=tasks)
    few_shot.few_shot(pieces(holds={FewShotResult: [("fewshot.json", result)]}))
    context = shown[0][1]
    found = [None if number is None else number.value for number in context.papers]
    assert found == [*(expected or [None] * 4), None]
    assert context.known == (expected is not None)
    assert context.compared == [(f"5-way 20-shot, {source}", other), (f"10-way 20-shot, {source}", other)]
