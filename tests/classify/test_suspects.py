import numpy as np

from crosspoint.classify.suspects import find_suspects

CLASSES = ("bed", "car", "lamp")


def suspects(probabilities, labels):
    return find_suspects(
        np.array(probabilities), np.array(labels), names=[f"{i}.ply" for i in range(len(labels))], classes=CLASSES
    )


def test_an_object_that_all_take_for_another_class_is_a_suspect():
    (found,) = suspects([[[0.02, 0.95, 0.03]], [[0.04, 0.91, 0.05]]], [0])
    assert (found.name, found.label, found.suggested) == ("0.ply", "bed", "car")
    assert abs(found.probability - 0.93) < 1e-12


def test_an_object_on_which_repeats_do_not_agree_is_none():
    assert suspects([[[0.02, 0.95, 0.03]], [[0.05, 0.1, 0.85]]], [0]) == ()


def test_an_object_that_might_as_well_be_of_its_class_is_none():
    assert suspects([[[0.4, 0.55, 0.05]]], [0]) == ()


def test_an_object_that_is_like_no_class_is_none():
    assert suspects([[[0.05, 0.46, 0.49], [0.03, 0.48, 0.49]]], [0, 1]) == ()


def test_the_surest_comes_first():
    found = suspects([[[0.05, 0.9, 0.05], [0.97, 0.02, 0.01]]], [0, 1])
    assert [entry.name for entry in found] == ["1.ply", "0.ply"]
