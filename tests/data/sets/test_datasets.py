import json
import os
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from crosspoint.core.errors import InputError
from crosspoint.data.sets.datasets import PairedRenders, load_classification, load_parts, recognise
from crosspoint.data.sets.layout import is_variant, locate
from crosspoint.data.sets.taxonomy import SHAPENETPART


def change(path, name, array):
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = array


def stored(path, name):
    with h5py.File(path) as file:
        return file[name][:]


def test_modelnet40(modelnet):
    for root in (modelnet, modelnet.parent):
        found = load_classification(root, 40)
        assert found.name == "modelnet40"
        assert len(found.class_names) == 40
        assert (found.class_names[0], found.class_names[39]) == ("airplane", "xbox")
        assert found.train.points.shape == (95, 40, 3)
        assert found.test is not None
        assert found.test.points.shape == (41, 40, 3)
        assert found.train.points.dtype == np.float32
        assert found.train.labels.dtype == np.int64
        first = [stored(modelnet / f"ply_data_train{number}.h5", "data")[:, :40] for number in (0, 1)]
        np.testing.assert_array_equal(found.train.points, np.concatenate(first))
        np.testing.assert_array_equal(found.train.labels, [*(np.arange(50) % 40), *(np.arange(45) % 40)])
    assert load_classification(modelnet, None).train.points.shape == (95, 64, 3)


def test_more_than_ten_files_are_joined_in_order(modelnet):
    for number in range(2, 12):
        os.link(modelnet / "ply_data_test0.h5", modelnet / f"ply_data_train{number}.h5")
    labels = load_classification(modelnet, 8).train.labels
    assert len(labels) == 95 + 10 * 41
    np.testing.assert_array_equal(labels[:50], np.arange(50) % 40)


