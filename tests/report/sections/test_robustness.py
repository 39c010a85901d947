"""A chart for each corruption, with a line for each model."""

import numpy as np
from report_pieces import pieces, some

from crosspoint.eval.curve import CurveModel, SeverityAccuracy, SeverityCurve
from crosspoint.eval.robustness import RobustnessResult
from crosspoint.report.sections import (
    robustness,
)


def severity(at, share, against=None):
    return SeverityAccuracy(at, share, (share - 0.1, share + 0.05), against)


def test_each_corruption_has_a_chart_with_a_line_for_each_model(shown, monkeypatch):
    drawn = []
    monkeypatch.setattr(robustness, "share_chart", lambda *words, curves: drawn.append((words, curves)) or words[0])
    first, second = CurveModel("runs/a", "pytorch", "fp32"), CurveModel("bundles/b", "tensorrt", "int8")
    against = some(difference=-0.2)
    curves = (
        SeverityCurve(first, "fewer", (severity(1, 0.9), severity(0.25, 0.7))),
        SeverityCurve(second, "fewer", (severity(0.25, 0.6, against), severity(1, 0.8), severity(0.0625, 0.3))),
        SeverityCurve(second, "mist", (severity(2, 0.5),)),
        SeverityCurve(second, "fewer", (severity(1, 0.1),)),  # the reference's own curve once more
        SeverityCurve(first, "noise", ()),
    )
    result = some(schema=RobustnessResult.schema, curves=curves)
    robustness.robustness(pieces(holds={RobustnessResult: [("robustness.json", result)]}))
    context = shown[0][1]
    a, b = "runs/a (PyTorch, fp32)", "bundles/b (TensorRT, int8)"
    assert context.legend == [(a, "s0"), (b, "s1")]
    assert context.compared == [(b, [("fewer 0.25", against)])]
    (fewer, lines), (mist, (lone,)), (_, none) = drawn
    assert fewer == ("Fewer points, share left", ["1", "0.25", "0.0625"])  # mildest first
    assert (mist[0], none) == ("Mist", [])
    assert [line.kind for line in lines] == ["s0", "s1"]
    assert lone.kind == "s1"  # a model keeps its colour
    assert [(line.places.tolist(), line.values.tolist()) for line in lines] == [
        ([0, 1], [0.9, 0.7]),
        ([1, 0, 2], [0.6, 0.8, 0.3]),
    ]
    np.testing.assert_allclose(lines[0].low, [0.8, 0.6])
    np.testing.assert_allclose(lines[0].high, [0.95, 0.75])
    title, models, rows = context.numbers[0]
    assert (title, models) == ("Fewer points, share left", [a, b])
    found = [(at, [None if row is None else row.accuracy for row in own]) for at, own in rows]
    assert found == [(1, [0.9, 0.8]), (0.25, [0.7, 0.6]), (0.0625, [None, 0.3])]


def test_models_whose_paths_end_alike_are_told_apart_by_the_whole_path(shown):
    names = robustness._names([CurveModel(f"{folder}/runs/a", "onnxruntime", "fp16") for folder in ("x", "y")])
    assert list(names.values()) == ["x/runs/a (ONNX Runtime, fp16)", "y/runs/a (ONNX Runtime, fp16)"]
