"""The picture of a diagnosis: a title of one line, and legends that cover nothing."""

import torch
from matplotlib.figure import Figure

from crosspoint.parity.layers.diagnose import diagnose
from crosspoint.runtime.options import Sampling


def test_the_title_is_short_and_legends_lie_beside_the_axes(
    network, saved, exported, float16_distances, tmp_path, monkeypatch
):
    model = network("dgcnn")
    with torch.no_grad():
        for edge in model.edges:  # features far from the origin
            edge.linear.norm.bias += 4
    candidate = float16_distances(exported(model, "b"), tmp_path / "half.onnx")
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **named: drawn.append(figure) or save(figure, *args, **named)
    )
    diagnose(saved(model, "a"), candidate, sampling=Sampling(48), out=tmp_path / "a.png")
    (figure,) = drawn
    figure.canvas.draw()  # places are of the last resolution that it was drawn with
    assert figure.get_suptitle() == ""
    assert figure.axes[0].get_title(loc="left") == "First difference at edge2: uncentred distances"
    for axes in figure.axes:
        assert axes.get_legend().get_window_extent().x0 > axes.get_window_extent().x1
        assert axes.get_legend().get_window_extent().x1 <= figure.bbox.x1