def test_test_split_may_be_absent_and_names_given(modelnet):
    (modelnet / "ply_data_test0.h5").unlink()
    (modelnet / "shape_names.txt").write_text("\n".join(f"class{i}" for i in range(41)) + "\n")
    found = load_classification(modelnet, 8)
    assert found.test is None
    assert found.class_names[40] == "class40"
    (modelnet / "shape_names.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match=r"train0\.h5: label has values from 0 to 39, but 0 to 1 are allowed"):
        load_classification(modelnet, 8)


@pytest.mark.parametrize("names", [("training_objectdataset.h5", "test_objectdataset.h5"), ("train.h5", "test.h5")])
@pytest.mark.parametrize("dtype", ["u1", "i4", "i8"])
def test_scanobjectnn(scanobjectnn, names, dtype):
    for old, new in zip(("training_objectdataset.h5", "test_objectdataset.h5"), names, strict=True):
        change(scanobjectnn / old, "label", stored(scanobjectnn / old, "label").reshape(-1).astype(dtype))
        (scanobjectnn / old).rename(scanobjectnn / new)
    for root in (scanobjectnn, scanobjectnn.parent, scanobjectnn.parent.parent):
        found = load_classification(root, 64)
        assert found.name == "scanobjectnn"
        assert found.class_names[12] == "sink"
        assert found.train.points.shape == (20, 64, 3)
        assert found.test is not None
        np.testing.assert_array_equal(found.test.labels, np.arange(15))


def test_shapenetpart(parts):
    found = load_parts(parts.parent, 48)
    assert found.name == "shapenetpart"
    assert found.taxonomy is SHAPENETPART
    assert found.train.points.shape == (32, 48, 3)
    assert found.val is not None
    assert found.test.parts.shape == (16, 48)
    assert found.test.parts.dtype == np.int64
    np.testing.assert_array_equal(found.test.parts[:, 0], [numbers[0] for numbers in SHAPENETPART.category_parts])
    (parts / "ply_data_val0.h5").unlink()
    assert load_parts(parts, 48).val is None


def test_shapenetparts_taxonomy():
    assert len(SHAPENETPART.categories) == 16
    assert len(SHAPENETPART.parts) == 50
    numbers = dict(zip(SHAPENETPART.categories, SHAPENETPART.category_parts, strict=True))
    assert numbers["Earphone"] == (16, 17, 18)
    assert numbers["Motorbike"] == (30, 31, 32, 33, 34, 35)
    assert numbers["Table"] == (47, 48, 49)


def test_taxonomy_beside_the_files(parts):
    taxonomy = {
        "categories": [f"c{i}" for i in range(16)],
        "parts": [f"p{i}" for i in range(50)],
        "category_parts": {f"c{i}": list(SHAPENETPART.category_parts[i]) for i in range(16)},
    }
    (parts / "taxonomy.json").write_text(json.dumps(taxonomy))
    renamed = parts.rename(parts.parent / "other_parts")
    found = load_parts(renamed.parent, 8)
    assert found.taxonomy.categories[3] == "c3"
    assert found.taxonomy.category_parts == SHAPENETPART.category_parts


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"categories": ["a"], "parts": ["x"], "category_parts": {}}',
        '{"categories": ["a"], "parts": ["x"], "category_parts": {"a": [1]}}',
        '{"categories": ["a", "b"], "parts": ["x"], "category_parts": {"a": [0], "b": [0]}}',
        '{"categories": ["a", "b"], "parts": ["x"], "category_parts": {"a": [0], "b": []}}',
        '{"categories": [], "parts": [], "category_parts": {}}',
        '{"categories": 3, "parts": [], "category_parts": {}}',
    ],
)
def test_bad_taxonomies(parts, content):
    (parts / "taxonomy.json").write_text(content)
    with pytest.raises(InputError, match=r"taxonomy\.json: .*correct it$"):
        load_parts(parts, 8)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("data", np.zeros((50, 64, 2), np.float32), r"data is float32 \(50, 64, 2\)"),
        ("data", np.zeros((50, 64, 3), np.int32), "data is int32"),
        ("data", np.zeros((0, 64, 3), np.float32), "data is float32"),
        ("data", np.full((50, 64, 3), np.nan, np.float32), "NaN or infinite"),
        ("label", np.zeros((49, 1), np.uint8), "not whole numbers for 50 clouds"),
        ("label", np.zeros((50, 2), np.uint8), "not whole numbers"),
        ("label", np.zeros((50, 1), np.float32), "label is float32"),
        ("label", np.full((50, 1), 40, np.uint8), "label has values from 40 to 40, but 0 to 39 are allowed"),
        ("label", np.full((50, 1), -1, np.int8), "label has values from -1"),
    ],
)
def test_wrong_arrays(modelnet, name, array, message):
    change(modelnet / "ply_data_train0.h5", name, array)
    with pytest.raises(InputError, match=message) as caught:
        load_classification(modelnet, 8)
    assert str(caught.value).startswith(f"{modelnet / 'ply_data_train0.h5'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["empty", "cut", "rubbish", "keys", "chunk", "folder"])
def test_damaged_files(modelnet, damage):
    path = modelnet / "ply_data_train1.h5"
    content = path.read_bytes()
    if damage == "keys":
        with h5py.File(path, "r+") as file:
            del file["label"]
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        middle = len(content) // 2
        damaged = content[:middle] + bytes(800) + content[middle + 800 :]
        path.write_bytes({"empty": b"", "cut": content[:-200], "rubbish": b"x" * 500, "chunk": damaged}[damage])
    with pytest.raises(InputError, match=r"train1\.h5: ") as caught:
        load_classification(modelnet, 8)
    assert "\n" not in str(caught.value)


def test_part_numbers_out_of_range(parts):
    change(parts / "ply_data_test0.h5", "pid", np.full((16, 64), 50, np.uint8))
    with pytest.raises(InputError, match=r"test0\.h5: pid has values from 50 to 50, but 0 to 49 are allowed"):
        load_parts(parts, 8)


@pytest.mark.parametrize("points", [65, 0])
def test_more_points_than_stored(modelnet, points):
    with pytest.raises(InputError, match=f"64 points per cloud, but {points} were asked for; ask for 1 to 64"):
        load_classification(modelnet, points)


def test_missing_splits(modelnet, parts):
    for number in (0, 1):
        (modelnet / f"ply_data_train{number}.h5").unlink()
    with pytest.raises(InputError, match="no training files"):
        load_classification(modelnet, 8)
    (parts / "ply_data_test0.h5").unlink()
    with pytest.raises(InputError, match=r"ply_data_train\*\.h5 or ply_data_test\*\.h5 is missing"):
        load_parts(parts, 8)


def test_files_are_not_written_to(modelnet):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in modelnet.iterdir()}
    load_classification(modelnet, 8)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in modelnet.iterdir()} == before


