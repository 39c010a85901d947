"""The report's sections about parts of shapes and about pictures."""

from pathlib import Path
from typing import Any

from crosspoint.eval.paper import published
from crosspoint.report.charts import shrunk
from crosspoint.report.html import Html, bar, join, table, tag
from crosspoint.report.read import Pieces, Result
from crosspoint.report.sections.overview import Missing, command, model_of
from crosspoint.report.words import RULES, described, paired_table, percent, points, scored, span

PUBLISHED_PARTS = (2874, 16, 50)  # test objects, categories and parts of ShapeNetPart
PICTURES = {
    "partseg.png": "Predictions beside the truth, of each category the object with the median IoU",
    "partseg_worst.png": "Predictions beside the truth, of the objects with the lowest IoU",
}


def partseg_section(pieces: Pieces) -> Html | Missing:
    """Mean IoU by both rules, per category, the labels against another model's, and pictures."""
    if pieces.segments and not pieces.of("partseg"):
        out = Path("results/partseg.json")
        return Missing("mIoU", command(pieces, "eval partseg", model_of(pieces), "--data DATA", "--json", out))
    alone = len(pieces.of("partseg")) == 1
    return pieces.each(pieces.of("partseg"), lambda result: _partseg(result, alone))


def _partseg(result: Result, alone: bool) -> Html:
    values, data = result.values, result.values["data"]
    note = (
        f"{described(values['model'])}, {data['test']} test objects of {data['points']} points, "
        f"{data['categories']} categories with {data['parts']} parts. Intervals are 95 %, for the number of objects. "
        f"Official: {values['official']['rule']}. Clean: {values['clean']['rule']}.{_paper_parts(data)}"
    )
    columns = ("rule", "instance mIoU", "class mIoU", "points right")
    parts = [tag("p", note, class_="quiet"), table(columns, [_rule(values, rule) for rule in RULES])]
    if values["against"] is not None:
        parts.append(_labels(values["against"]))
    parts.append(_categories(values["per_category"]))
    return join([*parts, *_pictures(result, alone)])


def _paper_parts(data: dict[str, Any]) -> str:
    if (data["test"], data["categories"], data["parts"]) != PUBLISHED_PARTS:
        return " The data are not those of the paper, so its numbers do not apply."
    known = published.PARTS
    return (
        f" The paper's instance mIoU, official: {known['pretrained'].value} % from a pretrained backbone, "
        f"{known['scratch'].value} % from scratch."
    )


def _rule(values: dict[str, Any], rule: str) -> list[object]:
    own = values[rule]
    runs = own.get("runs", [own])
    right = sum(run["point_accuracy"] for run in runs) / len(runs)
    std = own.get("std")
    remark = "" if std is None else f"± {100 * std:.1f} over {len(runs)} choices of points"
    instance = scored(own["instance_miou"], own["interval"], remark)
    return [rule, instance, scored(own["class_miou"], None), percent(right)]


def _labels(against: dict[str, Any]) -> Html:
    """How the labels and the mIoU differ from the reference's."""
    miou, paired = against["instance_miou"], against["points"]
    difference = f"{points(miou['difference'], 3)} points (95 %: {span(miou['interval'], decimals=3)})"
    rows = [
        ("equal labels", f"{against['equal_labels']:.4%}"),
        ("objects with all labels equal", percent(against["objects_with_all_equal"])),
        ("equal labels of the object with the fewest", f"{against['least_equal']:.2%}"),
        ("points that differ", f"{against['differing_points']:,} of {paired['objects']:,}"),
        ("largest margin of the reference where they differ", f"{against['largest_margin']:.1e}"),
        ("McNemar's p, of points", f"{paired['mcnemar_p']:.2g}"),
        ("instance mIoU, reference", f"{miou['reference']:.2%}"),
        ("instance mIoU, model", f"{miou['candidate']:.2%}"),
        ("model minus reference", difference),
        ("largest difference of an object", f"{100 * miou['largest_of_an_object']:.3f} points"),
    ]
    lead = tag("p", f"Against {described(against['reference'])}, on the same points of the same objects:")
    return join([lead, table(("compared", ""), rows)])


def _categories(categories: list[dict[str, Any]]) -> Html:
    rows = [
        [
            row["category"],
            row["objects"],
            *(bar(row[rule], percent(row[rule])) for rule in RULES),
            ", ".join(f"{name.rpartition('/')[2]} {100 * iou:.0f}" for name, iou in row["parts"].items()),
        ]
        for row in categories
    ]
    columns = ("category", "objects", *RULES, "IoU of its parts, clean, %")
    return tag("details", tag("summary", "mIoU of each category"), table(columns, rows))


def _pictures(result: Result, alone: bool) -> list[Html]:
    """The pictures that were drawn into the folder of the result's name, or beside it if no other result is there."""
    places = [result.path.with_suffix(""), *([result.path.parent] if alone else [])]
    figures: list[Html] = []
    for name, caption in PICTURES.items():
        found: Path | None = next((place / name for place in places if (place / name).is_file()), None)
        drawn = None if found is None else shrunk(found, caption)
        if drawn is not None:
            figures.append(tag("details", tag("summary", caption), drawn, **({} if figures else {"open": ""})))
    return figures


def pictures_section(pieces: Pieces) -> Html:
    """Few-shot classification of pictures with the image encoder, frozen and after RFS."""
    return pieces.each(pieces.of("image-fewshot"), lambda result: _image_fewshot(result.values))


def _image_fewshot(values: dict[str, Any]) -> Html:
    model, data = values["model"], values["data"]
    counts = " + ".join(map(str, data["classes"]))
    note = (
        f"ResNet-{model['depth']}, {described(model)}; {counts} classes to train, choose C and test; "
        f"{values['tasks']} tasks of each kind, {values['queries']} queries per class. Intervals are 95 %, for the "
        "number of tasks; ± is the standard deviation over tasks. Official: C = 1. Clean: C by tasks from the "
        "validation classes."
    )
    known = data["published"]
    note += "" if known else " The data are not CIFAR-FS, so the paper's numbers do not apply."
    columns = ["method", *(["paper"] if known else []), *RULES, "C of clean"]
    rows = [_image_row(values["ways"], row, known) for row in values["rows"]]
    named = [
        (f"{row['method']}, {row['shots']}-shot, {rule}", row[rule]["against"])
        for row in values["rows"]
        for rule in RULES
        if "against" in row[rule]
    ]
    compared = [paired_table(values["against"]["model"], named)] if named else []
    return join([tag("p", note, class_="quiet"), table(columns, rows), *compared, _recipe(values["rfs"])])


def _image_row(ways: int, row: dict[str, Any], known: bool) -> list[object]:
    name = join([row["method"], tag("span", f"{ways}-way {row['shots']}-shot", class_="sub whole")])
    cells = [
        scored(row[rule]["mean"], row[rule]["interval"], f"± {100 * row[rule]['std']:.1f} over tasks") for rule in RULES
    ]
    return [name, *([_paper_pictures(row)] if known else []), *cells, f"{row['clean']['C']:g}"]


def _paper_pictures(row: dict[str, Any]) -> object:
    column = {1: 0, 5: 1}.get(row["shots"])
    known = published.CIFAR_FS.get(row["method"])
    if column is None or known is None:
        return "–"
    number = known[column]
    return bar(number.value / 100, f"{number.value:.1f} ± {number.spread:.1f}", "paper")


def _recipe(recipe: dict[str, Any]) -> Html:
    rows = [(name, tag("code", value)) for name, value in recipe.items()]
    return tag("details", tag("summary", "The training on base classes, RFS"), table(("field", "value"), rows))
