import hashlib
import json

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import load_classification, load_parts
from crosspoint.data.sets.renders import PairedRenders
from crosspoint.data.shapes import CATEGORIES, FIRST
from crosspoint.data.shapes import make_shapes as module
from crosspoint.data.shapes.make_shapes import ShapesSettings

pytest.importorskip("embreex")
SMALL = {"per_class": 2, "seed": 3, "views": 2, "size": 16, "points": 128, "jobs": 1}


def make(out, *, jobs, **settings):
    return module.make_shapes(out, ShapesSettings(**settings), jobs=jobs)


def digests(folder):
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "shapes"
    return out, make(out, **SMALL)


def test_result_counts_what_was_written(made):
    out, result = made
    assert result.train == 2 * len(FIRST)
    assert result.test == result.val == 4 * len(FIRST)
    assert len(list(out.rglob("*.ply"))) == result.train
    assert len(list(out.rglob("*.png"))) == 2 * result.train


def test_pairs_can_be_read(made):
    pairs = PairedRenders(made[0])
    assert len(pairs) == 2 * len(FIRST)
    assert pairs.keys[0] == "airplane/00000"
    assert pairs.points(0).shape == (128, 3)
    assert [file.name for file in pairs.images(0)] == ["00.png", "01.png"]


def test_classification_split_can_be_read_and_trains_on_the_pairs(made):
    data = load_classification(made[0] / "modelnet40_ply_hdf5_2048", points=128)
    assert data.class_names == FIRST
    assert np.bincount(data.train.labels).tolist() == [2] * len(FIRST)
    assert np.bincount(data.test.labels).tolist() == [4] * len(FIRST)
    pairs = PairedRenders(made[0])
    for key in ("chair/00001", "vase/00000"):
        category, number = key.split("/")
        index = int(number) * len(FIRST) + list(FIRST).index(category)
        assert data.train.labels[index] == list(FIRST).index(category)
        np.testing.assert_array_equal(data.train.points[index], normalise(pairs.points(pairs.keys.index(key))))


def test_part_split_can_be_read_and_labels_belong_to_the_category(made):
    data = load_parts(made[0] / "shapenet_part_seg_hdf5_data", points=128)
    assert data.taxonomy.categories == FIRST
    assert data.val is not None
    for split in (data.train, data.val, data.test):
        for label, parts in zip(split.labels, split.parts, strict=True):
            assert set(parts.tolist()) <= set(data.taxonomy.category_parts[label])


def test_part_labels_lie_where_the_part_is(made):
    data = load_parts(made[0] / "shapenet_part_seg_hdf5_data", points=128)
    table, top = list(FIRST).index("table"), data.taxonomy.parts.index("table/top")
    clouds = data.test.points[data.test.labels == table]
    for cloud, parts in zip(clouds, data.test.parts[data.test.labels == table], strict=True):
        assert cloud[parts == top, 1].min() > np.median(cloud[parts != top, 1])


def test_part_numbers_fit_the_published_type():
    taxonomy = module.part_taxonomy(module.categories_of(1))
    assert len(taxonomy["parts"]) <= 255
    assert [part for parts in taxonomy["category_parts"].values() for part in parts] == list(
        range(len(taxonomy["parts"]))
    )


def test_splits_share_no_object(made):
    data = load_parts(made[0] / "shapenet_part_seg_hdf5_data", points=128)
    clouds = np.concatenate([split.points for split in (data.train, data.val, data.test)])
    assert len(np.unique(clouds.reshape(len(clouds), -1), axis=0)) == len(clouds)


def test_same_seed_gives_the_same_bytes_with_any_number_of_processes(made, tmp_path):
    make(tmp_path / "again", **{**SMALL, "jobs": 2})
    assert digests(tmp_path / "again") == digests(made[0])


def test_the_second_edition_has_more_categories_and_parts(tmp_path, monkeypatch):
    few = ("ladder", "table", "airplane", "xbox")
    monkeypatch.setattr(module, "CATEGORIES", {name: CATEGORIES[name] for name in sorted(few)})
    result = make(tmp_path / "two", **{**SMALL, "edition": 2})
    assert result.categories == tuple(sorted(few))
    data = load_parts(tmp_path / "two" / "shapenet_part_seg_hdf5_data", points=128)
    assert "table/clutter" in data.taxonomy.parts
    assert make(tmp_path / "one", **SMALL).categories == ("airplane", "table")
    ours, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert ours["ShapeNet/table/00000.ply"] != two["ShapeNet/table/00000.ply"]


