"""What each section of the page shows, against numbers that were worked out by hand."""

import hashlib
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from crosspoint.data.sets.datasets import ClassificationSet, Clouds
from crosspoint.eval.curve import CurveModel, SeverityAccuracy, SeverityCurve
from crosspoint.eval.fewshot import FewShotResult
from crosspoint.eval.image.fewshot import ImageFewShotResult
from crosspoint.eval.paper import published
from crosspoint.eval.paper.results import ReproduceResult
from crosspoint.eval.partseg import PartSegResult
from crosspoint.eval.robustness import RobustnessResult
from crosspoint.eval.svm import SvmResult
from crosspoint.parity.parity import ParityResult
from crosspoint.report.embedded import Embedded
from crosspoint.report.missing import Missing
from crosspoint.report.read import Found, Pieces
from crosspoint.report.records import QuickstartStep, QuickstartSummary, RunConfig
from crosspoint.report.sections import (
    accuracy,
    embedding_map,
    engine,
    few_shot,
    headline,
    image_few_shot,
    parity,
    part_segmentation,
    provenance,
    reproduction,
    robustness,
    speed,
    steps,
    training,
)
from crosspoint.runtime.bench.bench import BenchResult


class Holding(Pieces):
    """Pieces whose results are given."""

    holds: ClassVar[dict] = {}

    def of(self, kind):
        return self.holds.get(kind, [])


def pieces(*, holds=None, **values):
    made = Holding(Path("/reports/run"), **values)
    made.holds = {
        kind: [Found(Path(place), result) for place, result in found] for kind, found in (holds or {}).items()
    }
    return made


def some(**values):
    return SimpleNamespace(**values)


@pytest.fixture
def shown(monkeypatch):
    """What each template was given, in order; `render` of all sections only keeps it."""
    kept = []

    def keep(template, **values):
        kept.append((template, some(**values)))
        return Markup(f"<{template}>")

    for module in (accuracy, embedding_map, engine, few_shot, headline, image_few_shot, parity):
        monkeypatch.setattr(module, "render", keep)
    for module in (part_segmentation, provenance, reproduction, robustness, speed, steps, training):
        monkeypatch.setattr(module, "render", keep)
    return kept


