"""Every target on miniature sets in the published formats."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from plyfile import PlyData, PlyElement
from safetensors.numpy import load_file

from crosspoint.cli import crosspoint
from crosspoint.commands.eval.reproduce import TARGETS as NAMES
from crosspoint.commands.eval.reproduce import duration
from crosspoint.core.errors import InputError
from crosspoint.data.sets.taxonomy import MODELNET40, SCANOBJECTNN
from crosspoint.eval.paper import published
from crosspoint.eval.paper.comparison import comparison_rows
from crosspoint.eval.paper.protocols import StudyOptions, measure
from crosspoint.eval.paper.reproduce import TARGETS, describe_set, reproduce
from crosspoint.eval.paper.results import TableRow
from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet
from crosspoint.models.image import ImageEncoder
from crosspoint.models.weights import save_model
from crosspoint.runtime.options import RunOn, Sampling

STORED, CLASSES = 16, 10


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return StudyOptions(Sampling(STORED, seeds=2), RunOn(cache=cache), 2, 3, ("epochs=1", "batch=40"))


def clouds(per_class, seed, classes=CLASSES):
    """Ellipsoids whose axes depend on the class."""
    axes = np.random.default_rng(0).uniform(0.2, 1.5, (classes, 3))
    labels = np.repeat(np.arange(classes), per_class)
    points = np.random.default_rng((seed, 1)).standard_normal((len(labels), STORED, 3)) * axes[labels][:, None]
    return points.astype(np.float32), labels


def write(path, points, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = points, labels.astype(np.uint8)[:, None]


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    """ModelNet40 and ScanObjectNN with ten of their classes, 42 + 20 objects of each, in one folder."""
    root = tmp_path_factory.mktemp("sets")
    for split, count, seed in (("train", 42, 0), ("test", 20, 1)):
        write(root / "modelnet40_ply_hdf5_2048" / f"ply_data_{split}0.h5", *clouds(count, seed))
        name = {"train": "training", "test": "test"}[split]
        write(root / "main_split" / f"{name}_objectdataset.h5", *clouds(count, seed))
    names = [*published.MODELNET10[:9], "airplane"]
    (root / "modelnet40_ply_hdf5_2048" / "shape_names.txt").write_text("\n".join(names))
    return root


def saved(model, path, **recipe):
    save_model(model.eval(), path, recipe=recipe or None)
    return str(path)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Untrained encoders whose files say that they were trained in the ways that the paper compares."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    made = {"pointnet": saved(PointNet(), root / "pointnet.safetensors")}
    made["dgcnn"] = saved(DGCNN(k=4), root / "dgcnn.safetensors")
    for objective in ("joint", "imid", "cmid"):
        made[objective] = saved(PointNet(), root / f"{objective}.safetensors", objective=objective, views=1)
    for views in (1, 3):
        made[views] = saved(PointNet(), root / f"views{views}.safetensors", objective="joint", views=views)
    made["image"] = saved(ImageEncoder(18), root / "image_encoder.safetensors", objective="joint")
    return made


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, writers):
    return writers["cifar-fs"](tmp_path_factory.mktemp("cifar") / "cifar-fs", noise=25)


def check(out, name, result, paper):
    """The three files say what was returned, and the paper's numbers are the expected ones."""
    written = json.loads((out / f"{name}.json").read_text())
    assert written == json.loads(json.dumps(result.to_json()))
    assert list(written) == [
        *("schema", "target", "title", "source", "unit", "needs", "data", "models", "rules", "rows", "notes", "files")
    ]
    assert list(written["rows"][0]) == ["method", "setting", "paper", "official", "clean"]
    assert list(written["rows"][0]["clean"]) == ["mean", "std", "standard_error", "over", "interval", "values"]
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (out / f"{name}.md").read_text()
    assert result.title in page
    assert [None if row.paper is None else row.paper.value for row in result.rows] == paper
    for cell in (cell for row in result.rows for cell in (row.official, row.clean) if cell):
        means = [np.mean(values) for values in cell.values]
        assert cell.summary.mean == pytest.approx(np.mean(means))
        assert 1 < cell.summary.mean <= 100, "per cent, not a fraction of one"
    assert any("not the paper's" in note for note in result.notes)


@pytest.mark.parametrize(("name", "paper"), [("table1", [91.2, 89.1]), ("table2", [81.7, 75.6])])
def test_linear_tables(tmp_path, sets, models, name, paper, small):
    result = reproduce(name, sets, models=[models["pointnet"], models["dgcnn"]], out=tmp_path, options=small)
    check(tmp_path, name, result, sorted(paper))
    for row in result.rows:
        assert row.official.interval[0] < row.official.summary.mean < row.official.interval[1]
        assert row.official.summary.mean > 15  # ten classes
    low, high = result.rows[0].official.interval  # on the first points, so it is not repeated
    assert f"(95 %: {low:.2f} … {high:.2f})" in (tmp_path / f"{name}.md").read_text()


