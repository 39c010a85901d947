"""Section: part segmentation, with mIoU by both rules and per category, a comparison of labels, and pictures."""

from pathlib import Path

import numpy as np
from markupsafe import Markup

from crosspoint.eval.paper import published
from crosspoint.eval.partseg import CleanScores, PartScores, PartSegResult
from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command, model_of
from crosspoint.report.pictures import shrunk
from crosspoint.report.read import Found, Pieces

PUBLISHED = 2874, 16, 50  # test objects, categories and parts of ShapeNetPart
PICTURES = {
    "partseg.png": "Predictions beside the truth, of each category the object with the median IoU",
    "partseg_worst.png": "Predictions beside the truth, of the objects with the lowest IoU",
}


def part_segmentation(pieces: Pieces) -> Markup | Missing:
    """All evaluated segmenters."""
    found = pieces.of(PartSegResult)
    if pieces.segments and not found:
        words = ("eval partseg", model_of(pieces), "--data DATA", "--json", Path("results/partseg.json"))
        return Missing("mIoU", command(pieces, *words))
    return pieces.each(PartSegResult, lambda result: _part_segmentation(result, alone=len(found) == 1))


def _part_segmentation(found: Found[PartSegResult], alone: bool) -> Markup:
    result, data = found.values, found.values.data
    known = (data.test, data.categories, data.parts) == PUBLISHED
    pictures = _pictures(found.path, alone)
    official, clean = result.official, result.clean
    std = clean.summary.std
    spread = "" if std is None else f"± {100 * std:.1f} over {len(clean.runs)} choices of points"
    rules = [("official", official.scores, official.interval, ""), ("clean", _mean(clean), clean.interval, spread)]
    paper = published.PARTS if known else None
    return render("part_segmentation", result=result, rules=rules, paper=paper, pictures=pictures)


def _mean(clean: CleanScores) -> PartScores:
    """Means over the choices of points."""
    right = float(np.mean([run.point_accuracy for run in clean.runs]))
    return PartScores(clean.instance_miou, clean.class_miou, right)


def _pictures(path: Path, alone: bool) -> list[tuple[str, str]]:
    """Captions and data URIs of pictures, in the folder with the result's name or, if it is alone, beside it."""
    places = [path.with_suffix(""), *([path.parent] if alone else [])]
    found = []
    for name, caption in PICTURES.items():
        drawn = shrunk(next((place / name for place in places if (place / name).is_file()), path.with_suffix(".png")))
        found += [] if drawn is None else [(caption, drawn)]
    return found