def test_formats_are_recognised(modelnet, parts, scanobjectnn, renders, tmp_path):
    assert recognise(modelnet) == "modelnet40"
    assert recognise(parts) == "shapenetpart"
    assert recognise(scanobjectnn.parent) == "scanobjectnn"
    assert recognise(renders) == "shapenetrender"
    unnamed = parts.rename(tmp_path / "unnamed")  # told apart by what the files hold
    assert recognise(unnamed) == "shapenetpart"
    with pytest.raises(InputError, match=r"several data sets; give the folder of one: .*scanobjectnn.*, .*modelnet40"):
        recognise(modelnet.parent)
    with pytest.raises(InputError, match="no data set found; expected modelnet40"):
        recognise(renders / "ShapeNet")
    with pytest.raises(InputError, match="cannot be listed"):
        recognise(tmp_path / "nowhere")


def test_paired_renders(renders):
    for root in (renders, renders.parent):
        pairs = pickle.loads(pickle.dumps(PairedRenders(root)))
        assert pairs.keys == ["02691156/a1", "02691156/b2", "03001627/c3"]
        assert [pairs.views(i) for i in range(len(pairs))] == [2, 3, 1]
        assert [path.name for path in pairs.images(1)] == ["00.png", "01.png", "02.png"]
        assert pairs.points(0).shape == (32, 3)
        assert pairs.points(0).dtype == np.float32
        np.testing.assert_array_equal(pairs.image(2, 0), np.asarray(Image.open(pairs.images(2)[0])))


def test_only_whole_pairs_count(renders):
    (renders / "ShapeNet/02691156/a1.ply").unlink()
    (renders / "ShapeNet/03001627/c4.ply").write_bytes(b"")
    assert PairedRenders(renders).keys == ["02691156/b2", "03001627/c3"]
    for path in (renders / "ShapeNet").rglob("*.ply"):
        path.unlink()
    with pytest.raises(InputError, match="no object has both a cloud and renderings"):
        PairedRenders(renders)


def test_bad_pairs_are_named(renders):
    pairs = PairedRenders(renders)
    pairs.cloud(0).write_bytes(b"ply")
    with pytest.raises(InputError, match=r"a1\.ply: "):
        pairs.points(0)
    picture = pairs.images(1)[0]
    for content in (b"", b"rubbish", picture.read_bytes()[:80]):
        picture.write_bytes(content)
        with pytest.raises(InputError, match=r"00\.png: is damaged or not a PNG or JPEG picture") as caught:
            pairs.image(1, 0)
        assert "\n" not in str(caught.value)


def test_pictures_without_alpha_are_opaque(renders):
    pairs = PairedRenders(renders)
    Image.new("RGB", (12, 12), (9, 8, 7)).save(pairs.images(0)[0])
    np.testing.assert_array_equal(pairs.image(0, 0), np.broadcast_to([9, 8, 7, 255], (12, 12, 4)))


@pytest.fixture
def real():
    if "CROSSPOINT_TEST_DATA" not in os.environ:
        pytest.skip("CROSSPOINT_TEST_DATA is not set")
    return Path(os.environ["CROSSPOINT_TEST_DATA"])


def test_real_sets(real):
    found = load_classification(real)
    assert found.train.points.shape == (9843, 1024, 3)
    assert len(np.unique(found.train.labels)) == 40
    np.testing.assert_allclose(np.linalg.norm(found.train.points, axis=2).max(axis=1), 1, atol=1e-3)
    part_set = load_parts(real)
    assert part_set.train.points.shape == (228, 2048, 3)
    assert part_set.test.parts.max() < 94


def test_the_variant_without_background_is_read_only_where_it_is_named(scanobjectnn):
    other = scanobjectnn.parent / f"{scanobjectnn.name}_nobg"
    shutil.copytree(scanobjectnn, other)
    assert locate(scanobjectnn.parent, ("scanobjectnn",)) == ("scanobjectnn", scanobjectnn)
    assert locate(other, ("scanobjectnn",)) == ("scanobjectnn", other)
    assert (is_variant(other), is_variant(scanobjectnn)) == (True, False)
