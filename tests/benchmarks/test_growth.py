"""How cost grows: exponents on made-up costs, and a page whose tables and picture come from the stored measurement."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
STORED = ROOT / "docs" / "logs" / "growth.json"
PAGE = (ROOT / "docs" / "growth.md").read_text(encoding="utf-8")
BULK = [ROOT / "docs" / "logs" / f"bulk-{model}.json" for model in ("pointnet", "dgcnn")]


@pytest.fixture
def law(import_benchmark):
    return import_benchmark("scaling.law")


@pytest.fixture
def tables(import_benchmark):
    return import_benchmark("scaling.tables")


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_power_law_gives_its_exponent(power, law):
    sizes = [128 * 2**i for i in range(8)]
    assert law.exponent(sizes, [3e-4 * size**power for size in sizes]) == pytest.approx(power)


def test_small_sizes_which_a_constant_part_rules_do_not_count(law):
    sizes = [128 * 2**i for i in range(8)]
    costs = [max(size, 2048) ** 2 for size in sizes]
    assert law.upper(sizes) == [2048, 4096, 8192, 16384]
    assert law.exponent(sizes, costs) == pytest.approx(2)


def test_noise_is_averaged_by_least_squares(law):
    sizes, noise = [1, 2, 4, 8], [1.1, 0.9, 1.05, 0.95]
    costs = [size * factor for size, factor in zip(sizes, noise, strict=True)]
    assert law.exponent(sizes, costs) == pytest.approx(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def test_operations_of_a_cloud_are_counted_by_hand(law):
    n = 100
    weights = 3 * 64 + 64 * 64 + 64 * 64 + 64 * 128 + 128 * 1024
    assert law.operations("embed", "pointnet", n) == 2 * n * weights
    assert law.operations("train", "pointnet", n) == 6 * n * weights
    edges = 2 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 256) + 512 * 1024
    assert law.operations("embed", "dgcnn", n) == 2 * n * edges + 2 * n * n * (3 + 64 + 64 + 128)


def test_dgcnn_tends_to_the_square_and_pointnet_is_linear(law):
    far = [1e6, 2e6, 4e6, 8e6]
    assert law.theory("points", "embed", model="dgcnn", sizes=far)[0] == "2.00"
    assert law.theory("points", "embed", model="pointnet", sizes=far)[0] == "1.00"


def test_rows_along_a_quantity_differ_in_it_alone(tables):
    from scaling.work import Measured, Setting

    settings = [Setting("embed", "dgcnn", points, batch) for points, batch in ((4, 1), (2, 1), (1, 1), (1, 8), (1, 2))]
    rows = [tables.Row(setting, (Measured(1.0, 1.0, 1.0),)) for setting in settings]
    points = tables.along(rows, "points", task="embed", model="dgcnn")
    assert [(row.setting.points, row.setting.batch) for row in points] == [(1, 1), (2, 1), (4, 1)]
    batches = tables.along(rows, "batch", task="embed", model="dgcnn")
    assert [(row.setting.points, row.setting.batch) for row in batches] == [(1, 1), (1, 2), (1, 8)]
    assert tables.along(rows, "points", task="train", model="dgcnn") == []


def test_each_setting_is_measured_once(import_benchmark):
    growth = import_benchmark("growth")
    found = growth.settings(16384, 2)
    assert len(found) == len({*found})
    assert {setting.points for setting in found} == {*growth.POINTS}
    assert max(setting.points for setting in growth.settings(1024, 2)) == 1024


def test_one_setting_is_measured_in_its_own_process(import_benchmark, tmp_path):
    """The smallest there is; the library is not imported here, so its memory is not this process's."""
    growth = import_benchmark("growth")
    setting = growth.Setting("embed", "pointnet", 128, processes=2)
    measured = growth.measure(setting, growth.export(setting, tmp_path))
    assert measured.call_ms > 0
    assert 0 < measured.work_mb < measured.peak_mb


def test_a_process_that_fails_is_one_line(import_benchmark, tmp_path):
    from crosspoint.core.errors import CheckFailed

    growth = import_benchmark("growth")
    with pytest.raises(CheckFailed, match="give fewer --points") as caught:
        growth.measure(growth.Setting("embed", "pointnet", 128), tmp_path / "missing.onnx")
    assert "\n" not in str(caught.value)


def test_the_page_s_tables_are_those_of_the_stored_measurement(tables):
    for table in tables.tables(tables.read_rows(STORED)):
        assert "\n".join(table) in PAGE


def test_the_page_s_picture_is_that_of_the_stored_measurement(import_benchmark, tmp_path, tables):
    """The same pixels, but for other versions of the drawing library."""
    image = pytest.importorskip("matplotlib.image")
    import_benchmark("scaling.picture").draw(tables.read_rows(STORED), tmp_path / "growth.png")
    drawn, shown = image.imread(tmp_path / "growth.png"), image.imread(ROOT / "docs" / "images" / "growth.png")
    assert drawn.shape == shown.shape
    assert np.abs(drawn - shown).mean() < 0.02
    assert "images/growth.png" in PAGE


def test_tables_are_printed_without_measuring():
    command = [sys.executable, str(ROOT / "benchmarks"), "growth", "--read", str(STORED)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] in PAGE


def test_a_result_of_another_benchmark_is_refused(tables):
    from crosspoint.core.errors import InputError

    with pytest.raises(InputError, match="benchmarks growth"):
        tables.read_rows(ROOT / "benchmarks" / "baseline" / "guard.json")


@pytest.mark.parametrize("stored", BULK, ids=lambda file: file.stem)
def test_the_page_s_tables_of_a_folder_are_those_of_the_stored_measurement(stored, import_benchmark):
    document = json.loads(stored.read_text())
    table = import_benchmark("bulk").table(document["rows"], document["settings"]["files"])
    assert "\n".join(table) in PAGE


def test_shards_cover_a_folder_together_and_are_bound_to_a_core_each(import_benchmark):
    bulk = import_benchmark("bulk")
    words = bulk.commands("one process a core", ["crosspoint", "embed"], 2)
    assert words == [
        ["taskset", "-c", "0", "crosspoint", "embed", "--shard", "1/2"],
        ["taskset", "-c", "1", "crosspoint", "embed", "--shard", "2/2"],
    ]
    assert bulk.commands("one process", ["crosspoint"], 2) == [["crosspoint"]]


def test_a_command_that_fails_ends_the_benchmark_with_its_last_line(import_benchmark):
    from crosspoint.core.errors import CheckFailed

    bulk = import_benchmark("bulk")
    fail = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    with pytest.raises(CheckFailed, match="no such model"):
        bulk.run([fail], sample=lambda roots: 0)


def test_the_files_of_a_folder_are_all_different(import_benchmark, tmp_path):
    bulk = import_benchmark("bulk")
    bulk.make_files(tmp_path / "files", 130, 8)
    contents = {file.read_bytes() for file in (tmp_path / "files").iterdir()}
    assert len(contents) == 130
