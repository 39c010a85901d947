import numpy as np
import onnx
import pytest

from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.graph_probe import GraphProbe
from crosspoint.parity.reference import Reference
from crosspoint.runtime.backends.onnx import OnnxEncoder


@pytest.fixture
def points():
    return np.random.default_rng(0).standard_normal((3, 20, 3)).astype(np.float32)


@pytest.fixture
def reference(network):
    return Reference(network("dgcnn"))


@pytest.fixture
def path(network, tmp_path):
    write_onnx(tmp_path / "a.onnx", build(deploy(network("dgcnn")), None), {})
    return tmp_path / "a.onnx"


def test_it_shows_the_neighbours(reference, path, points):
    with GraphProbe(reference, path) as probe:
        graphs = probe.neighbours({"points": points})
    assert {name: graph.shape for name, graph in graphs.items()} == {f"edge{i}": (3, 20, 6) for i in (1, 2, 3, 4)}
    nearest = np.argsort(np.square(points[:, :, None] - points[:, None]).sum(-1), axis=-1)[..., :6]
    np.testing.assert_array_equal(np.sort(graphs["edge1"]), np.sort(nearest))


def test_it_shows_the_neighbours_of_a_fixed_number_of_points(network, reference, path, points, tmp_path):
    write_onnx(tmp_path / "b.onnx", build(deploy(network("dgcnn")), 20), {})
    with GraphProbe(reference, path) as free, GraphProbe(reference, tmp_path / "b.onnx") as fixed:
        expected, found = (probe.neighbours({"points": points}) for probe in (free, fixed))
    for name, graph in expected.items():
        np.testing.assert_array_equal(np.sort(found[name]), np.sort(graph))


def test_it_leaves_the_model_as_it_is_and_nothing_behind(reference, path, points):
    before = path.read_bytes()
    with GraphProbe(reference, path) as probe, OnnxEncoder(path) as encoder:
        probed = probe._encoder.run({"points": points})["embedding"]
        np.testing.assert_array_equal(probed, encoder.embed(points))
    assert path.read_bytes() == before
    assert onnx.load(path).graph.output[0].name == "embedding"
    assert list(path.parent.iterdir()) == [path]


def test_without_ties_the_network_gives_what_it_gives_on_its_own_graphs(reference, path, points):
    with GraphProbe(reference, path) as probe:
        expected, overlap = probe.expected({"points": points})
    np.testing.assert_allclose(expected, reference.on_own_graphs({"points": points}), rtol=1e-9, atol=1e-9)
    assert overlap == {f"edge{i}": 1.0 for i in (1, 2, 3, 4)}


def test_a_cloud_with_known_graphs_is_not_computed_again(reference, path, points, monkeypatch):
    with GraphProbe(reference, path) as probe:
        once, _ = probe.expected({"points": points})
        monkeypatch.setattr(reference, "on_graphs", lambda *_: pytest.fail("computed again"))
        again, _ = probe.expected({"points": np.concatenate([points, points])})
    np.testing.assert_array_equal(again, np.concatenate([once, once]))
