"""Tables and figures of the paper that were made again."""

from markupsafe import Markup
from PIL import Image
from report_pieces import pieces, some

from crosspoint.eval.paper.results import ReproduceResult
from crosspoint.report.sections import (
    reproduction,
)


def test_of_equal_reproductions_the_one_with_its_picture_is_kept(tmp_path, shown):
    for name in ("kept/figure4", "table5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"{name}.png")
    made = {target: some(schema=ReproduceResult.schema, target=target) for target in ("figure4", "table5", "table1")}
    places = [("figure4", "a/figure4"), ("figure4", "kept/figure4"), ("table5", "table5"), ("table1", "table1")]
    found = [(tmp_path / f"{place}.json", made[target]) for target, place in places]
    reproduction.reproduction(pieces(holds={ReproduceResult: found}))
    results = shown[0][1].results
    assert [result.target for result, _ in results] == ["table1", "table5", "figure4"]
    assert [drawn is None for _, drawn in results] == [True, True, False]
    assert reproduction.reproduction(pieces()) == Markup()