@pytest.mark.parametrize(
    ("name", "paper"), [("table3", [92.5, 94.9, 83.6, 87.9]), ("table4", [74.8, 79.0, 62.9, 73.9])]
)
def test_fewshot_tables(tmp_path, sets, models, name, paper, small):
    result = reproduce(name, sets, models=[models["dgcnn"]], out=tmp_path, options=small)
    check(tmp_path, name, result, paper)
    assert [row.setting for row in result.rows] == [
        "5-way 10-shot", "5-way 20-shot", "10-way 10-shot", "10-way 20-shot",
    ]  # fmt: skip
    assert all(cell.over == "2 tasks" for row in result.rows for cell in (row.official, row.clean))
    assert any("PointNet: no model" in note for note in result.notes)


def test_number_of_images(tmp_path, sets, models, small):
    result = reproduce("table6", sets, models=[models[3], models[1]], out=tmp_path, options=small)
    check(tmp_path, "table6", result, [91.2, 90.9])
    assert [row.method for row in result.rows] == ["n = 1", "n = 3"]


@pytest.fixture
def part_set(tmp_path):
    """ShapeNetPart's format with a taxonomy of its own: two categories of two parts, 12 + 6 objects of 16 points."""
    folder = tmp_path / "shapenet_part_seg_hdf5_data"
    folder.mkdir()
    for split, count, seed in (("train", 6, 0), ("test", 3, 1)):
        points, labels = clouds(count, seed, 2)
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file["data"], file["label"] = points, labels.astype(np.uint8)[:, None]
            file["pid"] = (2 * labels[:, None] + (points[..., 1] > 0)).astype(np.uint8)
    taxonomy = {"categories": ["a", "b"], "parts": ["a/0", "a/1", "b/0", "b/1"]}
    (folder / "taxonomy.json").write_text(json.dumps({**taxonomy, "category_parts": {"a": [0, 1], "b": [2, 3]}}))
    return folder


def test_part_segmentation(tmp_path, part_set, small):
    scratch = saved(DGCNNSegmenter(4, 2, k=4), tmp_path / "a.safetensors", initial=None, selection="val")
    pretrained = saved(DGCNNSegmenter(4, 2, k=4), tmp_path / "b.safetensors", initial="0" * 64, selection="test")
    result = reproduce("table5", part_set, models=[scratch, pretrained], out=tmp_path, options=small)
    check(tmp_path, "table5", result, [85.5, None, 85.1, None])
    assert any("b.safetensors: its best epoch was chosen on the test split" in note for note in result.notes)
    with pytest.raises(InputError, match="--pairs cannot train the models of this table; runs of `crosspoint fin"):
        invoke("reproduce", "table5", "--data", part_set, "--pairs", tmp_path, "--out", tmp_path)


def test_images(tmp_path, pictures, models, small):
    result = reproduce("table7", pictures, models=[models["image"]], out=tmp_path, options=small)
    check(tmp_path, "table7", result, [24.12, 28.18, 60.20, 76.79, 64.45, 80.14])


def test_objectives_on_both_sets(tmp_path, sets, models, small):
    result = reproduce(
        "figure3", sets, models=[models["joint"], models["imid"], models["cmid"]], out=tmp_path, options=small
    )
    check(tmp_path, "figure3", result, [91.2, None, 90.0, 81.7, None, 81.0])


def test_clusters_of_the_three_objectives(tmp_path, sets, models, small):
    result = reproduce(
        "figure4", sets, models=[models["joint"], models["imid"], models["cmid"]], out=tmp_path, options=small
    )
    check(tmp_path, "figure4", result, [None, None, None])
    assert any("classes shown: bathtub" in note for note in result.notes)


def test_several_models_of_one_part_are_its_seeds(tmp_path, sets, models, small):
    result = reproduce("table1", sets, models=[models["pointnet"], models["joint"]], out=tmp_path, options=small)
    (row,) = result.rows
    means = [np.mean(values) for values in row.clean.values]
    assert row.clean.over == "2 models"
    assert row.clean.summary.mean == pytest.approx(np.mean(means))
    assert row.clean.summary.std == pytest.approx(np.std(means, ddof=1))


def test_a_model_whose_part_is_not_known_is_refused_with_the_way_to_say_it(tmp_path, sets, models, small):
    with pytest.raises(InputError, match=r"the role not recorded.*--model joint="):
        reproduce("figure3", sets, models=[models["pointnet"]], out=tmp_path, options=small)
    result = reproduce("figure3", sets, models=[f"cmid={models['pointnet']}"], out=tmp_path, options=small)
    assert [row.method for row in result.rows] == ["cross-modal alone"] * 2


def test_no_model_says_which_are_needed(tmp_path, sets, small):
    with pytest.raises(InputError, match="table6 needs models; runs with --views 1 to 5"):
        reproduce("table6", sets, models=[], out=tmp_path, options=small)


