"""Section: reproduced tables and figures, the paper's numbers beside ours."""

from pathlib import Path

from markupsafe import Markup

from crosspoint.eval.paper.results import ReproduceResult
from crosspoint.report.html import render
from crosspoint.report.pictures import shrunk
from crosspoint.report.read import Found, Pieces


def reproduction(pieces: Pieces) -> Markup:
    """Every reproduced table or figure: the paper's column, ours by both rules, and the notes."""
    results = [(found.values, _drawn(found)) for found in _distinct(pieces.of(ReproduceResult))]
    return render("reproduction", results=results) if results else Markup()


def _distinct(results: list[Found[ReproduceResult]]) -> list[Found[ReproduceResult]]:
    """Tables before figures. Of two equal results, written by --json and --out, the one beside its picture."""
    kept: list[Found[ReproduceResult]] = []
    for found in sorted(results, key=lambda found: not _picture(found.path).is_file()):
        if all(found.values != other.values for other in kept):
            kept.append(found)
    return sorted(kept, key=lambda found: found.values.target.replace("table", ""))


def _picture(path: Path) -> Path:
    return path.with_suffix(".png")


def _drawn(found: Found[ReproduceResult]) -> str | None:
    """The data URI of Figure 4's picture; pictures of tables would repeat the numbers."""
    return shrunk(_picture(found.path)) if found.values.target == "figure4" else None
