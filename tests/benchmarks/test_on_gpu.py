"""The parts of the GPU's benchmarks that need no GPU: floors, tables, refusals."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def floors(import_benchmark):
    return import_benchmark("on_gpu.floors")


@pytest.fixture
def step(import_benchmark):
    return import_benchmark("on_gpu.step")


@pytest.fixture
def inference(import_benchmark):
    return import_benchmark("on_gpu.inference")


def never():
    raise AssertionError("the bandwidth of a known card is not measured")


def test_a_card_is_known_by_the_name_that_pytorch_gives(floors):
    assert floors.find_card("NVIDIA H200", never).bandwidth == 4.8e12
    assert floors.find_card("NVIDIA H100 80GB HBM3", never).peak == 67e12
    assert floors.find_card("NVIDIA L4", never).bandwidth == 0.3e12
    assert floors.find_card("NVIDIA L40S", never).bandwidth == 0.864e12


def test_the_bandwidth_of_an_unknown_card_is_measured_and_its_peak_stays_unknown(floors):
    card = floors.find_card("NVIDIA GeForce RTX 2060", lambda: 3e11)
    assert (card.bandwidth, card.peak) == (3e11, None)
    assert "unknown" in card.source


def test_the_floor_is_the_longer_of_memory_and_arithmetic(floors):
    card = floors.Card("a card", 1e12, 1e13, "")
    assert floors.Cost(2e9, 1e10).floor_ms(card) == pytest.approx(2.0)
    assert floors.Cost(2e9, 5e10).floor_ms(card) == pytest.approx(5.0)
    assert floors.Cost(2e9, 5e10).floor_ms(floors.Card("another", 1e12, None, "")) == pytest.approx(2.0)


def test_the_work_of_an_edgeconv_is_counted_by_hand(step):
    """Two clouds of 10 points, 3 neighbours, 4 channels to 5."""
    costs = step.layer_costs(20, 10, k=3, channels=(4, 5))
    assert costs["neighbours"].operations == 2 * 2 * 10 * 10 * 4
    assert costs["neighbours"].bytes == 20 * 4 * 4 + 20 * 3 * 8
    assert costs["edge moments"].operations == 3 * 2 * 20 * 4 * 4
    assert costs["maximum"].bytes == 20 * 5 * (4 + 4 + 1) + 20 * 3 * 8
    assert costs["products"].operations == 3 * 2 * (2 * 20 * 4 * 5)


def test_the_floor_of_a_step_is_the_sum_of_its_parts(floors, step):
    card = floors.find_card("NVIDIA H200", never)
    parts = [cost.floor_ms(card) for _, _, cost in step.step_costs(256, 1024)]
    assert len(parts) == 4 * 5 + 1
    assert step.step_floor(card, 256, 1024) == pytest.approx(sum(parts))


def test_the_table_has_the_ratio_and_the_floors_share(step):
    row = {"layer": "EdgeConv 1", "part": "neighbours", "pytorch_ms": 9.0, "kernels_ms": 3.0, "floor_ms": 1.5}
    assert step.table([row])[-1] == "| EdgeConv 1 | neighbours | 9.000 ms | 3.000 ms | 3.0 × | 1.500 ms | 50% |"


def test_every_part_is_run_on_both_paths_and_stands_beside_its_floor(floors, step):
    """On the CPU, where both paths are the same."""
    import torch

    card = floors.Card("a CPU", 1e10, 1e11, "")
    rows = step.measure_parts(card, 1, 32, device=torch.device("cpu"), rounds=1)
    assert {row["layer"] for row in rows} == {f"EdgeConv {i}" for i in (1, 2, 3, 4)}
    assert len(rows) == 16
    assert all(row["kernels_ms"] > 0 and row["floor_ms"] > 0 for row in rows)


def test_percentiles_are_those_of_the_values(floors):
    assert floors.percentiles(range(101)) == (50.0, 90.0, 99.0)


@pytest.mark.parametrize("words", [["train_step", "--device", "cuda"], ["inference", "--device", "cuda:7"]])
def test_without_the_gpu_the_refusal_is_one_line(words):
    import torch

    if torch.cuda.device_count() > 7 or (torch.cuda.is_available() and words[-1] == "cuda"):
        pytest.skip("the GPU is there")
    done = subprocess.run([sys.executable, str(ROOT), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--device cuda" in done.stderr


def measured_here(floors, inference, tmp_path, model, skip):
    """On the CPU, which has no CUDA graphs."""
    import torch

    torch.set_num_threads(1)
    card, clouds = floors.Card("a CPU", 1e10, 1e11, ""), inference.clouds_of(2, 64)
    where = {"device": torch.device("cpu"), "folder": tmp_path}
    return inference.measure_batch(model, clouds, card=card, **where, rounds=3, skip=skip)


@pytest.mark.parametrize("model", ["dgcnn", "pointnet"])
def test_forms_that_compute_the_same_have_percentiles_beside_a_floor(floors, inference, tmp_path, model):
    rows, series = measured_here(floors, inference, tmp_path, model, skip=["torch.compile"])
    assert [row["form"] for row in rows] == ["ONNX Runtime", "PyTorch"]
    assert all(row["floor_ms"] > 0 and row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] for row in rows)
    assert [len(one.values) for one in series] == [3, 3]
    assert len(inference.table(rows)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dgcnn", "pointnet"])
def test_a_compiled_network_computes_what_the_others_do(floors, inference, tmp_path, model):
    rows, _ = measured_here(floors, inference, tmp_path, model, skip=[])
    assert "torch.compile" in [row["form"] for row in rows]


def test_forms_that_compute_something_else_are_not_measured(inference):
    from crosspoint.core.errors import CheckFailed

    runs = {"one": lambda clouds: clouds, "other": lambda clouds: clouds * 1.01}
    with pytest.raises(CheckFailed, match=r"other differs from one by 1\.0e-02, more than 0\.001"):
        inference.check_equal(runs, inference.clouds_of(1, 8))


def test_the_floor_of_pointnet_is_counted_by_hand(floors, inference):
    """One cloud of 10 points: 2 · 10 operations a weight, of 3·64 + 64·64 + 64·64 + 64·128 + 128·1024 weights."""
    card = floors.Card("a card", 1e15, 1e9, "")
    weights = 3 * 64 + 64 * 64 + 64 * 64 + 64 * 128 + 128 * 1024
    assert inference.floor_ms(card, "pointnet", 10, dim=1024, batch=1) == pytest.approx(2 * 10 * weights / 1e6)
