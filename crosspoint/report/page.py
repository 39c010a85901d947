"""Builds one self-contained page from a folder of results."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from markupsafe import Markup

from crosspoint import __version__
from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.outputs import check_file
from crosspoint.core.results import Result
from crosspoint.report.html import render_page
from crosspoint.report.missing import Missing
from crosspoint.report.read import DAMAGE, Pieces, read_pieces
from crosspoint.report.sections.accuracy import accuracy
from crosspoint.report.sections.embedding_map import embedding_map
from crosspoint.report.sections.engine import engine
from crosspoint.report.sections.few_shot import few_shot
from crosspoint.report.sections.headline import headline
from crosspoint.report.sections.image_few_shot import image_few_shot
from crosspoint.report.sections.parity import parity
from crosspoint.report.sections.part_segmentation import part_segmentation
from crosspoint.report.sections.provenance import provenance
from crosspoint.report.sections.reproduction import reproduction
from crosspoint.report.sections.robustness import robustness
from crosspoint.report.sections.shapes.sample_shapes import sample_shapes
from crosspoint.report.sections.shapes.turntable import turntable
from crosspoint.report.sections.speed import speed
from crosspoint.report.sections.steps import steps
from crosspoint.report.sections.training import training

SECTIONS: dict[str, Callable[[Pieces], Markup | Missing]] = {
    "": headline,
    "The paper's tables and figures": reproduction,
    "Accuracy": accuracy,
    "Few-shot accuracy": few_shot,
    "Robustness": robustness,
    "Part segmentation": part_segmentation,
    "Few-shot accuracy with pictures": image_few_shot,
    "Training": training,
    "Map of the embeddings": embedding_map,
    "Sample shapes": sample_shapes,
    "Shapes and their parts": turntable,
    "Parity": parity,
    "What ran, and what was only built": engine,
    "Speed": speed,
    "Time": steps,
    "Versions and hashes": provenance,
}

OF_ENCODERS = ("Accuracy", "Few-shot accuracy", "Map of the embeddings", "Sample shapes", "Parity")
"""Sections that a part segmenter, which embeds nothing, does not lack."""


@dataclass(frozen=True)
class Section:
    """A section of the page; the headline has no title."""

    title: str
    content: Markup


@dataclass(frozen=True)
class ReportResult(Result):
    """The result of `crosspoint report`.

    Attributes:
        out: The HTML file.
        bytes: Size of the file, in bytes.
        sections: Titles of the sections.
        missing: What is not on the page, with the command that would add it.
        remarks: One line for each file that could not be used.
    """

    schema: ClassVar[str] = "crosspoint.report/1"

    out: str
    bytes: int
    sections: list[str]
    missing: list[Missing]
    remarks: list[str]


def report(run: Path, out: Path | None = None) -> ReportResult:
    """Write a self-contained HTML page about all results in a folder and its direct subfolders.

    It uses a training run (`metrics.jsonl`, `config.json`), a bundle (`manifest.json`), results of commands (`--json`),
    embeddings (in any format of `crosspoint embed`), data in the published formats, and the summary of the quickstart.
    For each missing part the page names the command that would add it. Damaged files are left out with a remark.

    Args:
        run: The folder, e.g. of a training run or of the quickstart.
        out: HTML file to write; None: `report.html` in the folder.

    Raises:
        InputError: The folder cannot be read or holds nothing to show, or the page cannot be written.
    """
    folder = Path(run)
    out = folder / "report.html" if out is None else Path(out)
    check_file(out, kind=".html")
    pieces = read_pieces(folder)
    sections: list[Section] = []
    missing: list[Missing] = []
    for title in track(SECTIONS, "Report"):
        built = _build(pieces, title)
        if isinstance(built, Missing):
            missing += [] if pieces.segments and title in OF_ENCODERS else [built]
        elif built:
            sections.append(Section(title, built))
    if not sections:
        trouble = f"; {pieces.remarks[0]}" if pieces.remarks else ""
        raise InputError(
            f"{folder}: holds no run, bundle, results (--json), embeddings or renderings{trouble}; "
            "give the folder of `crosspoint quickstart` or of `crosspoint train`"
        )
    name = folder.resolve().name
    shown = {"name": name, "about": _about(pieces), "sections": sections, "missing": missing, "remarks": pieces.remarks}
    with atomic_file(out) as temporary:
        text = render_page(f"crosspoint: {name}", **shown)
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # JSON can hold half a character
    titles = [section.title or "Headline" for section in sections]
    return ReportResult(str(out), out.stat().st_size, titles, missing, pieces.remarks)


def _build(pieces: Pieces, title: str) -> Markup | Missing:
    """Build a section. If its files do not have the expected form, it is left out with a remark."""
    try:
        return SECTIONS[title](pieces)
    except DAMAGE as error:
        name = f"“{title}”" if title else "The headline"
        pieces.remarks.append(f"{name} is left out: its files are not as crosspoint writes them ({error!r})")
        return Markup()


def _about(pieces: Pieces) -> list[str]:
    """The line below the title of the page."""
    words, seed, objects = [f"crosspoint {__version__}"], pieces.summary.seed, pieces.config.data.objects
    if objects is not None:
        words.append(f"trained on {objects} objects {'with labelled parts' if pieces.segments else 'without labels'}")
    return words if seed is None else [*words, f"seed {seed}"]
