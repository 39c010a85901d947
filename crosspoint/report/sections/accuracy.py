"""Section: linear-SVM accuracy of frozen embeddings, by both rules and per class, with the confusions."""

from pathlib import Path

from markupsafe import Markup

from crosspoint.data.sets.layout import is_variant
from crosspoint.eval.paper import published
from crosspoint.eval.svm import SvmResult
from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command, data_of, model_of
from crosspoint.report.pictures import shrunk
from crosspoint.report.read import Found, Pieces

FIRST = {"trained": 0, "untrained": 1}


def accuracy(pieces: Pieces) -> Markup | Missing:
    """All evaluated models, the trained one first."""
    results = sorted(pieces.of(SvmResult), key=lambda found: FIRST.get(found.name, 2))
    if not results:
        words = ("eval svm", model_of(pieces), "--data", data_of(pieces), "--json", Path("results/svm-trained.json"))
        return Missing("accuracy of a linear SVM", command(pieces, *words))
    first = results[0]
    clean = [{row.name: row.clean for row in found.values.per_class} for found in results]
    return render(
        "accuracy",
        results=[(_title(found), found.values) for found in results],
        papers=[_published(found.values) for found in results],
        classes=[(row.name, row.objects, [own.get(row.name) for own in clean]) for row in first.values.per_class],
        confused=first.name,
        confusion=shrunk(first.path.parent / first.name / "confusion.png"),
    )


def _title(found: Found[SvmResult]) -> str:
    """A model's name; it is called an engine only if an engine ran."""
    ran = found.values.model.backend.startswith("tensorrt")
    return "exported" if found.name == "engine" and not ran else found.name


def _published(result: SvmResult) -> float | None:
    """The paper's accuracy for this architecture, if the data have the sizes of the published splits; else None."""
    data = result.data
    if (
        is_variant(Path(data.path))
        or (data.train, data.test) not in published.COUNTS.get(data.format, ())
        or data.points != 1024
    ):
        return None
    known = published.LINEAR[data.format].get(result.model.architecture)
    return None if known is None else known.value / 100
