"""Faults that are put in, one by one, and have to be found: the layer, the kind, the channels."""

import json
from contextlib import nullcontext
from importlib import import_module

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from crosspoint.commands.parity.diagnose import diagnose_command
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.models import DGCNN
from crosspoint.parity.layers.cause import measure
from crosspoint.parity.layers.compare import Difference, NamedClouds, compare
from crosspoint.parity.layers.diagnose import diagnose, open_layers
from crosspoint.parity.layers.layers import LAYERS, Layer
from crosspoint.parity.limits import LIMITS
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import RunOn, Sampling

POINTS = 48
module = import_module("crosspoint.parity.layers.diagnose")


def swap(norm, first=3, second=11):
    """Running mean and variance of two channels, exchanged."""
    for statistic in (norm.running_mean, norm.running_var):
        statistic[[first, second]] = statistic[[second, first]].clone()


@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg"])
def test_an_export_is_no_difference(name, network, saved, exported):
    model = network(name)
    result = diagnose(saved(model, "a"), exported(model, "b"), sampling=Sampling(POINTS))
    assert result.passed, result.advice
    assert result.advice.startswith("No difference")
    assert result.causes == []
    assert [layer.name for layer in result.layers] == [layer.name for layer in LAYERS[name]]
    assert all(layer.hostile.own_overlap_min in (None, 1.0) for layer in result.layers)


def test_uncentred_float16_distances_are_found(network, saved, exported, float16_distances, tmp_path):
    model = network("dgcnn")
    with torch.no_grad():
        for edge in model.edges:  # features far from the origin, as the ones behind a trained bias are
            edge.linear.norm.bias += 4
    candidate = float16_distances(exported(model, "b"), tmp_path / "half.onnx")
    result = diagnose(saved(model, "a"), candidate, sampling=Sampling(POINTS))
    usual = [row.name for row in result.layers if (row.usual.own_overlap_min or 1) < 0.99]
    first = next(cause for cause in result.causes if cause.layer == "edge2")
    assert not result.passed
    assert first.kind == "uncentred distances"
    assert "FLOAT16" in first.facts.types
    assert first.facts.overlap_centred > first.facts.overlap
    assert usual[0] == "edge2"  # points are centred when they come in; features are not
    assert {"edge2", "edge3", "edge4"} <= {cause.layer for cause in result.causes}
    assert result.advice.startswith("They part at edge2")
    assert "its uncentred distances cancel in float16; subtract each cloud's mean" in result.advice
    assert all(row.usual.channel_max < 1e-5 for row in result.layers)  # the weights are as they were


@pytest.mark.parametrize(
    ("name", "layer", "find"),
    [
        ("dgcnn", "edge2", lambda model: model.edges[1].linear.norm),
        ("dgcnn", "embed", lambda model: model.embed.norm),
        ("pointnet", "layer3", lambda model: model.norms[2]),
        ("dgcnn_seg", "edge3", lambda model: model.edges[2].linear.norm),
        ("dgcnn_partseg", "hidden2", lambda model: model.hidden[1].norm),
    ],
)
def test_swapped_statistics_of_two_channels_are_found(name, layer, find, network, saved, exported):
    model, wrong = network(name), network(name)
    swap(find(wrong))
    result = diagnose(saved(model, "a"), exported(wrong, "b"), sampling=Sampling(POINTS))
    assert [cause.layer for cause in result.causes] == [layer]
    cause = result.causes[0]
    assert cause.kind == "batch normalisation"
    assert cause.facts.channels == [3, 11]
    variance = find(model).running_var.double() + 1e-5
    expected = float((variance[3] / variance[11]).sqrt())
    np.testing.assert_allclose(cause.facts.scales, [expected, 1 / expected], rtol=1e-3)
    assert f"They part at {layer}: " in result.advice
    assert "the statistics of these two channels swapped" in result.advice


def test_batch_normalisations_of_two_layers_exchanged_are_found(network, saved):
    model, wrong = network("dgcnn"), network("dgcnn")
    one, other = wrong.edges[0].linear.norm, wrong.edges[1].linear.norm
    for statistic in ("running_mean", "running_var"):
        first, second = getattr(one, statistic).clone(), getattr(other, statistic).clone()
        getattr(one, statistic).copy_(second)
        getattr(other, statistic).copy_(first)
    result = diagnose(saved(model, "a"), saved(wrong, "b"), sampling=Sampling(POINTS))
    assert [cause.layer for cause in result.causes] == ["edge1", "edge2"]
    assert result.advice.startswith("The batch normalisations of edge1 and edge2 have each other's statistics")


