"""Section: accuracy with a few labelled objects per class."""

from pathlib import Path

from markupsafe import Markup

from crosspoint.data.sets.layout import is_variant
from crosspoint.eval.fewshot import FewShotResult, FewShotTasks
from crosspoint.eval.paper import published
from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command, data_of, model_of
from crosspoint.report.read import Found, Pieces


def few_shot(pieces: Pieces) -> Markup | Missing:
    """Mean and deviation over the tasks of each kind, beside the paper's numbers if it has them."""
    if not pieces.of(FewShotResult):
        out = Path("results/fewshot.json")
        words = ("eval fewshot", model_of(pieces), "--data", data_of(pieces), "--json", out)
        return Missing("few-shot accuracy", command(pieces, *words))
    return pieces.each(FewShotResult, _few_shot)


def _few_shot(found: Found[FewShotResult]) -> Markup:
    result = found.values
    compared = [
        (f"{task.ways}-way {task.shots}-shot, {task.queries_from}", task.against)
        for task in result.tasks
        if task.against is not None
    ]
    papers = [_published(result, task) for task in result.tasks]
    return render("few_shot", result=result, papers=papers, known=any(papers), compared=compared)


def _published(result: FewShotResult, task: FewShotTasks) -> published.Number | None:
    """The paper's accuracy on such tasks for this architecture, if the data have the published sizes; else None."""
    data, setting = result.data, (task.ways, task.shots)
    if is_variant(Path(data.path)) or (data.train, data.test) not in published.COUNTS.get(data.format, ()):
        return None
    known = published.FEWSHOT[data.format].get(result.model.architecture)
    if known is None or setting not in published.SETTINGS or task.queries_from != "training split":
        return None
    return known[published.SETTINGS.index(setting)]