def svm(
    clean, *, backend="pytorch", architecture="dgcnn", form="modelnet40", sizes=(9840, 2468), points=1024, **classes
):
    return some(
        schema=SvmResult.schema,
        clean=some(accuracy=clean, interval=(clean - 0.01, clean + 0.02)),
        model=some(backend=backend, architecture=architecture),
        data=some(path="data", format=form, train=sizes[0], test=sizes[1], points=points),
        per_class=[some(name=name, objects=count, clean=own) for name, (count, own) in classes.items()],
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


def test_without_a_bundle_there_is_no_speed_to_miss():
    assert speed.speed(pieces()) == Markup()


def test_the_trained_run_comes_before_the_bundle_in_a_command():
    found = pieces(run=Path("my run"), bundle=Path("bundle"))
    assert accuracy.accuracy(found).command.startswith("crosspoint eval svm 'my run' --data DATA")
    assert accuracy.accuracy(pieces()).command.startswith("crosspoint eval svm MODEL --data DATA")


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


def bench_row(p50, rate, points=1024, floor=None, engine="ONNX Runtime"):
    made = {"architecture": "dgcnn", "precision": "fp32", "engine": engine, "device": "cpu"}
    return some(**made, p50_ms=p50, clouds_per_second=rate, points=points, floor=floor)


def test_speed_is_drawn_relative_to_the_slowest_time_and_the_highest_rate(shown):
    floor = some(operations=2.5e9, bytes=4e6)
    rows = [bench_row(5.0, 800.0, 2048), bench_row(20.0, 90.0, 512, floor), bench_row(8.0, 300.0, 512, floor)]
    result = some(schema=BenchResult.schema, rows=rows, not_run=[some(backend="tensorrt-rtx")])
    speed.speed(pieces(holds={BenchResult: [("bench.json", result)]}))
    context = shown[0][1]
    assert (context.slowest, context.fastest, context.points) == (20.0, 800.0, "512, 2048")
    assert context.floors == [("dgcnn", 512, "fp32", 2.5, 4.0)]
    assert context.not_run == [(result.not_run[0], "TensorRT-RTX")]


@pytest.mark.parametrize(("seconds", "longest"), [((3.0, 7.5, 0.5), 7.5), ((0.0, 0.02), 0.1), ((0.03,), 0.1)])
def test_times_of_steps_are_drawn_relative_to_the_longest(seconds, longest, shown):
    own = tuple(QuickstartStep(f"step {i}", each, "done") for i, each in enumerate(seconds))
    steps.steps(pieces(holds={QuickstartSummary: [("quickstart.json", QuickstartSummary(steps=own))]}))
    assert (shown[0][1].longest, shown[0][1].total) == (longest, pytest.approx(sum(seconds)))
    assert shown[0][1].steps == own


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


def segmented(*, test=2874, categories=16, parts=50, std=0.0125):
    return some(
        schema=PartSegResult.schema,
        data=some(test=test, categories=categories, parts=parts),
        official=some(scores="official scores", interval=(0.1, 0.2)),
        clean=some(
            instance_miou=0.7,
            class_miou=0.6,
            interval=(0.65, 0.75),
            summary=some(std=std),
            runs=[some(point_accuracy=right) for right in (0.5, 0.75, 1.0)],
        ),
    )


@pytest.mark.parametrize(
    ("sizes", "own"), [({}, True), ({"test": 2873}, False), ({"parts": 49}, False), ({"categories": 15}, False)]
)
def test_miou_has_its_rules_and_for_the_published_sizes_the_papers(sizes, own, shown):
    part_segmentation.part_segmentation(pieces(holds={PartSegResult: [("partseg.json", segmented(**sizes))]}))
    context = shown[0][1]
    official, clean = context.rules
    assert official == ("official", "official scores", (0.1, 0.2), "")
    assert clean[0] == "clean"
    assert (clean[1].instance_miou, clean[1].class_miou, clean[1].point_accuracy) == (0.7, 0.6, 0.75)
    assert clean[2:] == ((0.65, 0.75), "± 1.2 over 3 choices of points")
    assert context.paper == (published.PARTS if own else None)


def test_one_choice_of_points_has_no_deviation(shown):
    part_segmentation.part_segmentation(pieces(holds={PartSegResult: [("partseg.json", segmented(std=None))]}))
    assert shown[0][1].rules[1][3] == ""


@pytest.mark.parametrize("alone", [True, False])
def test_pictures_beside_a_result_are_its_own_only_if_it_is_alone(alone, tmp_path, shown):
    for name in ("partseg.png", "partseg_worst.png"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    (tmp_path / "partseg-b").mkdir()
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "partseg-b" / "partseg.png")
    results = [(tmp_path / "partseg-a.json", segmented()), (tmp_path / "partseg-b.json", segmented())]
    part_segmentation.part_segmentation(pieces(holds={PartSegResult: results[: 1 if alone else 2]}))
    kept = [[caption for caption, _ in context.pictures] for template, context in shown if template != "named"]
    both = list(part_segmentation.PICTURES.values())
    assert kept == ([both] if alone else [[], both[:1]])


@pytest.mark.parametrize("segments", [True, False])
def test_only_a_segmenter_lacks_its_miou(segments, tmp_path, shown):
    (tmp_path / "encoder.safetensors").touch()
    if segments:
        (tmp_path / "segmenter.safetensors").touch()
    built = part_segmentation.part_segmentation(pieces(run=tmp_path))
    assert isinstance(built, Missing) == segments
    if segments:
        assert built.command.endswith("--data DATA --json /reports/run/results/partseg.json")


def test_of_equal_reproductions_the_one_with_its_picture_is_kept(tmp_path, shown):
    for name in ("kept/figure4", "table5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{name}.png")
    made = {target: some(schema=ReproduceResult.schema, target=target) for target in ("figure4", "table5", "table1")}
    places = [("figure4", "a/figure4"), ("figure4", "kept/figure4"), ("table5", "table5"), ("table1", "table1")]
    found = [(tmp_path / f"{place}.json", made[target]) for target, place in places]
    reproduction.reproduction(pieces(holds={ReproduceResult: found}))
    results = shown[0][1].results
    assert [result.target for result, _ in results] == ["table1", "table5", "figure4"]
    assert [drawn is None for _, drawn in results] == [True, True, False]
    assert reproduction.reproduction(pieces()) == Markup()


@pytest.mark.parametrize(
    ("measured", "passed", "expected"), [(2e-5, True, 5.0), (2e-5, False, None), (0.0, True, None), (None, True, None)]
)
def test_parity_says_how_far_below_its_limit_the_error_is(measured, passed, expected, shown):
    rows = [some(near_ties=some()), some(near_ties=some())]
    result = some(schema=ParityResult.schema, numeric=rows, gate=some(limit=1e-4, measured=measured, passed=passed))
    parity.parity(pieces(holds={ParityResult: [("parity.json", result)]}))
    context = shown[0][1]
    assert context.below == (expected if expected is None else pytest.approx(expected))
    assert context.ties


def test_near_ties_have_columns_only_if_every_row_has_them(shown):
    rows = [some(near_ties=some()), some(near_ties=None)]
    result = some(schema=ParityResult.schema, numeric=rows, gate=some(limit=1e-4, measured=1e-5, passed=True))
    gate = some(candidate="engine")
    built = parity.parity(pieces(holds={ParityResult: [("parity.json", result)]}, manifest=some(parity=gate)))
    assert not shown[0][1].ties
    assert shown[1] == ("export_gate", some(gate=gate))
    assert built == "<parity><export_gate>"
    assert parity.parity(pieces(manifest=some(parity=gate))) == "<export_gate>"


def manifest(**values):
    usual = {"engine": None, "parity": None, "versions": {}}
    profile = some(batch=(1, 8, 32), points=(512, 512, 512))
    return some(**{**usual, "profile": profile, "inputs": {"points": ("B", 512, 3)}, "outputs": {"y": (2,)}, **values})


def test_the_shapes_and_ranges_of_a_bundle_are_as_its_manifest_says(shown):
    engine.engine(pieces(manifest=manifest()))
    context = shown[0][1]
    assert (context.batch, context.points) == ("1 to 32, usually 8", "512")
    assert context.shapes == {"inputs": "points: B × 512 × 3", "outputs": "y: 2"}
    engine.engine(pieces(manifest=manifest(profile=some(batch=(4, 4, 4), points=None))))
    assert (shown[1][1].batch, shown[1][1].points) == ("4", "fixed")


def cards(*found):
    return [(card.value, card.kind) for card in found]


def test_the_headline_is_what_was_measured(shown):
    results = {
        SvmResult: [("svm-untrained.json", svm(0.7)), ("svm-trained.json", svm(0.8))],
        ParityResult: [("parity.json", some(passed=True)), ("parity-b.json", some(passed=False))],
        PartSegResult: [("partseg.json", segmented())],
        BenchResult: [
            ("b.json", some(rows=[bench_row(1.0, 900.4), bench_row(2.0, 1234.5, engine="best"), bench_row(3.0, 5.0)]))
        ],
    }
    result = some(status="built and executed", executed=True)
    rows = [{"step": 5.0}]
    headline.headline(pieces(holds=results, metrics=rows, manifest=manifest(engine=result)))
    context = shown[0][1]
    assert cards(*context.cards) == [
        ("80.0%", ""),
        ("70.0%", ""),
        ("+10.0", ""),
        ("passed", "good"),
        ("70.0%", ""),
        ("1,234", ""),
        ("built and executed", "good"),
    ]
    assert context.cards[0].what.endswith("(2468 objects; 95 % interval 79.0 … 82.0 %)")
    assert "of 2874 test objects (95 % interval 65.0 … 75.0 %)" in context.cards[4].what
    assert context.cards[5].what == "clouds a second: best on cpu, fp32, 1024 points"
    assert context.measured == context.cards[:-1]
    assert context.ruled


def test_a_failed_parity_is_bad_news(shown):
    headline.headline(pieces(holds={ParityResult: [("parity.json", some(passed=False))]}))
    assert cards(*shown[0][1].cards) == [("not passed", "bad")]
    assert not shown[0][1].ruled


@pytest.mark.parametrize(("executed", "kind"), [(True, "good"), (False, "warn")])
def test_an_engine_that_did_not_run_is_a_warning(executed, kind, shown):
    gate = some(candidate="engine", relative_l2_max=2.5e-6)
    made = manifest(engine=some(status="the status", executed=executed), parity=gate)
    headline.headline(pieces(manifest=made))
    assert cards(*shown[0][1].cards) == [("passed", "good"), ("the status", kind)]
    assert shown[0][1].cards[0].what == "the export's parity gate, engine: largest relative L2 error 2.5e-06"
    assert shown[0][1].measured == []


def test_a_bundle_without_an_engine_says_so(shown):
    rows = [{"step": 1.0, "probe_accuracy": 0.25}, {"step": 1500.0, "probe_accuracy": 0.625}, {"step": 2000.0}]
    headline.headline(pieces(metrics=rows, manifest=manifest()))
    assert cards(*shown[0][1].cards) == [("2,000", ""), ("62.5%", ""), ("none", "warn")]
    assert shown[0][1].cards[1].what.endswith("(the first: 25.0%)")
    assert headline.headline(pieces()) == Markup()


def test_accuracies_of_the_summary_stand_in_for_results(shown):
    own = QuickstartSummary(accuracy={"untrained": {"clean": 0.5}, "trained": {"clean": 0.4, "official": 0.9}})
    headline.headline(pieces(holds={QuickstartSummary: [("quickstart.json", own)]}))
    assert cards(*shown[0][1].cards) == [("40.0%", ""), ("50.0%", ""), ("−10.0", "")]
    assert "interval" not in shown[0][1].cards[0].what


def test_without_a_trained_encoder_the_first_result_is_the_headline(shown):
    headline.headline(pieces(holds={SvmResult: [("svm-b.json", svm(0.5)), ("svm-untrained.json", svm(0.75))]}))
    assert cards(*shown[0][1].cards) == [("50.0%", "")]


def embedded(count, names=None):
    vectors = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)
    return Embedded(Path("/reports/run/e.npz"), 2 * count, vectors, names, "abc")