@pytest.mark.parametrize(
    ("name", "layer", "find", "row", "source"),
    [
        ("dgcnn", "edge3", lambda m: m.edges[2].linear.weight, 5, "channel 5 of x_j − x_i"),
        ("dgcnn", "edge4", lambda m: m.edges[3].linear.weight, 130, "channel 2 of x_i"),
        ("dgcnn", "embed", lambda m: m.embed.linear.weight, 70, "channel 6 of edge2"),
        ("pointnet", "layer2", lambda m: m.linears[1].weight, 14, "channel 14 of layer1"),
        ("dgcnn_partseg", "logits", lambda m: m.classify.weight, 20, "channel 20 of hidden3"),
    ],
)
def test_one_flipped_sign_is_found(name, layer, find, row, source, network, saved, exported):
    model, wrong = network(name), network(name)
    with torch.no_grad():
        find(wrong)[4, row] *= -1
    result = diagnose(saved(model, "a"), exported(wrong, "b"), sampling=Sampling(POINTS))
    assert [(cause.layer, cause.kind) for cause in result.causes] == [(layer, "weight sign")]
    assert (cause := result.causes[0]).facts.channel == 4
    assert cause.facts.input == row
    assert f"They part at {layer}: " in result.advice
    assert f"one weight with the wrong sign, from {source} to channel 4" in result.advice


def test_a_fault_inside_two_convolutions_is_named_by_its_channels(network, saved):
    model, wrong = network("dgcnn_seg"), network("dgcnn_seg")
    swap(wrong.edges[1].norm)
    result = diagnose(saved(model, "a"), saved(wrong, "b"), sampling=Sampling(POINTS))
    assert [(cause.layer, cause.kind) for cause in result.causes] == [("edge2", "values")]
    assert result.causes[0].facts.channels == [3, 11]


def test_other_weights_and_another_k_are_found(network, saved):
    model, wrong, narrow = network("dgcnn"), network("dgcnn"), DGCNN(k=4).eval()
    with torch.no_grad():
        wrong.edges[1].linear.weight.add_(0.05 * torch.randn(64, 128))
    narrow.load_state_dict(model.state_dict())
    result = diagnose(saved(model, "a"), saved(wrong, "b"), sampling=Sampling(POINTS))
    assert [(cause.layer, cause.kind) for cause in result.causes] == [("edge2", "weights")]
    result = diagnose(saved(model, "a"), saved(narrow, "c"), sampling=Sampling(POINTS))
    assert {cause.kind for cause in result.causes} == {"neighbours"}
    assert "looks at 4 neighbours of each point where the reference looks at 6" in result.advice


def test_what_is_carried_in_is_not_added(network, saved):
    model, wrong = network("dgcnn"), network("dgcnn")
    swap(wrong.edges[0].linear.norm)
    layers = {
        row.name: row.usual for row in diagnose(saved(model, "a"), saved(wrong, "b"), sampling=Sampling(POINTS)).layers
    }
    assert layers["edge1"].introduced_max == layers["edge1"].total_max > 1e-2
    for name in ("edge2", "edge3", "edge4", "embed", "embedding"):
        assert layers[name].introduced_max == 0 < layers[name].total_max
    assert layers["edge2"].overlap_min < 1 == layers["edge2"].own_overlap_min


def test_measured_weights_are_those_of_the_layer(network, saved):
    model = network("dgcnn")
    with load_encoder(saved(model, "a")) as encoder:
        layers = open_layers(encoder)
        points = np.random.default_rng(0).normal(size=(2, POINTS, 3)).astype(np.float32)
        clouds = NamedClouds(points, ["a", "b"], [False, False])
        difference = compare(layers, layers, layers=LAYERS["dgcnn"][1:2], clouds=clouds)[0]
        features = layers.compute(["edge1"], {"points": points})
        weights, _ = measure(layers, layers, difference=difference, features=features, channels=np.arange(64))
    linear = model.edges[1].linear
    scale, shift = linear.norm.frozen()
    expected = torch.cat([(scale[:, None] * linear.weight).T, shift[None]]).detach().numpy()
    np.testing.assert_allclose(weights, expected, atol=1e-4)