def test_part_numbers_of_the_second_edition_are_stored_whole(tmp_path):
    taxonomy = module.part_taxonomy(module.categories_of(2))
    item = module.Item("xbox", "train", 0, 2)
    cloud = module.Cloud(np.zeros((4, 3), np.float32), np.array([0, 1, 2, 0], np.uint8))
    clouds = {item._replace(split=split): cloud for split in module.SPLITS}
    module._write_parts(tmp_path / "parts", clouds, module.categories_of(2))
    first = taxonomy["category_parts"]["xbox"][0]
    assert first > 255
    with h5py.File(tmp_path / "parts" / "ply_data_train0.h5") as file:
        assert file["pid"][:].tolist() == [[first, first + 1, first + 2, first]]


def test_other_seed_gives_other_objects(made, tmp_path):
    make(tmp_path / "other", **{**SMALL, "seed": 4})
    ours, other = digests(made[0]), digests(tmp_path / "other")
    same = {name for name in ours if ours[name] == other[name]}
    assert same == {"modelnet40_ply_hdf5_2048/shape_names.txt", "shapenet_part_seg_hdf5_data/taxonomy.json"}


def test_more_objects_begin_with_the_same_ones(made, tmp_path):
    make(tmp_path / "more", **{**SMALL, "per_class": 3})
    ours, more = digests(made[0]), digests(tmp_path / "more")
    objects = [name for name in ours if name.startswith("ShapeNet")]
    assert objects
    assert all(ours[name] == more[name] for name in objects)
    fewer, larger = (
        load_classification(root / "modelnet40_ply_hdf5_2048", 128) for root in (made[0], tmp_path / "more")
    )
    np.testing.assert_array_equal(larger.test.points, fewer.test.points)
    np.testing.assert_array_equal(larger.train.points[: len(fewer.train.points)], fewer.train.points)


def test_the_order_of_categories_does_not_matter(made, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CATEGORIES", {name: CATEGORIES[name] for name in ("vase", "chair")})
    make(tmp_path / "two", **SMALL)
    ours, two = digests(made[0]), digests(tmp_path / "two")
    assert two["ShapeNet/chair/00001.ply"] == ours["ShapeNet/chair/00001.ply"]
    assert two["ShapeNetRendering/vase/00000/rendering/01.png"] == ours["ShapeNetRendering/vase/00000/rendering/01.png"]


def test_foreign_files_are_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds files that this command did not make"):
        make(tmp_path, **SMALL)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_earlier_result_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CATEGORIES", {"bowl": CATEGORIES["bowl"]})
    make(tmp_path / "out", **SMALL)
    make(tmp_path / "out", **{**SMALL, "per_class": 1})
    assert len(list((tmp_path / "out").rglob("*.ply"))) == 1


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CATEGORIES", {"bowl": CATEGORIES["bowl"]})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py, "File", full)
    with pytest.raises(InputError, match="No space left on device; free space"):
        make(tmp_path / "out", **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"), [("per_class", 0), ("seed", -1), ("views", 0), ("size", 7), ("points", 0), ("jobs", 0)]
)
def test_options_that_make_no_sense_are_refused(tmp_path, option, value):
    with pytest.raises(InputError, match=f"{option.replace('_', '-')} is {value}; it must be at least"):
        make(tmp_path / "out", **{**SMALL, option: value})
    assert not (tmp_path / "out").exists()


def test_command_writes_result_and_sheet(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(module, "CATEGORIES", {name: CATEGORIES[name] for name in ("mug", "cup", "bowl", "vase")})
    arguments = ["data", "make-shapes", "--out", str(tmp_path / "out"), "--per-class", "1", "--views", "1"]
    arguments += ["--size", "16", "--points", "64", "--jobs", "1", "--seed", "5"]
    arguments += ["--sheet", str(tmp_path / "sheet.png"), "--json", str(tmp_path / "result.json")]
    outcome = CliRunner().invoke(crosspoint, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "4 categories" in outcome.output
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result) == [
        *("schema", "per_class", "seed", "views", "size", "points", "edition", "out", "categories", "parts"),
        *("train", "test", "val", "seconds"),
    ]
    assert result["schema"] == "crosspoint.make-shapes/1"
    assert result["categories"] == ["mug", "cup", "bowl", "vase"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        colours = sheet.convert("RGB").getcolors(1 << 20)
    assert len(colours) > 10
