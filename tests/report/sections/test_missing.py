"""What a section lacks is named with the command that makes it."""

from pathlib import Path

import pytest
from report_pieces import pieces

from crosspoint.report.missing import Missing
from crosspoint.report.sections import (
    accuracy,
    embedding_map,
    engine,
    few_shot,
    parity,
    provenance,
    speed,
    steps,
    training,
)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (accuracy.accuracy, "eval svm bundle --data shapes --json /reports/run/results/svm-trained.json"),
        (few_shot.few_shot, "eval fewshot bundle --data shapes --json /reports/run/results/fewshot.json"),
        (parity.parity, "parity bundle bundle --data shapes --json /reports/run/results/parity.json"),
        (speed.speed, "bench bundle --json /reports/run/results/bench.json"),
        (embedding_map.embedding_map, "embed bundle shapes --out /reports/run/embeddings.npz"),
        (engine.engine, "export bundle --trt --out /reports/run/bundle"),
        (training.training, "train --data PAIRS --out /reports/run/run"),
        (provenance.provenance, "train --data PAIRS --out /reports/run/run"),
        (steps.steps, "quickstart --out quickstart"),
    ],
)
def test_what_is_missing_is_named_with_its_command(section, words, monkeypatch):
    monkeypatch.setattr(provenance, "_hashes", lambda _: iter(()))
    missing = section(pieces(bundle=Path("bundle"), data_folder=Path("shapes")))
    assert isinstance(missing, Missing)
    assert missing.command == f"crosspoint {words}"
