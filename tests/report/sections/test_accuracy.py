"""Accuracies of linear SVMs: their order, their names, and the paper's beside its own data."""

from pathlib import Path

import pytest
from PIL import Image
from report_pieces import pieces, svm

from crosspoint.eval.svm import SvmResult
from crosspoint.report.sections import (
    accuracy,
)


def test_accuracies_stand_in_the_order_trained_untrained_others(shown, tmp_path):
    results = [
        ("svm-another.json", svm(0.5, chair=(3, 0.1))),
        ("svm-engine.json", svm(0.6, backend="onnxruntime", chair=(3, 0.2))),
        ("svm-untrained.json", svm(0.7, table=(4, 0.3))),
        ("svm-trained.json", svm(0.8, chair=(3, 0.4), table=(4, 0.5))),
    ]
    (tmp_path / "trained").mkdir()
    Image.new("RGB", (30, 20), "red").save(tmp_path / "trained" / "confusion.png")
    found = pieces(holds={SvmResult: [(tmp_path / name, result) for name, result in results]})
    accuracy.accuracy(found)
    ((template, context),) = shown
    assert template == "accuracy"
    assert [title for title, _ in context.results] == ["trained", "untrained", "another", "exported"]
    assert [result.clean.accuracy for _, result in context.results] == [0.8, 0.7, 0.5, 0.6]
    assert context.classes == [("chair", 3, [0.4, None, 0.1, 0.2]), ("table", 4, [0.5, 0.3, None, None])]
    assert context.confused == "trained"
    assert context.confusion.startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("backend", "title"), [("tensorrt", "engine"), ("tensorrt-rtx", "engine"), ("pytorch", "exported")]
)
def test_a_model_is_called_an_engine_only_if_an_engine_ran(backend, title, shown):
    accuracy.accuracy(pieces(holds={SvmResult: [("svm-engine.json", svm(0.5, backend=backend))]}))
    assert [name for name, _ in shown[0][1].results] == [title]
    assert shown[0][1].confusion is None


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, 0.912),
        ({"architecture": "pointnet"}, 0.891),
        ({"form": "scanobjectnn", "sizes": (2309, 581)}, 0.817),
        ({"sizes": (9840, 2467)}, None),
        ({"sizes": (2468, 9840)}, None),
        ({"points": 1023}, None),
        ({"points": 2048}, None),
        ({"architecture": "unknown"}, None),
        ({"form": "toys"}, None),
    ],
)
def test_the_papers_accuracy_stands_beside_its_own_architecture_and_sizes(case, expected, shown):
    accuracy.accuracy(pieces(holds={SvmResult: [("svm-a.json", svm(0.5, **case))]}))
    assert shown[0][1].papers == [expected if expected is None else pytest.approx(expected, rel=1e-12)]


def test_the_trained_run_comes_before_the_bundle_in_a_command():
    found = pieces(run=Path("my run"), bundle=Path("bundle"))
    assert accuracy.accuracy(found).command.startswith("crosspoint eval svm 'my run' --data DATA")
    assert accuracy.accuracy(pieces()).command.startswith("crosspoint eval svm MODEL --data DATA")