def test_the_published_set_is_recognised_by_counts_and_names(tmp_path):
    root = tmp_path / "modelnet40_ply_hdf5_2048"
    for split, count in (("train", 9840), ("test", 2468)):
        write(root / f"ply_data_{split}0.h5", np.zeros((count, 1, 3), np.float32), np.arange(count) % 40)
    assert describe_set("modelnet40", root).published
    (root / "shape_names.txt").write_text("\n".join(reversed(MODELNET40.split())))
    assert not describe_set("modelnet40", root).published


def test_counts_alone_do_not_make_the_published_set(tmp_path):
    write(
        tmp_path / "main_split" / "training_objectdataset.h5", np.zeros((2309, 1, 3), np.float32), np.arange(2309) % 15
    )
    found = describe_set("scanobjectnn", tmp_path / "main_split")
    assert len(SCANOBJECTNN.split()) == found.classes
    assert not found.published
    assert "not the published set (2309 + 581)" in found.remark


def test_the_variant_without_background_is_not_the_published_set(tmp_path):
    folder = tmp_path / "main_split_nobg"
    for name, count in (("training", 2309), ("test", 581)):
        write(folder / f"{name}_objectdataset.h5", np.zeros((count, 1, 3), np.float32), np.arange(count) % 15)
    found = describe_set("scanobjectnn", folder)
    assert not found.published
    assert "the variant without background, not the published set" in found.remark


def test_the_published_deviation_stands_beside_ours():
    cell = replace(measure([[0.5, 0.7, 0.9]], "tasks"), std_n=16.33)
    rows = comparison_rows(SimpleNamespace(rows=[TableRow("DGCNN", "5-way 10-shot", None, cell, None)]))
    assert rows[0][3] == "70.00 ± 20.00 (16.33 with n)"


def test_measure_of_one_model_is_over_its_repetitions():
    found = measure([[0.5, 0.7]], "tasks", interval=(0.4, 0.8))
    assert (found.summary.mean, found.over, found.interval) == (pytest.approx(60), "2 tasks", (40, 80))
    assert found.summary.std == pytest.approx(100 * np.std([0.5, 0.7], ddof=1))


def invoke(*arguments, **options):
    return CliRunner().invoke(crosspoint, [str(a) for a in arguments], catch_exceptions=False, **options)


def test_the_command_knows_every_target():
    assert set(NAMES) == set(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_every_target_says_what_it_needs(name):
    output = " ".join(invoke("reproduce", name, "--needs").output.split())
    assert "source:" in output
    assert "http" in output
    assert "models: " in output or "model: " in output


def test_without_data_the_needs_are_shown_and_the_command_fails():
    with pytest.raises(InputError, match="give --data ROOT"):
        invoke("reproduce", "table1")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """ShapeNetRender's layout: 6 objects with 16 points and one 32×32 rendering."""
    root, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for i in range(6):
        vertices = np.array([tuple(p) for p in rng.normal(size=(16, 3))], [("x", "f4"), ("y", "f4"), ("z", "f4")])
        (root / "ShapeNet" / "c").mkdir(parents=True, exist_ok=True)
        PlyData([PlyElement.describe(vertices, "vertex")]).write(root / "ShapeNet" / "c" / f"{i}.ply")
        folder = root / "ShapeNetRendering" / "c" / str(i) / "rendering"
        folder.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 4), dtype=np.uint8), "RGBA").save(folder / "00.png")
    return root


TINY = ("points=16", "k=4", "batch=3", "epochs=1", "image_size=32", "image_depth=18", "backbone=pointnet")


def test_missing_models_are_trained_after_saying_how_long(tmp_path, sets, pairs, models):
    overrides = [word for value in TINY for word in ("--set", value)]
    arguments = ("reproduce", "figure3", "--data", sets / "modelnet40_ply_hdf5_2048", "--points", 16, "--seeds", 1)
    rest = ("--model", models["joint"], "--pairs", pairs, *overrides, "--out", tmp_path)
    with pytest.raises(InputError, match="nothing was trained"):
        invoke(*arguments, *rest, input="n\n")
    assert not (tmp_path / "runs").exists()
    result = invoke(*arguments, *rest, "--yes", "--json", tmp_path / "all.json")
    assert re.search(r"to train: imid-0, 1 epochs, about \d+ s", result.stderr)
    written = json.loads((tmp_path / "all.json").read_text())
    assert written["schema"] == "crosspoint.reproduce/1"
    assert [row["method"] for row in written["rows"]] == ["joint", "intra-modal alone", "cross-modal alone"]
    assert any("pretrained on 6 objects" in note for note in written["notes"])
    assert load_file(tmp_path / "runs" / "cmid-0" / "encoder.safetensors")


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (600, "10 min"), (12600, "3.5 h"), (181440, "2.1 days")])
def test_durations_as_a_person_says_them(seconds, text):
    assert duration(seconds) == text
