"""Section: part segmentation, with mIoU by both rules and per category, a comparison of labels, and pictures."""

from pathlib import Path

from markupsafe import Markup

from crosspoint.eval.paper import published
from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command, model_of
from crosspoint.report.pictures import shrunk
from crosspoint.report.read import Found, Pieces
from crosspoint.report.results import PartData, PartSegmentation

PUBLISHED = PartData(test=2874, points=2048, categories=16, parts=50)  # ShapeNetPart
PICTURES = {
    "partseg.png": "Predictions beside the truth, of each category the object with the median IoU",
    "partseg_worst.png": "Predictions beside the truth, of the objects with the lowest IoU",
}


def part_segmentation(pieces: Pieces) -> Markup | Missing:
    """All evaluated segmenters."""
    found = pieces.of(PartSegmentation)
    if pieces.segments and not found:
        words = ("eval partseg", model_of(pieces), "--data DATA", "--json", Path("results/partseg.json"))
        return Missing("mIoU", command(pieces, *words))
    return pieces.each(PartSegmentation, lambda result: _part_segmentation(result, alone=len(found) == 1))


def _part_segmentation(found: Found[PartSegmentation], alone: bool) -> Markup:
    data = found.values.data
    known = (data.test, data.categories, data.parts) == (PUBLISHED.test, PUBLISHED.categories, PUBLISHED.parts)
    pictures = _pictures(found.path, alone)
    return render("part_segmentation", result=found.values, paper=published.PARTS if known else None, pictures=pictures)


def _pictures(path: Path, alone: bool) -> list[tuple[str, str]]:
    """Captions and data URIs of pictures, in the folder with the result's name or, if it is alone, beside it."""
    places = [path.with_suffix(""), *([path.parent] if alone else [])]
    found = []
    for name, caption in PICTURES.items():
        drawn = shrunk(next((place / name for place in places if (place / name).is_file()), path.with_suffix(".png")))
        found += [] if drawn is None else [(caption, drawn)]
    return found
