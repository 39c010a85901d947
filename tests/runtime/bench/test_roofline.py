import pytest

from crosspoint.runtime.bench import roofline
from crosspoint.runtime.bench.roofline import CpuSpeed, Roofline, measure_machine, processor, roofline_of


def test_operations_and_bytes_of_dgcnn_counted_by_hand():
    floor = roofline_of("dgcnn", points=1024, dim=2048, precision="fp32", batch=8)
    edges = 3 * 64 + 64 * 64 + 64 * 128 + 128 * 256  # channels in × out
    products = 1024 * (2 * edges + 512 * 1024)  # two per EdgeConv, and the embedding
    pairs = 1024 * 1024 * (3 + 64 + 64 + 128) // 2  # distances are symmetric
    assert floor.operations == 2 * (products + pairs)
    assert floor.bytes == 4 * (1024 * 3 + 2048) + 4 * (2 * edges + 512 * 1024) // 8


def test_pointnet_has_no_distances():
    floor = roofline_of("pointnet", points=10, dim=1024, precision="fp16", batch=1)
    weights = 3 * 64 + 64 * 64 * 2 + 64 * 128 + 128 * 1024
    assert (floor.operations, floor.bytes) == (20 * weights, 4 * (30 + 1024) + 2 * weights)


def test_an_unknown_architecture_has_no_floor():
    assert roofline_of("unknown", 10, dim=10, precision="fp32", batch=1) is None


def test_the_slower_of_products_and_memory_counts():
    machine = CpuSpeed(gflops=100, gigabytes=10)
    assert machine.seconds(Roofline(operations=10**11, bytes=10**9)) == pytest.approx(1)
    assert machine.seconds(Roofline(operations=10**9, bytes=10**10)) == pytest.approx(1)


def test_this_machine():
    machine = measure_machine(1, repeats=1)
    assert machine.gflops > 0
    assert machine.gigabytes > 0
    assert "cores" in processor()


def test_the_speed_is_operations_and_bytes_by_the_fastest_run(monkeypatch):
    """A product of 4096 × 512 and 512 × 1024, two operations each, and a copy of 2²⁴ float32, read and written."""
    times = iter((0.5, 0.25))
    monkeypatch.setattr(roofline, "_fastest", lambda work, repeats: next(times))
    machine = measure_machine(1)
    assert machine.gflops == pytest.approx(2 * 4096 * 512 * 1024 / 0.5 / 1e9)
    assert machine.gigabytes == pytest.approx(2 * 4 * 2**24 / 0.25 / 1e9)


def test_the_fastest_of_all_runs_counts(monkeypatch):
    clock = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(clock))
    ran = []
    assert roofline._fastest(lambda: ran.append(1), 3) == 1.0
    assert len(ran) == 3
