"""The pictures of training in the docs are drawn from the numbers that stand beside them."""

import re
from pathlib import Path

import numpy as np
import pytest
from scripts import load_script

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pretraining.md").read_text(encoding="utf-8")
LAST = {"hours": 3.04, "minutes": 10.6 / 60}
HEADS = {"hours": "| encoder | nearest neighbour |", "minutes": "| stage | minutes | nearest neighbour |"}
OTHERS = ("`imid`", "`cmid`")  # rows of the page that are no stages of that training
COLUMNS = {
    "nearest neighbour": "nearest neighbour",
    "linear SVM, clean": "linear SVM, `clean`",
    **{name: name for name in ("5-way 10-shot", "5-way 20-shot", "10-way 10-shot", "10-way 20-shot")},
}


@pytest.fixture(scope="module")
def hours():
    pytest.importorskip("matplotlib")
    return load_script("benchmarks/hours.py")


def table(name):
    """The rows of the page's table that the picture shows, by the names of their columns."""
    lines = PAGE[PAGE.index(HEADS[name]) :].split("\n\n")[0].splitlines()
    cells = [[cell.strip().replace("**", "") for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:] if row[0] not in OTHERS]


@pytest.mark.parametrize("name", HEADS)
def test_the_picture_s_numbers_are_those_of_the_page(hours, name):
    rows = hours.read(ROOT / "docs" / "logs" / f"{name}.csv")
    stages = list(dict.fromkeys(row.stage for row in rows))
    shown = table(name)
    assert len(stages) == len(shown) == 4
    assert rows[-1].hours == pytest.approx(LAST[name], abs=1e-3)
    for stage, expected in zip(stages, shown, strict=True):
        for row in (row for row in rows if row.stage == stage):
            mean, *spread = re.findall(r"[\d.]+", expected[COLUMNS[row.measure]])
            assert row.accuracy == float(mean)
            assert not spread or row.spread == float(spread[0])


def test_rows_come_back_as_they_were_written(hours, tmp_path):
    rows = [hours.Row("a, b", 0.5, "linear SVM, clean", 87.25, 0.4, "std over 3 divisions")]
    hours.write(rows, tmp_path / "rows.csv")
    assert hours.read(tmp_path / "rows.csv") == rows


def test_errors_are_drawn_from_zero_with_their_spread(hours, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(hours.plt.Figure, "savefig", lambda figure, *args, **options: drawn.append(figure))
    hours.draw(hours.read(ROOT / "docs" / "logs" / "minutes.csv"), tmp_path / "a.png")
    (figure,) = drawn
    assert len(figure.axes) == 6
    for axes in figure.axes:
        assert axes.get_ylim()[0] == 0
        (bars,) = axes.containers
        ends = np.array(bars.lines[2][0].get_segments(), np.float64)  # (stages, 2, 2)
        middles = np.asarray(bars.lines[0].get_ydata(), np.float64)
        np.testing.assert_allclose(ends[:, :, 1].mean(axis=1), middles)
        assert (ends[:, 1, 1] > ends[:, 0, 1]).all()
        assert axes.get_ylim()[1] >= ends[..., 1].max()
    hours.plt.close(figure)