def test_the_map_shows_classes_and_clouds_of_the_data(shown, monkeypatch):
    rng = np.random.default_rng(1)
    clouds = rng.standard_normal((4, 200, 3)).astype(np.float32) + 5
    data = ClassificationSet(
        "modelnet40",
        ("night_stand", "bed"),
        Clouds(-clouds, np.array([1, 0, 0, 1])),
        Clouds(clouds, np.array([0, 1, 1, 0])),
    )
    names = [f"test/{i:06}" for i in (2, 0, 1, 3)]
    made, drawn = embedded(6, [*names, "test/000000", "test/000001"]), []
    monkeypatch.setattr(embedding_map, "tsne", lambda values: values[:, :2])
    monkeypatch.setattr(embedding_map, "scatter", lambda *given, clouds: drawn.append((*given, clouds)) or "map")
    embedding_map.embedding_map(pieces(embeddings=made, data=data))
    context = shown[0][1]
    assert (context.source, context.count, context.total) == ("e.npz", 6, 12)
    assert (context.named, context.classes, context.peeks, context.scatter) == (True, True, True, "map")
    places, classes, peeks = drawn[0]
    np.testing.assert_array_equal(places, made.values[:, :2])
    assert classes == ["bed", "night stand", "bed", "night stand", "night stand", "bed"]
    centred = clouds[2].astype(np.float64) - clouds[2].mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1).max()
    assert peeks[0].shape == (96, 3)
    np.testing.assert_allclose(peeks[0][[0, -1]], expected[[0, -1]], atol=1e-5)


