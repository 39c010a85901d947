"""Section: duration of each step of the quickstart."""

from markupsafe import Markup

from crosspoint.report.html import render
from crosspoint.report.missing import Missing
from crosspoint.report.read import Pieces


def steps(pieces: Pieces) -> Markup | Missing:
    """The steps in order; a step that did not run says so."""
    found = pieces.summary.steps
    if not found:
        return Missing("time of each step", "crosspoint quickstart --out quickstart")
    seconds = [step.seconds for step in found]
    return render("steps", steps=found, longest=max(*seconds, 0.1), total=sum(seconds))
