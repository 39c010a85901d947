import numpy as np
import onnx
import pytest

from crosspoint.data.points import normalise
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.graph_probe import GraphProbe


@pytest.fixture
def points():
    return normalise(np.random.default_rng(0).standard_normal((3, 20, 3)))


@pytest.fixture
def path(network, tmp_path):
    write_onnx(tmp_path / "a.onnx", build(deploy(network("dgcnn")), None), provenance={})
    return tmp_path / "a.onnx"


def test_it_shows_the_neighbours(path, points):
    with GraphProbe(path) as probe:
        graphs = probe.neighbours({"points": points})
    assert {name: graph.shape for name, graph in graphs.items()} == {f"edge{i}": (3, 20, 6) for i in (1, 2, 3, 4)}
    nearest = np.argsort(np.square(points[:, :, None] - points[:, None]).sum(-1), axis=-1)[..., :6]
    np.testing.assert_array_equal(np.sort(graphs["edge1"]), np.sort(nearest))


def test_it_shows_the_neighbours_of_a_fixed_number_of_points(network, path, points, tmp_path):
    write_onnx(tmp_path / "b.onnx", build(deploy(network("dgcnn")), 20), provenance={})
    with GraphProbe(path) as free, GraphProbe(tmp_path / "b.onnx") as fixed:
        expected, found = (probe.neighbours({"points": points}) for probe in (free, fixed))
    for name, graph in expected.items():
        np.testing.assert_array_equal(np.sort(found[name]), np.sort(graph))


def test_it_leaves_the_model_as_it_is_and_nothing_behind(path, points):
    before = path.read_bytes()
    with GraphProbe(path) as probe:
        assert set(probe.neighbours({"points": points})) == {f"edge{i}" for i in range(1, 5)}
    assert path.read_bytes() == before
    assert onnx.load(path).graph.output[0].name == "embedding"
    assert list(path.parent.iterdir()) == [path]
