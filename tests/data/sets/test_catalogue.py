import json
from dataclasses import astuple

from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.data.sets.catalogue import SETS


def test_every_set_of_the_paper_is_described():
    assert {"ModelNet40", "ScanObjectNN", "ShapeNetPart", "ShapeNetRender", "CIFAR-FS"} < {known.name for known in SETS}
    for known in SETS:
        assert all(astuple(known))


def test_command(tmp_path):
    arguments = ["data", "list", "--json", str(tmp_path / "sets.json")]
    outcome = CliRunner().invoke(crosspoint, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    assert max(map(len, outcome.output.splitlines())) <= 120
    result = json.loads((tmp_path / "sets.json").read_text())
    assert result["schema"] == "crosspoint.data-list/1"
    for known in result["sets"]:
        assert known["name"] in outcome.output
        assert set(known) == {"name", "content", "terms", "source", "folder"}
