"""What `bench` says of made-up times and memory, by hand; nothing here is measured."""

from types import SimpleNamespace

import numpy as np
import pytest

from crosspoint.runtime.bench import bench
from crosspoint.runtime.bench.bench import Choice, Contender, _measure, _row
from crosspoint.runtime.bench.roofline import CpuSpeed, roofline_of
from crosspoint.runtime.specification import Specification

SPECIFICATION = Specification("dgcnn", 2048, None, None, "fp32", "onnxruntime", "cpu", "0" * 64, "m.onnx", engine="E 1")


def contender(times, specification=SPECIFICATION, memory=5000):
    made = object.__new__(Contender)
    made.choice = Choice("m.onnx", "onnxruntime", "cpu")
    made.encoder = SimpleNamespace(specification=specification)
    made.open_seconds, made.first_seconds, made.memory_bytes = 0.25, 0.125, memory
    made.times, made.points = times, 1024
    return made


def test_percentiles_rates_and_units_by_hand():
    times = [0.001 * i for i in range(1, 101)]  # 1 to 100 ms
    np.random.default_rng(0).shuffle(times)
    row = _row(contender(times), batch=8, threads=2, machine=CpuSpeed(100.0, 10.0))
    assert [row.p50_ms, row.p90_ms, row.p99_ms] == pytest.approx([51, 91, 100])  # at least so many of the calls
    assert row.clouds_per_second == pytest.approx(8 * 100 / 5.05)
    assert (row.open_ms, row.first_call_ms) == (250, 125)
    assert (row.calls, row.threads, row.memory_bytes) == (100, 2, 5000)
    floor = roofline_of("dgcnn", 1024, dim=2048, precision="fp32", batch=8)
    assert row.gflops == pytest.approx(floor.operations * row.clouds_per_second / 1e9)
    seconds = max(floor.operations / 100e9, floor.bytes / 10e9)
    assert row.floor.call_ms == pytest.approx(1e3 * 8 * seconds)


def test_a_gpu_has_no_threads_and_its_speed_is_not_the_cpus():
    specification = SPECIFICATION.__class__(**{**SPECIFICATION.__dict__, "device": "cuda:0"})
    row = _row(contender([0.1, 0.2], specification), batch=1, threads=2, machine=CpuSpeed(100.0, 10.0))
    assert row.threads is None
    assert row.floor.call_ms is None


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "int8+fp32"])
def test_the_time_of_float32_products_is_no_floor_of_a_lower_precision(precision):
    specification = SPECIFICATION.__class__(**{**SPECIFICATION.__dict__, "precision": precision})
    row = _row(contender([0.1, 0.2], specification), batch=1, threads=2, machine=CpuSpeed(100.0, 10.0))
    assert row.floor.operations > 0
    assert row.floor.call_ms is None


class Counted:
    """Stands for a contender whose every call takes the same time, and says who was called."""

    def __init__(self, name, seconds, order):
        self.name, self.seconds, self.order, self.times = name, seconds, order, []

    def call(self):
        self.order.append(self.name)
        return self.seconds


def test_contenders_are_called_in_turns_after_their_warm_up():
    order = []
    pair = [Counted("a", 1.0, order), Counted("b", 0.5, order)]
    _measure(pair, 6.0)
    assert order[:4] == ["a", "b", "a", "b"], "two calls of each that do not count"
    assert order[4:14] == ["a", "b"] * 5
    assert [len(each.times) for each in pair] == [6, 12], "each has had its time"


def test_at_least_five_calls_are_made():
    pair = [Counted("a", 100.0, [])]
    _measure(pair, 1.0)
    assert len(pair[0].times) == 5


def test_memory_is_the_growth_of_the_peak(monkeypatch):
    status = {"VmRSS": 1000, "VmHWM": 4500}
    monkeypatch.setattr(bench, "_status", status.get)
    monkeypatch.setattr(bench.Path, "write_text", lambda *_: None)
    assert bench._Memory("cpu").growth() == 3500
    status["VmHWM"] = 900
    assert bench._Memory("cpu").growth() == 0


def test_status_is_read_in_bytes():
    assert bench._status("VmHWM") == pytest.approx(bench._status("VmPeak"), rel=1.0)
    assert bench._status("VmRSS") % 1024 == 0
    assert bench._status("VmRSS") > 10 << 20, "a Python process with numpy has tens of megabytes"
    assert bench._status("NoSuchField") is None
