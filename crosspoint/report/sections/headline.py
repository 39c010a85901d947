"""The top of the page: the results in a few large numbers."""

from dataclasses import dataclass

from markupsafe import Markup

from crosspoint.eval.partseg import PartSegResult
from crosspoint.eval.svm import SvmResult
from crosspoint.parity.parity import ParityResult
from crosspoint.report.html import render
from crosspoint.report.read import Pieces
from crosspoint.report.words import percent, points, span
from crosspoint.runtime.bench.bench import BenchResult


@dataclass(frozen=True)
class Card:
    """A large number or word with its meaning; `kind` is the colour: `good`, `warn` or `bad`."""

    value: str
    what: str
    kind: str = ""


def headline(pieces: Pieces) -> Markup:
    """What was measured; without results, the state of the training and of the export."""
    accuracy, miou = _accuracy(pieces), _miou(pieces)
    measured = [*accuracy, *_parity(pieces), *miou, *_speed(pieces)]
    cards = measured or [*_training(pieces), *_export(pieces)]
    if not cards:
        return Markup()
    return render("headline", cards=[*cards, *_engine(pieces)], measured=measured, ruled=accuracy or miou)


def _accuracy(pieces: Pieces) -> list[Card]:
    results = {found.name: found.values for found in pieces.of(SvmResult)}
    clean = {name: result.clean.accuracy for name, result in results.items()}
    clean = clean or {name: rules["clean"] for name, rules in pieces.summary.accuracy.items()}
    if not clean:
        return []
    name = "trained" if "trained" in clean else next(iter(clean))
    what = "of held-out objects classified right by a linear SVM on the frozen embeddings"
    if name in results:
        test, interval = results[name].data.test, results[name].clean.interval
        what += f" ({test} objects; 95 % interval {span(interval)} %)"
    cards = [Card(percent(clean[name]), what)]
    if name == "trained" and "untrained" in clean:
        cards.append(Card(percent(clean["untrained"]), "the same with the encoder before training"))
        cards.append(Card(points(clean[name] - clean["untrained"]), "percentage points, trained minus untrained"))
    return cards


def _parity(pieces: Pieces) -> list[Card]:
    what = "parity: whether the exported model is the trained one"
    verdicts = {True: ("passed", "good"), False: ("not passed", "bad")}
    passed = [found.values.passed for found in pieces.of(ParityResult)[:1]]
    return [Card(word, what, kind) for word, kind in (verdicts[each] for each in passed)]


def _miou(pieces: Pieces) -> list[Card]:
    return [
        Card(
            percent(found.values.clean.instance_miou),
            f"mean IoU of the parts of {found.values.data.test} test objects (95 % interval "
            f"{span(found.values.clean.interval)} %)",
        )
        for found in pieces.of(PartSegResult)[:1]
    ]


def _speed(pieces: Pieces) -> list[Card]:
    rows = [row for found in pieces.of(BenchResult)[:1] for row in found.values.rows]
    best = max(rows, key=lambda row: row.clouds_per_second, default=None)
    if best is None:
        return []
    what = f"clouds a second: {best.engine} on {best.device}, {best.precision}, {best.points} points"
    return [Card(f"{best.clouds_per_second:,.0f}", what)]


def _training(pieces: Pieces) -> list[Card]:
    if not pieces.metrics:
        return []
    cards = [Card(f"{pieces.metrics[-1]['step']:,.0f}", "steps of training")]
    probes = [row["probe_accuracy"] for row in pieces.metrics if "probe_accuracy" in row]
    if probes:
        what = (
            f"of held-out objects right by the linear probe in the last measurement (the first: {percent(probes[0])})"
        )
        cards.append(Card(percent(probes[-1]), what))
    return cards


def _export(pieces: Pieces) -> list[Card]:
    gate = None if pieces.manifest is None else pieces.manifest.parity
    if gate is None:
        return []
    what = f"the export's parity gate, {gate.candidate}: largest relative L2 error {gate.relative_l2_max:.1e}"
    return [Card("passed", what, "good")]


def _engine(pieces: Pieces) -> list[Card]:
    """What was done with the engine, in the manifest's words."""
    if pieces.manifest is None:
        return []
    engine = pieces.manifest.engine
    if engine is None:
        return [Card("none", "TensorRT engine in the bundle", "warn")]
    return [Card(engine.status, "TensorRT engine of the bundle", "good" if engine.executed else "warn")]
