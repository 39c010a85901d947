import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

from crosspoint.core.errors import InputError
from crosspoint.data.sets.cifar_fs import find_classes, load_pictures
from crosspoint.eval.image import fewshot as module
from crosspoint.eval.image.fewshot import (
    QUERIES,
    WAYS,
    Features,
    ImageTaskOptions,
    answer,
    describe_images,
    draw_task,
    embed_pictures,
    image_fewshot,
)
from crosspoint.models import PointNet
from crosspoint.models.image import ImageEncoder
from crosspoint.models.weights import load_model, save_model
from crosspoint.runtime.options import RunOn


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, writers):
    return writers["cifar-fs"](tmp_path_factory.mktemp("pictures") / "cifar-fs")


@pytest.fixture(scope="session")
def image_encoder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "image_encoder.safetensors"
    save_model(ImageEncoder(18).eval(), path)
    return path


def test_both_layouts_and_a_folder_above_are_read(tmp_path, pictures, writers):
    nested = writers["cifar-fs"](tmp_path / "nested", nested=True)
    for root in (pictures, pictures.parent, nested):
        classes = find_classes(root)
        assert {part: len(names) for part, names in classes.items()} == {"train": 3, "val": 5, "test": 5}
        loaded = load_pictures(classes["test"], 32)
        assert loaded.images.shape == (100, 3, 32, 32)
        assert np.bincount(loaded.labels).tolist() == [20] * 5


def test_pictures_are_what_is_in_the_files(pictures):
    classes = find_classes(pictures)["val"]
    first = np.asarray(Image.open(pictures / "data" / "val_0" / "0.png"))
    np.testing.assert_array_equal(load_pictures(classes, 32).images[0], first.transpose(2, 0, 1))
    assert load_pictures(classes, 16).images.shape[2:] == (16, 16)


@pytest.mark.parametrize("damage", ["class", "picture", "pipe", "twice", "nothing", "outside"])
def test_a_damaged_set_is_one_line(tmp_path, pictures, damage):
    root = tmp_path / "set"
    shutil.copytree(pictures, root)
    if damage == "class":
        shutil.rmtree(root / "data" / "val_1")
        match = r"the folder val_1 of val\.txt is missing"
    elif damage == "picture":
        (root / "data" / "val_1" / "0.png").write_bytes(b"no picture")
        match = "is damaged or not a PNG or JPEG picture"
    elif damage == "pipe":
        os.mkfifo(root / "data" / "val_1" / "00.png")
        match = "is a pipe"
    elif damage == "outside":
        (root / "splits" / "bertinetto" / "val.txt").write_text("../../val_1")
        match = "is not the name of a class"
    elif damage == "twice":
        (root / "splits" / "bertinetto" / "test.txt").write_text("val_1")
        match = "the class val_1 is in both val and test"
    else:
        shutil.rmtree(root / "splits")
        match = "no classes of pictures found; expected data/"
    with pytest.raises(InputError, match=match):
        load_pictures(find_classes(root)["val"], 32)


def test_a_task_has_five_classes_and_no_object_twice():
    labels = np.repeat(np.arange(8), [30] * 7 + [10])  # the last class is too small
    for i in range(20):
        support, query = draw_task(labels, 5, seed=(0, i))
        assert np.bincount(labels[support], minlength=8)[labels[support]].tolist() == [5] * (5 * WAYS)
        assert len(query) == WAYS * QUERIES
        assert not set(support) & set(query)
        assert 7 not in labels[support]


def test_answers_are_those_of_logistic_regression():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 25)
    values = (rng.standard_normal((150, 8)) + rng.standard_normal((6, 8))[labels]).astype(np.float32)
    found = answer(Features(values, labels), 5, seed=(0, 1), c=10.0)
    support, query = draw_task(labels, 5, seed=(0, 1))
    machine = LogisticRegression(C=10.0, max_iter=1000).fit(values[support], labels[support])
    np.testing.assert_array_equal(found.predicted, machine.predict(values[query]))


def test_features_are_of_unit_length_and_normalised_as_in_pretraining(pictures, image_encoder):
    loaded = load_pictures(find_classes(pictures)["val"], 32)
    model = load_model(image_encoder)
    pixels = loaded.images[:3].astype(np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = (pixels - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        expected = model(torch.from_numpy(x.astype(np.float32))).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embed_pictures(model, loaded, device="cpu").values[:3], expected, atol=1e-5)


def test_all_methods_with_intervals_and_a_paired_comparison(tmp_path, pictures, image_encoder):
    torch.manual_seed(1)
    save_model(ImageEncoder(18).eval(), tmp_path / "image_encoder.safetensors")
    arguments = {
        "options": ImageTaskOptions(tasks=4),
        "overrides": ("epochs=1", "batch=30"),
        "run_on": RunOn(cache=tmp_path / "cache"),
    }
    result = image_fewshot(image_encoder, pictures, **arguments, against=tmp_path)
    assert [(row.method, row.shots) for row in result.rows] == [
        (method, shots) for method in ("frozen", "rfs", "pretrained + rfs") for shots in (1, 5)
    ]
    for row in result.rows:
        values = row.official.accuracies
        half = 1.96 * np.std(values, ddof=1) / 2
        assert row.official.interval == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=1e-4)
        assert (row.official.against is not None) == (row.method != "rfs")
    written = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert list(written) == [*("schema", "model", "data", "ways", "queries", "tasks", "seed", "rfs", "rows", "against")]
    assert written["schema"] == "crosspoint.image-fewshot/1"
    assert list(written["model"]) == ["path", "sha256", "architecture", "depth"]
    assert list(written["data"]) == ["path", "format", "classes", "published", "remark"]
    assert list(written["rows"][0]) == ["method", "shots", "official", "clean"]
    assert list(written["rows"][0]["clean"]) == [
        *("C", "mean", "std", "standard_error", "interval", "accuracies", "against")
    ]
    kept = sorted((tmp_path / "cache").iterdir())
    assert len(kept) == 3  # from scratch, and from each encoder
    again = image_fewshot(image_encoder, pictures, **arguments)
    assert sorted((tmp_path / "cache").iterdir()) == kept
    assert [row.clean.summary for row in again.rows] == [row.clean.summary for row in result.rows]