def test_a_map_shows_the_clouds_that_there_are(shown, monkeypatch):
    drawn = []
    clouds = np.random.default_rng(1).standard_normal((2, 100, 3)).astype(np.float32)
    data = ClassificationSet("modelnet40", ("bed", "chair"), Clouds(clouds, np.array([0, 1])), None)
    monkeypatch.setattr(embedding_map, "tsne", lambda values: values[:, :2])
    monkeypatch.setattr(embedding_map, "scatter", lambda *given, clouds: drawn.append((*given, clouds)) or "map")
    names = ["train/000000", "train/000001", "train/000002", "test/000000", "train/000000"]  # two are not in the data
    embedding_map.embedding_map(pieces(embeddings=embedded(5, names), data=data))
    context = shown[0][1]
    assert (context.named, context.classes, context.peeks) == (True, False, True)
    assert drawn[0][1] == [""] * 5
    assert [cloud is not None for cloud in drawn[0][2]] == [True, True, False, False, True]


def test_a_map_without_names_has_neither_classes_nor_clouds(shown, monkeypatch):
    drawn = []
    monkeypatch.setattr(embedding_map, "tsne", lambda values: values[:, :2])
    monkeypatch.setattr(embedding_map, "scatter", lambda *given, clouds: drawn.append((*given, clouds)) or "map")
    embedding_map.embedding_map(pieces(embeddings=embedded(5)))
    context = shown[0][1]
    assert (context.named, context.classes, context.peeks) == (False, False, False)
    assert drawn[0][1:] == ([""] * 5, [None] * 5)