def test_models_of_different_kinds_are_refused(network, saved):
    with pytest.raises(InputError, match="two forms of one network"):
        diagnose(saved(network("dgcnn"), "a"), saved(network("pointnet"), "b"), sampling=Sampling(POINTS))


def test_a_model_that_shows_no_layers_is_compared_by_its_output(network, saved, exported, tmp_path):
    model, wrong = network("dgcnn"), network("dgcnn")
    import onnx

    def nameless(path):
        graph = onnx.load(path)
        onnx.helper.set_model_props(graph, {})
        onnx.save(graph, path)
        return path

    same = diagnose(saved(model, "a"), nameless(exported(model, "b")), sampling=Sampling(POINTS))
    assert [layer.name for layer in same.layers] == ["embedding"]
    assert same.passed
    assert "the only layer that both show" in same.advice
    swap(wrong.edges[1].linear.norm)
    other = diagnose(saved(model, "a"), nameless(exported(wrong, "c")), sampling=Sampling(POINTS))
    assert not other.passed
    assert "shows no layers" in other.advice


def cancelling(network):
    """A network whose last EdgeConv subtracts large numbers that are equal where points coincide."""
    model = DGCNN(k=4).eval()
    model.load_state_dict(network("dgcnn").state_dict())
    with torch.no_grad():
        model.edges[3].linear.weight[:, :128] *= 170
    return model


def test_on_hostile_clouds_the_gate_decides(network, saved, exported):
    """In float32 a channel of edge4 is off by more than 1e-4 where points coincide, and the output by less."""
    model = cancelling(network)
    result = diagnose(saved(model, "a"), exported(model, "b"), sampling=Sampling(POINTS))
    assert result.layers[3].hostile.channel_max > LIMITS["fp32"].channel > result.layers[3].usual.channel_max
    assert result.passed, result.advice


def test_what_the_gate_refuses_on_hostile_clouds_is_found(network, saved, exported):
    model, wrong = cancelling(network), cancelling(network)
    with torch.no_grad():
        wrong.edges[3].linear.weight[:, :128] *= 1 + 1e-5
        wrong.edges[3].linear.norm.bias += 1e-3  # nothing beside the differences of points, all where there are none
    result = diagnose(saved(model, "a"), exported(wrong, "b"), sampling=Sampling(POINTS))
    assert not result.passed
    assert result.causes[0].layer == "edge4"
    assert "all points equal" in result.causes[0].clouds


@pytest.mark.parametrize(
    ("passed", "own", "overlap", "channel", "bad"),
    [
        (True, 0.5, 0.5, 1.0, False),
        (False, 1.0, 1.0, 0.99e-4, False),
        (False, 1.0, 1.0, 1.01e-4, True),
        (False, 0.98, 0.98, 0.0, True),
        (False, 0.98, 1.0, 0.0, False),
        (False, 1.0, 0.98, 0.0, False),
    ],
)
def test_a_layer_is_blamed_for_what_it_adds_and_the_gate_does_not_pass(passed, own, overlap, channel, bad):
    one = np.ones(1)
    difference = Difference(
        LAYERS["dgcnn"][0], one, one, channel * np.ones((1, 3)), own * one, (6, 6), overlap * one, np.array([passed])
    )
    assert difference.bad(LIMITS["fp32"]).tolist() == [bad]


def run(*arguments):
    return CliRunner().invoke(diagnose_command, [str(argument) for argument in arguments])


