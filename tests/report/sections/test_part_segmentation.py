"""mIoU under both rules, the paper's beside its own sizes, and the pictures of parts."""

import pytest
from PIL import Image
from report_pieces import pieces, segmented

from crosspoint.eval.paper import published
from crosspoint.eval.partseg import PartSegResult
from crosspoint.report.missing import Missing
from crosspoint.report.sections import (
    part_segmentation,
)


@pytest.mark.parametrize(
    ("sizes", "own"), [({}, True), ({"test": 2873}, False), ({"parts": 49}, False), ({"categories": 15}, False)]
)
def test_miou_has_its_rules_and_for_the_published_sizes_the_papers(sizes, own, shown):
    part_segmentation.part_segmentation(pieces(holds={PartSegResult: [("partseg.json", segmented(**sizes))]}))
    context = shown[0][1]
    official, clean = context.rules
    assert official == ("official", "official scores", (0.1, 0.2), "")
    assert clean[0] == "clean"
    assert (clean[1].instance_miou, clean[1].class_miou, clean[1].point_accuracy) == (0.7, 0.6, 0.75)
    assert clean[2:] == ((0.65, 0.75), "± 1.2 over 3 choices of points")
    assert context.paper == (published.PARTS if own else None)


def test_one_choice_of_points_has_no_deviation(shown):
    part_segmentation.part_segmentation(pieces(holds={PartSegResult: [("partseg.json", segmented(std=None))]}))
    assert shown[0][1].rules[1][3] == ""


@pytest.mark.parametrize("alone", [True, False])
def test_pictures_beside_a_result_are_its_own_only_if_it_is_alone(alone, tmp_path, shown):
    for name in ("partseg.png", "partseg_worst.png"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    (tmp_path / "partseg-b").mkdir()
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "partseg-b" / "partseg.png")
    results = [(tmp_path / "partseg-a.json", segmented()), (tmp_path / "partseg-b.json", segmented())]
    part_segmentation.part_segmentation(pieces(holds={PartSegResult: results[: 1 if alone else 2]}))
    kept = [[caption for caption, _ in context.pictures] for template, context in shown if template != "named"]
    both = list(part_segmentation.PICTURES.values())
    assert kept == ([both] if alone else [[], both[:1]])


@pytest.mark.parametrize("segments", [True, False])
def test_only_a_segmenter_lacks_its_miou(segments, tmp_path, shown):
    (tmp_path / "encoder.safetensors").touch()
    if segments:
        (tmp_path / "segmenter.safetensors").touch()
    built = part_segmentation.part_segmentation(pieces(run=tmp_path))
    assert isinstance(built, Missing) == segments
    if segments:
        assert built.command.endswith("--data DATA --json /reports/run/results/partseg.json")
