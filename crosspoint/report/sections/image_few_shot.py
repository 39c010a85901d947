"""Section: few-shot classification of pictures with the image encoder, frozen and after RFS."""

from markupsafe import Markup

from crosspoint.eval.image.fewshot import ImageFewShotResult, ImageTasks
from crosspoint.eval.paper import published
from crosspoint.report.html import render
from crosspoint.report.read import Found, Pieces


def image_few_shot(pieces: Pieces) -> Markup:
    """Accuracy of each method by both rules."""
    return pieces.each(ImageFewShotResult, _image_few_shot)


def _image_few_shot(found: Found[ImageFewShotResult]) -> Markup:
    result = found.values
    compared = [
        (f"{row.method}, {row.shots}-shot, {rule}", score.against)
        for row in result.rows
        for rule, score in (("official", row.official), ("clean", row.clean))
        if score.against is not None
    ]
    papers = [_published(row) for row in result.rows] if result.data.published else []
    return render("image_few_shot", result=result, papers=papers, compared=compared, rfs=vars(result.rfs))


def _published(row: ImageTasks) -> published.Number | None:
    column, known = {1: 0, 5: 1}.get(row.shots), published.CIFAR_FS.get(row.method)
    return None if column is None or known is None else known[column]
