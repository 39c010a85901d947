"""Shapes and ranges as a bundle's manifest says."""

from report_pieces import manifest, pieces, some

from crosspoint.report.sections import (
    engine,
)


def test_the_shapes_and_ranges_of_a_bundle_are_as_its_manifest_says(shown):
    engine.engine(pieces(manifest=manifest()))
    context = shown[0][1]
    assert (context.batch, context.points) == ("1 to 32, usually 8", "512")
    assert context.shapes == {"inputs": "points: B × 512 × 3", "outputs": "y: 2"}
    engine.engine(pieces(manifest=manifest(profile=some(batch=(4, 4, 4), points=None))))
    assert (shown[1][1].batch, shown[1][1].points) == ("4", "fixed")
