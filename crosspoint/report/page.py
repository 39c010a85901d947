"""One self-contained page that shows what a folder of results holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from crosspoint import __version__
from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.outputs import check_file
from crosspoint.report.html import Html, join, page, tag
from crosspoint.report.read import DAMAGE, Pieces, read_pieces
from crosspoint.report.sections import overview as sections
from crosspoint.report.sections import pictures, tasks, turntable
from crosspoint.report.sections.overview import Missing
from crosspoint.report.sections.reproduce import reproduce_section
from crosspoint.report.sections.robustness import robustness_section
from crosspoint.report.sections.speed import speed_section

SECTIONS: dict[str, Callable[[Pieces], Html | Missing]] = {
    "": sections.headline,
    "The paper's tables and figures": reproduce_section,
    "Accuracy": sections.svm_section,
    "Few-shot accuracy": sections.fewshot_section,
    "Robustness": robustness_section,
    "Part segmentation": tasks.partseg_section,
    "Few-shot accuracy with pictures": tasks.pictures_section,
    "Training": pictures.training_section,
    "Map of the embeddings": pictures.map_section,
    "Sample shapes": pictures.shapes_section,
    "Shapes and their parts": turntable.parts_section,
    "Parity": sections.parity_section,
    "What ran, and what was only built": sections.engine_section,
    "Speed": speed_section,
    "Time": sections.steps_section,
    "Versions and hashes": sections.provenance_section,
}

OF_ENCODERS = ("Accuracy", "Few-shot accuracy", "Map of the embeddings", "Sample shapes", "Parity")
"""Sections that a part segmenter, which embeds nothing, does not lack."""


def report(run: Path, out: Path | None = None) -> dict[str, Any]:
    """Write a self-contained HTML page about all results that lie in a folder and its direct subfolders.

    It shows what it finds of: a training run (`metrics.jsonl`, `config.json`), a bundle (`manifest.json`), results of
    commands (`--json`), embeddings (`.npz`), data in the published formats, and the quickstart's summary. What is
    missing is named with the command that would add it; what is damaged is left out with a remark.

    Args:
        run: The folder, for example of a training run or of the quickstart.
        out: The page to write; None for `report.html` in the folder.

    Returns:
        `out`, `bytes`, `sections` (titles), `missing` (a list of `what` and `command`) and `remarks`.

    Raises:
        InputError: The folder cannot be read or holds nothing to show, or the page cannot be written.
    """
    folder = Path(run)
    out = folder / "report.html" if out is None else Path(out)
    check_file(out, kind=".html")
    pieces = read_pieces(folder)
    shown: list[str] = []
    missing: list[Missing] = []
    content = [_head(pieces)]
    for title in track(SECTIONS, "Report"):
        made = _build(pieces, title)
        if isinstance(made, Missing):
            missing += [] if pieces.segments and title in OF_ENCODERS else [made]
        elif made is not None and made:
            shown.append(title or "Headline")
            content.append(tag("section", *([tag("h2", title)] if title else []), made))
    if not shown:
        trouble = f"; {pieces.remarks[0]}" if pieces.remarks else ""
        raise InputError(
            f"{folder}: holds no run, bundle, results (--json), embeddings or renderings{trouble}; "
            "give the folder of `crosspoint quickstart` or of `crosspoint train`"
        )
    content.append(_foot(pieces, missing))
    with atomic_file(out) as temporary:
        text = page(f"crosspoint: {folder.resolve().name}", content)
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # JSON can hold half a character
    return {
        "out": str(out),
        "bytes": out.stat().st_size,
        "sections": shown,
        "missing": [entry._asdict() for entry in missing],
        "remarks": pieces.remarks,
    }


def _build(pieces: Pieces, title: str) -> Html | Missing | None:
    """A section; None, with a remark, if what it is made of does not have the form that our commands write."""
    try:
        return SECTIONS[title](pieces)
    except DAMAGE as error:
        name = f"“{title}”" if title else "The headline"
        pieces.remarks.append(f"{name} is left out: its files are not as crosspoint writes them ({error!r})")
        return None


def _head(pieces: Pieces) -> Html:
    seed = pieces.summary.get("seed")
    objects = pieces.config.get("data", {})
    count = objects.get("objects") if isinstance(objects, dict) else None
    words = [f"crosspoint {__version__}"]
    how = "with labelled parts" if pieces.segments else "without labels"
    words += [] if count is None else [f"trained on {count} objects {how}"]
    words += [] if seed is None else [f"seed {seed}"]
    return tag("header", tag("h1", pieces.folder.resolve().name), tag("p", " · ".join(words), class_="quiet"))


def _foot(pieces: Pieces, missing: list[Missing]) -> Html:
    """What is not on the page, and how to get it there."""
    lines = [
        tag("p", f"Not here: {entry.what}. Add it with ", tag("code", entry.command), class_="missing")
        for entry in missing
    ]
    lines += [tag("p", remark, class_="missing") for remark in pieces.remarks]
    return tag("section", tag("h2", "Left out"), *lines) if lines else join([])