def test_the_command_on_files_with_picture_and_json(network, saved, exported, tmp_path):
    model, wrong = network("dgcnn"), network("dgcnn")
    swap(wrong.edges[1].linear.norm)
    (tmp_path / "clouds").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        np.save(tmp_path / "clouds" / f"{i}.npy", rng.normal(size=(80, 3)).astype(np.float32))
    options = (
        "--data",
        tmp_path / "clouds",
        "--points",
        POINTS,
        "--out",
        tmp_path / "a.png",
        "--json",
        tmp_path / "a.json",
    )
    done = run(saved(model, "a"), saved(wrong, "b"), *options)
    assert isinstance(done.exception, CheckFailed)
    assert "They part at edge2" in str(done.exception)
    assert "parts here" in done.output
    result = json.loads((tmp_path / "a.json").read_text())
    assert list(result) == [
        *("schema", "reference", "candidate", "clouds", "limits", "layers", "causes", "advice", "passed", "frame")
    ]
    assert list(result["causes"][0]) == ["layer", "kind", "text", "advice", "facts", "clouds"]
    assert result["schema"] == "crosspoint.diagnose/1"
    assert result["clouds"] == {"usual": 3, "hostile": 7, "points": POINTS}
    assert result["causes"][0]["clouds"][:3] == ["clouds 0", "clouds 1", "clouds 2"]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 700
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
    assert [192, 57, 43] in colours.tolist()  # the layer that parts is red
    equal = run(saved(model, "a"), saved(model, "c"), "--points", POINTS)
    assert equal.exit_code == 0
    assert equal.output.splitlines()[-1].startswith("No difference")


def apart(name, channels, total):
    total = np.array(total)
    return Difference(Layer(name, ()), total, total / 2, np.array(channels), None, None)


CLOUDS = NamedClouds(np.zeros((3, 8, 3), np.float32), ["cloud 0", "cloud 1", "a line"], [False, False, True])


def test_equal_models_are_described_by_their_largest_errors():
    differences = [
        apart("edge1", [[1e-7, 2e-7], [0, 0], [0, 0]], [1e-7, 1e-7, 1e-7]),
        apart("edge2", [[0, 0], [0, 5e-6], [0, 0]], [2e-7, 2e-7, 2e-7]),
        apart("embedding", [[3e-6, 0], [0, 0], [0, 0]], [1e-6, 4e-6, 9e-6]),
    ]
    said = module._advice_on_equals(differences, CLOUDS, LIMITS["fp32"])
    assert said == "No difference: no layer adds more than 5.0e-06 (edge2), and the outputs agree to 4.0e-06."
    differences[2].total[2] = 3e-3
    said = module._advice_on_equals(differences, CLOUDS, LIMITS["fp32"])
    assert said.endswith(
        "agree to 4.0e-06 (3.0e-03 on a line: of points that are all but equally far, either may be a neighbour)."
    )


def test_a_row_has_the_errors_of_usual_and_of_hostile_clouds():
    rows = np.array([1.0, 3.0, 10.0])
    difference = Difference(
        Layer("edge2", ("edge1",)),
        rows,
        rows / 2,
        np.stack([rows / 100, rows / 50], axis=1),
        rows / 20,
        (6, 6),
        rows / 10,
    )
    row = module._row(difference, CLOUDS, LIMITS["fp32"])
    assert (row.name, row.inputs, row.parts) == ("edge2", ["edge1"], True)
    usual, hostile = row.usual, row.hostile
    assert (usual.total_max, usual.total_median) == (3.0, 2.0)
    assert (usual.introduced_max, usual.introduced_median) == (1.5, 1.0)
    assert (usual.channel_max, usual.overlap_min, usual.own_overlap_min) == (0.06, 0.1, 0.05)
    assert (hostile.total_max, hostile.total_median, hostile.channel_max) == (10.0, 10.0, 0.2)
    assert (hostile.overlap_min, hostile.own_overlap_min) == (1.0, 0.5)


def opened(monkeypatch, **options):
    """How the two models of a diagnosis are opened; the second is not."""
    calls = []

    class Stop(Exception):
        pass

    def load(*given, **chosen):
        calls.append((given, chosen))
        if len(calls) == 2:
            raise Stop
        return nullcontext()

    monkeypatch.setattr(module, "load_encoder", load)
    monkeypatch.setattr(module, "trained", lambda path: f"trained {path}")
    with pytest.raises(Stop):
        diagnose("a", "b", **options)
    return calls


def test_device_backend_and_trust_are_of_the_candidate(monkeypatch):
    run_on = RunOn("cuda:1", "tensorrt", trust=True)
    assert opened(monkeypatch, run_on=run_on, reference_device="cuda:2") == [
        (("trained a", "cuda:2"), {}),
        (("b", "cuda:1"), {"backend": "tensorrt", "trust": True}),
    ]
    assert opened(monkeypatch) == [(("trained a", "cpu"), {}), (("b", "cpu"), {"backend": None, "trust": False})]
