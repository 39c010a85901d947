import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from crosspoint.eval.figures import draw_comparison, draw_confusion
from crosspoint.eval.metrics.statistics import Summary
from crosspoint.eval.paper.published import Number
from crosspoint.eval.paper.results import Cell, TableRow


def test_a_matrix_of_forty_classes_has_room_for_its_labels(tmp_path):
    draw_confusion(
        np.eye(40, dtype=np.int64), [f"class_{i}" for i in range(40)], title="title", path=tmp_path / "a.png"
    )
    width, height = Image.open(tmp_path / "a.png").size
    assert min(width, height) > 40 * 30


def test_a_class_without_objects_is_drawn_empty(tmp_path):
    draw_confusion(np.array([[3, 1], [0, 0]]), ["a", "b"], title="title", path=tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").getcolors(1 << 20) is not None


@pytest.mark.parametrize(
    ("std", "interval", "ends"), [(2.0, [70, 99], [78, 82]), (None, [70, 85], [70, 85]), (None, None, [80, 80])]
)
def test_the_line_at_a_bars_end_is_its_deviation_or_else_its_interval(tmp_path, monkeypatch, std, interval, ends):
    kept, savefig = [], Figure.savefig

    def keep(figure, *place, **options):
        kept.append(figure)
        savefig(figure, *place, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    cell = Cell(Summary(80.0, std, None), "3 tasks", interval, [[80.0]])
    draw_comparison([TableRow("m", "s", Number(90.0), cell, None)], "title", path=tmp_path / "a.png")
    _, ours = kept[0].axes[0].collections  # the paper's bar first
    np.testing.assert_allclose(ours.get_segments()[0][:, 0], ends)
