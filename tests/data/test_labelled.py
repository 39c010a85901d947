"""Labels of objects: folders, CSV files and data sets, and what does not make a classifier."""

import re

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.labelled import check_classes, find_copies, find_labelled, read_labels


@pytest.fixture
def folder(tmp_path):
    for name in ("bed/a.npy", "bed/old/b.npy", "car/a.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, np.random.default_rng(0).random((20, 3)))
    return tmp_path


def test_the_first_folder_of_a_file_is_its_class(folder):
    data = find_labelled(folder)
    sources = data.sources(None, seed=0, at_most=False)
    found = {source.name: data.label(source.name) for source in sources}
    assert found == {"bed/a.npy": "bed", "bed/old/b.npy": "bed", "car/a.npy": "car"}


def test_a_file_beside_the_classes_is_named(folder):
    np.save(folder / "stray.npy", np.zeros((20, 3)))
    with pytest.raises(InputError, match=r"stray\.npy has no class"):
        find_labelled(folder).sources(None, seed=0, at_most=False)


def test_objects_in_mixed_frames_are_refused_until_up_is_given(folder):
    np.zeros((20, 4), "<f4").tofile(folder / "car" / "scan.bin")
    data = find_labelled(folder)
    with pytest.raises(InputError, match=r"^car/scan\.bin is z-up, but bed/a\.npy does not state which axis points up"):
        data.sources(None, seed=0, at_most=False)
    assert {source.frame.up for source in data.sources(None, seed=0, at_most=False, up="z")} == {"z"}


def test_a_table_gives_labels_to_the_files_that_it_names(folder, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("label , name,by\nx,bed/a.npy,me\ny,car/a.npy,me\n")
    data = find_labelled(folder, table)
    assert [source.name for source in data.sources(None, seed=0, at_most=False)] == ["bed/a.npy", "car/a.npy"]
    assert data.label("car/a.npy") == "y"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,class\na,b\n", "has the columns name, class"),
        ("name,label\na,\n", "line 2 lacks a label"),
        ("name,label\n,b\n", "line 2 lacks a name"),
        ("name,label\na,b\na,c\n", "says that a is b and c"),
        ("name,label\n", "has no labels"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(said)) as refusal:
        read_labels(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({}, "no labelled object"),
        ({"a": "bed", "b": "bed"}, "objects of one class only, bed"),
        ({"a": "bed", "b": "bed", "c": "car"}, "class car has only one object; cross-validation needs two"),
        ({"a": "bed", "b": "car"}, "class bed has only one object, as 1 other class has"),
    ],
)
def test_labels_that_make_no_classifier_are_refused(tmp_path, labels, said):
    with pytest.raises(InputError, match=said):
        check_classes(labels, where=tmp_path)


def test_one_object_of_a_class_passes_where_its_file_may_hold_several(tmp_path):
    assert check_classes({"a": "bed", "b": "car"}, where=tmp_path, fewest=1) == ("bed", "car")


def test_the_same_object_in_two_classes_is_refused():
    with pytest.raises(InputError, match=r"bed/a \(bed\) and car/a \(car\) have the same content"):
        find_copies({"bed/a": "bed", "car/a": "car"}, {"bed/a": "1", "car/a": "1"})


def test_a_copy_within_a_class_is_found_once():
    assert find_copies({"a": "bed", "b": "bed", "c": "bed"}, {"a": "1", "b": "1", "c": "2"}) == ["b"]


def test_content_that_is_not_known_is_no_copy():
    assert find_copies({"a": "bed", "b": "car"}, {"a": "", "b": ""}) == []


def test_a_file_is_no_folder_of_classes(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        find_labelled(tmp_path / "missing")
