"""The tiles at the top: what was measured, and what was not."""

import pytest
from markupsafe import Markup
from report_pieces import bench_row, manifest, pieces, segmented, some, svm

from crosspoint.eval.partseg import PartSegResult
from crosspoint.eval.svm import SvmResult
from crosspoint.parity.parity import ParityResult
from crosspoint.report.records import QuickstartSummary
from crosspoint.report.sections import (
    headline,
)
from crosspoint.runtime.bench.bench import BenchResult


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
