from types import SimpleNamespace

import numpy as np
import pytest

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.calibrate import CalibrationSet
from crosspoint.export.onnx.candidate_check import CandidateCheck
from crosspoint.export.onnx.choose import choose_half, choose_int8
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.precision import product_precisions
from crosspoint.parity.clouds import gate_clouds, ordinary
from crosspoint.parity.gate import Gate
from crosspoint.parity.reference import Reference
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.profile import make_profile

CALIBRATION = CalibrationSet(ordinary(4, 48), "made")


@pytest.fixture
def graph(network):
    return lambda name: build(deploy(network(name)), None)


class AccuracyOf:
    """Stands for a check with labelled data: accuracy is lost by a layer in int8, as much as a table says."""

    def __init__(self, lost, max_drop):
        self.lost, self.max_drop, self.measured, self.categories = lost, max_drop, 0, None
        self.accuracy = self.tuning = SimpleNamespace(measure="SVM accuracy")

    def finds_neighbours(self, model, precision):
        return True

    def tune(self, model, precision):
        assert precision == "int8"
        self.measured += 1
        low = [name for name, kind in product_precisions(model).items() if kind == "int8"]
        difference = -sum(self.lost.get(name, 0) for name in low) / 100
        return SimpleNamespace(task=SimpleNamespace(difference=difference, interval=None))


def unlabelled(finds=lambda model, precision: True):
    """Stands for a check without labelled data."""
    return SimpleNamespace(accuracy=None, categories=None, finds_neighbours=finds, tune=lambda model, precision: None)


def test_without_labels_every_layer_that_can_be_is_int8(graph):
    chosen = choose_int8(graph("dgcnn"), unlabelled(), calibration=CALIBRATION)
    assert chosen.kept == ["edge1/near", "edge1/own/product"]
    assert chosen.calibration == CALIBRATION.describe()
    assert set(chosen.sensitivity) == set(product_precisions(graph("dgcnn"))) - set(chosen.kept)
    assert all(error > 0 for error in chosen.sensitivity.values())


@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_the_most_sensitive_layers_return_until_accuracy_holds(bad, graph):
    model = graph("pointnet")
    sensitivity = choose_int8(model, unlabelled(), calibration=CALIBRATION).sensitivity
    order = sorted(sensitivity, key=lambda name: -sensitivity[name])
    check = AccuracyOf(dict.fromkeys(order[:bad], 1.0), max_drop=0.5)  # each of these loses too much
    chosen = choose_int8(model, check, calibration=CALIBRATION)
    assert set(chosen.kept) == {"layer1/linear/product", *order[:bad]}
    assert [name for name in product_precisions(model) if name in chosen.kept] == chosen.kept
    assert check.measured <= 4


@pytest.mark.parametrize("bad", [0, 1, 2, 4])
def test_the_most_sensitive_layers_return_until_the_neighbours_are_found(bad, graph):
    model = graph("dgcnn")
    sensitivity = choose_int8(model, unlabelled(), calibration=CALIBRATION).sensitivity
    order = sorted(sensitivity, key=lambda name: -sensitivity[name])

    def finds(lowered, precision):
        assert precision == "int8"
        return not any(product_precisions(lowered)[name] == "int8" for name in order[:bad])

    chosen = choose_int8(model, unlabelled(finds), calibration=CALIBRATION)
    assert set(chosen.kept) == {"edge1/near", "edge1/own/product", *order[:bad]}


def test_int8_that_never_finds_its_neighbours_is_left_to_the_gate(graph):
    chosen = choose_int8(graph("dgcnn"), unlabelled(lambda *_: False), calibration=CALIBRATION)
    assert chosen.kept == ["edge1/near", "edge1/own/product"]


def test_if_a_single_layer_loses_too_much_the_export_fails(graph):
    model = graph("pointnet")
    check = AccuracyOf(dict.fromkeys(product_precisions(model), 0.7), max_drop=0.5)
    with pytest.raises(CheckFailed, match=r"int8 loses more than 0\.5 points of SVM accuracy even in .* alone"):
        choose_int8(model, check, calibration=CALIBRATION)


@pytest.mark.parametrize(
    ("interval", "kept"), [((-0.02, -0.002), "most"), ((-0.02, 0.004), "none")], ids=["a loss", "chance"]
)
def test_a_loss_counts_if_chance_does_not_explain_it(interval, kept, graph):
    model = graph("pointnet")

    class Uncertain(AccuracyOf):
        def tune(self, model, precision):
            task = super().tune(model, precision).task
            return SimpleNamespace(task=SimpleNamespace(difference=task.difference, interval=interval))

    worst = max(choose_int8(model, unlabelled(), calibration=CALIBRATION).sensitivity.items(), key=lambda item: item[1])
    chosen = choose_int8(model, Uncertain({worst[0]: 1.0}, max_drop=0.5), calibration=CALIBRATION)
    assert (worst[0] in chosen.kept) == (kept == "most")


