"""Results of part segmentation as tables on standard output."""

from collections.abc import Mapping

from crosspoint.core.console import print_table
from crosspoint.eval.partseg import Interval, LabelComparison, PartSegResult


def print_partseg(result: PartSegResult) -> None:
    """Print the mean IoU of each category, then both rules, then the comparison with another model."""
    rows = [
        (r.category, r.objects, f"{r.official:.1%}", f"{r.clean:.1%}", _parts(r.parts)) for r in result.per_category
    ]
    print_table("mIoU by category", ("category", "objects", "official", "clean", "parts (clean, %)"), rows=rows)
    official, clean, data = result.official, result.clean, result.data
    scores = official.scores
    print_table(
        f"Part segmentation, {data.test} test objects of {data.points} points",
        ("protocol", "instance mIoU", "95 % interval", "std", "class mIoU", "rule"),
        rows=(
            (
                "official",
                f"{scores.instance_miou:.2%}",
                _interval(official.interval),
                "–",
                f"{scores.class_miou:.2%}",
                official.rule,
            ),
            (
                "clean",
                f"{clean.instance_miou:.2%}",
                _interval(clean.interval),
                "–" if clean.summary.std is None else f"± {100 * clean.summary.std:.2f}",
                f"{clean.class_miou:.2%}",
                clean.rule,
            ),
        ),
    )
    if result.against is not None:
        _print_against(result.model.backend, result.against)


def _parts(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name.rpartition('/')[2]} {100 * iou:.0f}" for name, iou in parts.items())


def _interval(interval: Interval, digits: int = 2) -> str:
    return "–" if interval is None else " … ".join(f"{100 * end:.{digits}f}" for end in interval)


def _print_against(backend: str, against: LabelComparison) -> None:
    reference, miou, points = against.reference, against.instance_miou, against.points
    print_table(
        f"Labels of {backend} against {reference.backend}, {reference.path}",
        (
            "equal labels",
            "objects all equal",
            "least equal object",
            "points that differ",
            "largest margin",
            "McNemar's p",
        ),
        rows=[
            (
                f"{against.equal_labels:.4%}",
                f"{against.objects_with_all_equal:.1%}",
                f"{against.least_equal:.2%}",
                f"{against.differing_points} of {points.objects}",
                f"{against.largest_margin:.1e}",
                f"{points.mcnemar_p:.3g}",
            )
        ],
    )
    print_table(
        "Instance mIoU, candidate minus reference",
        ("reference", "candidate", "difference", "95 % interval", "largest of an object"),
        rows=[
            (
                f"{miou.reference:.2%}",
                f"{miou.candidate:.2%}",
                f"{100 * miou.difference:+.3f} points",
                _interval(miou.interval, 3),
                f"{100 * miou.largest_of_an_object:.3f} points",
            )
        ],
    )