def test_fewer_than_five_embeddings_make_no_map():
    assert isinstance(embedding_map.embedding_map(pieces(embeddings=embedded(4))), Missing)


def test_two_groups_of_embeddings_stay_apart_on_the_map():
    rng = np.random.default_rng(0)
    near = rng.standard_normal((2, 12, 64)) + np.array([0, 40])[:, None, None]
    placed = embedding_map.tsne(near.reshape(24, 64).astype(np.float32))
    assert placed.dtype == np.float64
    a, b = placed[:12], placed[12:]
    inside = max(np.linalg.norm(group - group.mean(axis=0), axis=1).max() for group in (a, b))
    assert np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)) > 1.2 * inside
    np.testing.assert_array_equal(placed, embedding_map.tsne(near.reshape(24, 64).astype(np.float32)))
    assert np.isfinite(embedding_map.tsne(np.zeros((5, 8), np.float32))).all()


@pytest.mark.parametrize(("count", "width", "components", "perplexity"), [(60, 80, 50, 59 / 3), (200, 8, 8, 30)])
def test_a_map_is_made_of_fifty_components_with_fixed_seeds(count, width, components, perplexity, monkeypatch):
    made = []

    class Method:
        def __init__(self, *given, **options):
            made.append((given, options))

        def fit_transform(self, values):
            made.append((values.shape, values.dtype))
            return values

    monkeypatch.setattr("sklearn.decomposition.PCA", Method)
    monkeypatch.setattr("sklearn.manifold.TSNE", Method)
    embedding_map.tsne(np.zeros((count, width), np.float32))
    options = {"perplexity": perplexity, "init": "random", "random_state": 0, "n_jobs": 1}
    given = ((count, width), np.float64)
    assert made == [((components,), {"random_state": 0}), given, ((), options), given]


def test_equal_embeddings_are_mapped_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(embedding_map.tsne(np.ones((6, 8), np.float32))).all()


def test_the_page_says_which_files_the_hashes_are_of(tmp_path, shown, monkeypatch):
    (tmp_path / "encoder.safetensors").write_bytes(b"weights")
    weights = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(provenance, "load_manifest", lambda path: path)
    monkeypatch.setattr(provenance, "verify_files", lambda _: {"encoder.onnx": "123", "engine.plan": "456"})
    config = RunConfig(recipe={"epochs": 3}, versions={"torch": "1", "numpy": "2"})
    made = Embedded(Path("e.npz"), 5, np.zeros((5, 8), np.float32), None, "456")
    found = pieces(
        run=tmp_path, bundle=Path("bundle"), config=config, embeddings=made, manifest=manifest(versions={"torch": "3"})
    )
    provenance.provenance(found)
    context = shown[0][1]
    assert (context.versions, context.recipe) == ({"torch": "3", "numpy": "2"}, {"epochs": 3})
    assert [(one.name, one.sha256, one.remark, one.kind) for one in context.hashes] == [
        ("encoder.safetensors", weights, "", ""),
        ("encoder.onnx", "123", "as exported", "good"),
        ("engine.plan", "456", "as exported", "good"),
        ("e.npz", "456", "the model of the embeddings: engine.plan", ""),
    ]


def test_embeddings_of_a_model_from_elsewhere_say_so(shown):
    made = Embedded(Path("e.npz"), 5, np.zeros((5, 8), np.float32), None, "789")
    provenance.provenance(pieces(embeddings=made))
    (one,) = shown[0][1].hashes
    assert (one.sha256, one.remark) == ("789", "the model of the embeddings, not in this folder")
