import numpy as np
from PIL import Image

from crosspoint.eval.figures import draw_confusion


def test_a_matrix_of_forty_classes_has_room_for_its_labels(tmp_path):
    draw_confusion(np.eye(40, dtype=np.int64), [f"class_{i}" for i in range(40)], "title", tmp_path / "a.png")
    width, height = Image.open(tmp_path / "a.png").size
    assert min(width, height) > 40 * 30


def test_a_class_without_objects_is_drawn_empty(tmp_path):
    draw_confusion(np.array([[3, 1], [0, 0]]), ["a", "b"], "title", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").getcolors(1 << 20) is not None
