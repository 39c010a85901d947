"""Templates escape text, and keep bars within their places."""

from markupsafe import Markup

from crosspoint.report.html import render
from crosspoint.report.records import QuickstartStep


def test_templates_escape_text_and_keep_markup():
    assert render("named", name="<i>", content=Markup("<b>1</b>")) == "<h3>&lt;i&gt;</h3>\n<b>1</b>"


def test_no_bar_is_longer_than_its_place():
    assert "width:100.0%" in render("steps", steps=[QuickstartStep("train", 7.0, "ran")], longest=1.0, total=7.0)
