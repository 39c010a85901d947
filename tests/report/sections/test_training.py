"""Charts of the metrics that a run recorded."""

import pytest
from report_pieces import pieces

from crosspoint.report.records import RunConfig
from crosspoint.report.sections import (
    training,
)


@pytest.mark.parametrize("terms", [("imid",), ("first", "second")])
def test_a_run_without_some_terms_has_a_chart_of_the_others(shown, monkeypatch, terms):
    drawn = []
    monkeypatch.setattr(training, "line_chart", lambda *words, **lines: drawn.append(set(lines["series"])) or words[0])
    rows = [{"step": 1.0 + i, "loss": 2.0, **{f"loss_{term}": 1.0 for term in terms}} for i in range(2)]
    training.training(pieces(metrics=rows, config=RunConfig(device="cpu")))
    assert drawn == [{"loss", *(f"loss_{term}" for term in terms)}]


def test_every_group_of_recorded_metrics_has_its_chart(shown, monkeypatch):
    drawn = []
    monkeypatch.setattr(training, "line_chart", lambda *words, **lines: drawn.append((words, lines)) or words[0])
    rows = [
        {"step": 10.0 * i, "loss": 5.0 - i, "loss_imid": 3.0 - i, "loss_cmid": 2.0, "spread": 0.1 * i} for i in (1, 2)
    ]
    rows.append({"step": 30.0, "loss": 1.0, "loss_imid": 0.5, "probe_accuracy": 0.75})  # its loss_cmid is not recorded
    training.training(pieces(metrics=rows, config=RunConfig(device="cuda:1")))
    assert [words[0] for words, _ in drawn] == ["Loss", "Spread", "Linear probe"]
    loss, spread, probe = (lines for _, lines in drawn)
    assert {name: values.tolist() for name, values in loss["series"].items()} == {
        "loss": [4.0, 3.0],
        "loss_imid": [2.0, 1.0],
        "loss_cmid": [2.0, 2.0],
    }
    assert loss["step"].tolist() == spread["step"].tolist() == [10.0, 20.0]
    assert spread["series"]["spread"].tolist() == [0.1, 0.2]
    assert (probe["step"].tolist(), probe["series"]["probe_accuracy"].tolist()) == ([30.0], [0.75])
    context = shown[0][1]
    assert (context.steps, context.device, context.charts) == (30.0, "cuda:1", ["Loss", "Spread", "Linear probe"])