def test_a_device_that_is_not_here_is_refused_before_pictures_are_read(tmp_path, image_encoder):
    with pytest.raises(InputError, match="CUDA device"):
        image_fewshot(image_encoder, tmp_path / "no pictures", run_on=RunOn("cuda:99"))


def test_counts_say_whether_it_is_the_published_set(pictures):
    found = describe_images(pictures)
    assert not found.published
    assert "3 + 5 + 5 classes of 20 to 20 pictures; not CIFAR-FS" in found.remark


def test_the_point_encoder_is_refused(tmp_path, pictures):
    save_model(PointNet(), tmp_path / "encoder.safetensors")
    with pytest.raises(InputError, match=r"holds no image_encoder"):
        image_fewshot(tmp_path, pictures)
    with pytest.raises(InputError, match=r"is a pointnet, not an image encoder"):
        image_fewshot(tmp_path / "encoder.safetensors", pictures)


def test_too_few_classes_for_a_task(tmp_path, image_encoder, writers):
    root = writers["cifar-fs"](tmp_path / "small", counts=(2, 5, 4))
    with pytest.raises(InputError, match="4 classes of test have 5 support and 15 query pictures, 5 are needed"):
        image_fewshot(image_encoder, root)


class Folder:
    """A class of so many pictures."""

    def __init__(self, count):
        self.count = count

    def iterdir(self):
        return iter(range(self.count))


@pytest.mark.parametrize(
    ("classes", "sizes", "expected"),
    [
        ((64, 16, 20), (600, 600), True),
        ((64, 16, 20), (600, 601), False),
        ((64, 16, 20), (601, 601), False),
        ((63, 16, 20), (600, 600), False),
        ((64, 20, 16), (600, 600), False),
    ],
)
def test_the_published_set_has_64_16_and_20_classes_of_600_pictures(classes, sizes, expected, monkeypatch):
    first, others = sizes
    found = {
        part: {f"{part} {i}": Folder(first if part == "val" and not i else others) for i in range(count)}
        for part, count in zip(("train", "val", "test"), classes, strict=True)
    }
    monkeypatch.setattr(module, "find_classes", lambda data: found)
    described = describe_images("cifar")
    assert (described.published, described.classes) == (expected, classes)
    assert f"of {min(sizes)} to {max(sizes)} pictures" in described.remark
    assert ("by counts CIFAR-FS" in described.remark) == expected


def test_the_published_rules_of_tasks():
    assert (WAYS, QUERIES, module.OFFICIAL_C, module.CHOOSING) == (5, 15, 1.0, 50)
    assert module.GRID == (0.01, 0.1, 1.0, 10.0, 100.0)
    assert ImageTaskOptions() == ImageTaskOptions((1, 5), 600, 0)


def test_c_is_the_smallest_of_the_best_on_validation_tasks(monkeypatch):
    asked = []

    def answered(features, shots, *, seed, c):
        asked.append((features, shots, seed))
        return SimpleNamespace(accuracy={0.01: 0.1, 0.1: 0.5, 1.0: 0.75, 10.0: 0.75, 100.0: 0.2}[c])

    monkeypatch.setattr(module, "answer", answered)
    assert module._choose_c("validation", 5, 3, 7) == 1.0
    assert asked == [("validation", 5, (7, 5, 1, i)) for i in range(3)] * 5
    asked.clear()
    module._choose_c("validation", 5, 200, 7)
    assert len(asked) == 50 * 5


@pytest.mark.parametrize(("rule", "c"), [("official", 1.0), ("clean", 100.0)])
def test_each_rule_has_its_c_and_its_tasks_of_the_test_classes(rule, c, monkeypatch):
    asked = []

    def answered(features, shots, *, seed, c):
        asked.append((features, shots, seed, c))
        return SimpleNamespace(accuracy=(seed[-1] + 1) / 4)

    monkeypatch.setattr(module, "answer", answered)
    monkeypatch.setattr(module, "_choose_c", lambda features, *_: {"v": 100.0, "other v": 10.0}[features])
    monkeypatch.setattr(module, "compare_tasks", lambda answers: [len(each) for each in answers])
    parts = [{"val": "v", "test": "t"}, {"val": "other v", "test": "other t"}]
    found = module._accuracy(parts, 5, 3, 7, "frozen", rule)
    assert (found.c, found.accuracies, found.against) == (c, [0.25, 0.5, 0.75], [3, 3])
    assert found.summary.mean == 0.5
    half = 1.96 * 0.25 / np.sqrt(3)  # the deviation of 1/4, 2/4, 3/4 is 1/4
    assert found.interval == pytest.approx((0.5 - half, 0.5 + half), abs=1e-4)
    assert asked == [
        (features, 5, (7, 5, 0, i), own) for features, own in (("t", c), ("other t", min(c, 10.0))) for i in range(3)
    ]