def test_without_clouds_of_its_own_the_search_keeps_what_the_export_has_to_keep(graph):
    model = graph("pointnet")
    worst = max(choose_int8(model, unlabelled(), calibration=CALIBRATION).sensitivity.items(), key=lambda item: item[1])
    check = AccuracyOf({worst[0]: 1.0}, max_drop=0.5)
    check.tuning = None
    tune = check.tune
    check.tune = lambda model, precision: _by_chance(tune(model, precision))
    assert worst[0] in choose_int8(model, check, calibration=CALIBRATION).kept


def _by_chance(check):
    """The same loss, which chance would explain."""
    return SimpleNamespace(task=SimpleNamespace(difference=check.task.difference, interval=(-0.02, 0.004)))


@pytest.mark.parametrize(("keep", "stays"), [(("edge4",), ("edge4/near", "edge4/own/product")), (("edge3/near",), ())])
def test_named_layers_stay_float32(keep, stays, graph):
    chosen = choose_int8(graph("dgcnn"), unlabelled(), calibration=CALIBRATION, keep=keep)
    assert set(chosen.kept) == {"edge1/near", "edge1/own/product", *(stays or keep)}


def test_names_of_no_layer_and_of_all_layers_are_refused(graph):
    with pytest.raises(InputError, match=r"--keep-fp32 edge: the network has no such layer; give one of edge1/near"):
        choose_int8(graph("dgcnn"), unlabelled(), calibration=CALIBRATION, keep=["edge"])
    every = ("edge1", "edge2", "edge3", "edge4", "embed")
    with pytest.raises(InputError, match="leaves no layer for int8"):
        choose_int8(graph("dgcnn"), unlabelled(), calibration=CALIBRATION, keep=every)


def test_a_network_without_wide_layers_is_refused(graph):
    model = graph("pointnet")
    for node in model.graph.node:
        node.op_type = "Identity" if node.op_type == "MatMul" else node.op_type
        if node.op_type == "Identity":
            del node.input[1:]
    del model.graph.node[1:]
    with pytest.raises(InputError, match="no layer that can be int8"):
        choose_int8(model, unlabelled(), calibration=CALIBRATION)


@pytest.mark.parametrize(("found_at", "kept"), [(0, 0), (2, 2), (4, 6)])
def test_layers_return_until_the_network_finds_its_neighbours(found_at, kept, graph):
    model, seen = graph("dgcnn"), []

    def finds(lowered, precision):
        low = [name for name, kind in product_precisions(lowered).items() if kind == "fp32"]
        seen.append(len(low))
        return len(low) >= kept

    chosen = choose_half(model, "bf16", check=SimpleNamespace(finds_neighbours=finds))
    assert len(chosen.kept) == kept
    assert seen == sorted(set(seen))
    assert chosen.kept == [*product_precisions(model)][:kept]


def test_what_never_finds_them_is_left_to_the_gate(graph):
    chosen = choose_half(graph("dgcnn"), "fp16", check=SimpleNamespace(finds_neighbours=lambda *_: False))
    assert chosen.kept == []


@pytest.fixture
def in_bf16(network):
    """A check, and a graph that it chose in bf16."""
    model = network("dgcnn")
    profile = make_profile(2, 48)
    check = CandidateCheck(Gate(Reference(model), gate_clouds(48)), profile, None, 0.2)
    exact = build(deploy(model), 48)
    return check, choose_half(exact, "bf16", check=check).model


EMULATED = "emulation in float32, every bf16 value rounded"


def test_bf16_keeps_the_neighbours_of_a_real_network_where_the_cpu_runs_it(in_bf16):
    check, model = in_bf16
    if kernels.lacks_bf16():
        pytest.skip(kernels.lacks_bf16())
    report = check.check("a.onnx", model, precision="bf16")
    assert report.status == "executed, passed the parity gate"
    assert (report.gate.candidate, report.emulation.candidate) == ("onnxruntime on the CPU", EMULATED)
    for result in (report.gate, report.emulation):
        assert result.overlap_min >= 0.99
        assert np.isfinite([case.relative_l2_max for case in result.cases]).all()
    assert report.gate.relative_l2_max < report.emulation.relative_l2_max  # it rounds less


def test_bf16_keeps_the_neighbours_of_a_real_network_in_an_emulation(in_bf16, monkeypatch):
    check, model = in_bf16
    monkeypatch.setattr(kernels, "lacks_bf16", lambda: "this CPU has no AVX512-BF16")
    report = check.check("a.onnx", model, precision="bf16")
    assert report.gate.overlap_min >= 0.99
    assert report.status == ("built, not executed: this CPU has no AVX512-BF16; an emulation passed the parity gate")
    assert (report.gate.candidate, report.emulation) == (EMULATED, None)
    assert np.isfinite([case.relative_l2_max for case in report.gate.cases]).all()


def test_a_bf16_graph_that_the_operators_do_not_take_is_emulated(in_bf16, monkeypatch):
    check, model = in_bf16
    monkeypatch.setattr(kernels, "lacks_bf16", lambda: "")
    model.ir_version += 1
    report = check.check("a.onnx", model, precision="bf16")
    assert report.status.startswith("built, not executed: the CPU operators do not take this graph;")
    assert report.gate.candidate == EMULATED
