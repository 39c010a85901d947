"""What `crosspoint fit`, `predict`, `segment` and `eval classify` print."""

from typing import TYPE_CHECKING

import click

from crosspoint.core.console import print_table, say
from crosspoint.core.printable import printable

if TYPE_CHECKING:
    from crosspoint.classify.results import FitResult
    from crosspoint.eval.classify import ClassifyResult
    from crosspoint.runtime.jobs.predict import ObjectBox, PredictResult
    from crosspoint.runtime.jobs.segment import SegmentResult


def print_fit(result: "FitResult") -> None:
    """Print the expected accuracy, overall and by class, the labels that look wrong, and the threshold."""
    rows = [(entry.name, entry.objects, percent(entry.accuracy), between(entry.interval)) for entry in result.classes]
    print_table("Cross-validation", ("class", "objects", "accuracy", "95 % interval"), rows=rows)
    if result.suspects:
        suspects = [(bad.name, bad.label, bad.suggested, percent(bad.probability)) for bad in result.suspects]
        print_table("Labels that look wrong", ("name", "label", "looks like", "probability"), rows=suspects)
    if result.suggestions is not None:
        asked = [(one.name, one.label, percent(one.probability)) for one in result.suggestions]
        print_table("Label these next", ("name", "looks like", "probability"), rows=asked)
    if result.skipped:
        print_table("Skipped", ("file", "reason"), rows=[(bad.file, bad.reason) for bad in result.skipped])
    if result.copies:
        say(f"left out, same content as another object: {', '.join(map(printable, result.copies))}")
    calibration, unknown = result.calibration, result.unknown
    say(
        f"head: {result.head}, {result.strength:g}; temperature {calibration.temperature:.3g}: calibration error "
        f"{percent(calibration.error_before)} before, {percent(calibration.error_after)} after"
    )
    refused = round(unknown.refused * result.objects)
    say(
        f"unknown: novelty above {unknown.novelty:.2f}, which refuses {percent(unknown.refused)} of the known objects "
        f"({refused} of {result.objects})"
    )
    click.echo(
        f"{printable(result.out)}: {len(result.classes)} classes from {result.objects} objects; expected accuracy "
        f"{percent(result.accuracy)} ({between(result.interval)}) in {result.seconds:.1f} s"
    )


SHOWN = 50  # objects that are printed if the result is written to a file


def print_predictions(result: "PredictResult") -> None:
    """Print the class of each object, the next classes if asked for, and where an object of a scan lies."""
    shown = result.predictions if result.out is None else result.predictions[:SHOWN]
    boxes = any(entry.box is not None for entry in shown)
    rows = [
        (
            entry.name,
            entry.label,
            percent(entry.probability),
            "unknown" if entry.unknown else "",
            ", ".join(f"{other.label} {percent(other.probability)}" for other in (entry.top or ())[1:]),
            *(_place(entry.box) if entry.box is not None else ()),
        )
        for entry in shown
    ]
    columns = ("name", "label", "probability", "unknown", "next", *(("points", "centre", "size") if boxes else ()))
    print_table("Predictions", columns, rows=rows)
    if result.skipped:
        print_table("Skipped", ("file", "reason"), rows=[(bad.file, bad.reason) for bad in result.skipped])
    ran, count = result.model, len(result.predictions)
    unknown = sum(entry.unknown for entry in result.predictions)
    objects = "1 object" if count == 1 else f"{count} objects"
    click.echo(
        f"{'' if result.out is None else f'{printable(result.out)}: '}{objects}, {unknown} unknown, in "
        f"{result.seconds:.1f} s ({ran.architecture}, {ran.precision}, {ran.backend} on {ran.device})"
    )


def _place(box: "ObjectBox") -> tuple[int, str, str]:
    """Number of points, centre and size of an object's box."""
    centre = ", ".join(f"{(low + high) / 2:.2f}" for low, high in zip(box.lower, box.upper, strict=True))
    size = " × ".join(f"{high - low:.2f}" for low, high in zip(box.lower, box.upper, strict=True))
    return box.points, centre, size


def print_segmented(result: "SegmentResult") -> None:
    """Print the share of each part in the points of each object."""
    rows = [
        (entry.name, entry.points, ", ".join(f"{one.part} {percent(one.share)}" for one in entry.parts if one.share))
        for entry in result.objects[:SHOWN]
    ]
    print_table(f"Parts of {printable(result.category)}", ("name", "points", "parts"), rows=rows)
    if result.skipped:
        print_table("Skipped", ("file", "reason"), rows=[(bad.file, bad.reason) for bad in result.skipped])
    ran, count = result.model, len(result.objects)
    click.echo(
        f"{printable(result.out)}: {count} object{'s' if count > 1 else ''} in {result.seconds:.1f} s "
        f"({ran.architecture}, {ran.precision}, {ran.backend} on {ran.device})"
    )


def print_classify(result: "ClassifyResult") -> None:
    """Print accuracy by class, shares of unknown objects, and the comparison with another classifier."""
    rows = [
        (
            entry.name,
            entry.objects,
            "–" if entry.accuracy is None else percent(entry.accuracy),
            "" if entry.interval is None else between(entry.interval),
        )
        for entry in result.classes
    ]
    print_table("Accuracy by class", ("class", "objects", "accuracy", "95 % interval"), rows=rows)
    if result.skipped:
        print_table("Skipped", ("file", "reason"), rows=[(bad.file, bad.reason) for bad in result.skipped])
    unknown = result.unknown
    rest = "" if unknown.accuracy_of_rest is None else f", of the rest {percent(unknown.accuracy_of_rest)} are right"
    say(f"unknown: {percent(unknown.known_refused)} of the known objects{rest}")
    if unknown.strangers_refused is not None:
        say(f"unknown: {percent(unknown.strangers_refused)} of {unknown.strangers} objects of other classes")
    if result.against is not None:
        other = result.against
        say(
            f"against {printable(other.model.path)}: {percent(other.paired.reference_accuracy)}; "
            f"{percent(other.paired.equal_predictions)} of the labels are equal; p {other.paired.mcnemar_p:.3f}"
        )
    click.echo(
        f"accuracy {percent(result.accuracy)} ({between(result.interval)}) of {result.objects} objects; expected "
        f"calibration error {percent(result.calibration_error)}"
    )


def percent(share: float) -> str:
    """`"84.0 %"`."""
    return f"{100 * share:.1f} %"


def between(interval: tuple[float, float]) -> str:
    """`"73.1 to 91.0 %"`."""
    return f"{100 * interval[0]:.1f} to {percent(interval[1])}"
