"""Results of part segmentation as tables on standard output."""

from typing import Any

from crosspoint.core.console import print_table


def print_partseg(result: dict[str, Any]) -> None:
    """Mean IoU of each category, then both rules, then the comparison with another model."""
    rows = [
        (r["category"], r["objects"], f"{r['official']:.1%}", f"{r['clean']:.1%}", _parts(r["parts"]))
        for r in result["per_category"]
    ]
    print_table("mIoU by category", ("category", "objects", "official", "clean", "parts (clean, %)"), rows)
    official, clean, data = result["official"], result["clean"], result["data"]
    print_table(
        f"Part segmentation, {data['test']} test objects of {data['points']} points",
        ("protocol", "instance mIoU", "95 % interval", "std", "class mIoU", "rule"),
        (("official", *_row(official)), ("clean", *_row(clean))),
    )
    if result["against"] is not None:
        _print_against(result["model"], result["against"])


def _row(scores: dict[str, Any]) -> tuple[str, ...]:
    std = scores.get("std")
    return (
        f"{scores['instance_miou']:.2%}",
        _interval(scores["interval"], 100),
        "–" if std is None else f"± {100 * std:.2f}",
        f"{scores['class_miou']:.2%}",
        scores["rule"],
    )


def _parts(parts: dict[str, float]) -> str:
    return ", ".join(f"{name.rpartition('/')[2]} {100 * iou:.0f}" for name, iou in parts.items())


def _interval(interval: tuple[float, float] | None, scale: float) -> str:
    return "–" if interval is None else f"{scale * interval[0]:.2f} … {scale * interval[1]:.2f}"


def _print_against(model: dict[str, Any], against: dict[str, Any]) -> None:
    reference, miou, points = against["reference"], against["instance_miou"], against["points"]
    print_table(
        f"Labels of {model['backend']} against {reference['backend']}, {reference['path']}",
        (
            "equal labels",
            "objects all equal",
            "least equal object",
            "points that differ",
            "largest margin",
            "McNemar's p",
        ),
        [
            (
                f"{against['equal_labels']:.4%}",
                f"{against['objects_with_all_equal']:.1%}",
                f"{against['least_equal']:.2%}",
                f"{against['differing_points']} of {points['objects']}",
                f"{against['largest_margin']:.1e}",
                f"{points['mcnemar_p']:.3g}",
            )
        ],
    )
    print_table(
        "Instance mIoU, candidate minus reference",
        ("reference", "candidate", "difference", "95 % interval", "largest of an object"),
        [
            (
                f"{miou['reference']:.2%}",
                f"{miou['candidate']:.2%}",
                f"{100 * miou['difference']:+.3f} points",
                "–" if miou["interval"] is None else "{:.3f} … {:.3f}".format(*(100 * v for v in miou["interval"])),
                f"{100 * miou['largest_of_an_object']:.3f} points",
            )
        ],
    )
