"""Embedding labelled objects, and messages about those that are missing."""

import numpy as np
import pytest

from crosspoint.classify.objects import embed_labelled
from crosspoint.core.errors import InputError
from crosspoint.data.labelled import find_labelled, find_unlabelled
from crosspoint.data.points import drawing, normalise, sample_points
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import Reading, RunOn, Sampling

pytest.importorskip("onnxruntime")


@pytest.fixture
def folder(tmp_path):
    """Two beds and two cars of 40 points."""
    rng = np.random.default_rng(0)
    for name in ("bed/a", "bed/b", "car/a", "car/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(40, 3)).astype(np.float32))
    return tmp_path


def embedded(folder, draws=1, views=0):
    return embed_labelled(
        find_labelled(folder), "pointnet", views=views, sampling=Sampling(32, draws=draws), run_on=RunOn()
    )


def test_the_embedding_of_an_object_is_the_mean_over_its_draws(folder):
    found = embedded(folder, draws=3)
    rng = drawing(0, 40)
    points = np.load(folder / "car" / "a.npy")
    clouds = normalise(np.stack([sample_points(points, 32, rng=rng) for _ in range(3)]))
    with load_encoder("pointnet") as encoder:
        expected = encoder.embed(clouds).astype(float).mean(axis=0)
    np.testing.assert_allclose(found.features[2, 0], expected, rtol=1e-4, atol=1e-6)
    assert found.names == ["bed/a.npy", "bed/b.npy", "car/a.npy", "car/b.npy"]
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_turned_objects_are_samples_after_the_object_as_it_is(folder):
    """Half a turn about y changes the signs of x and z; each turn draws other points."""
    found = embed_labelled(find_labelled(folder), "pointnet", turns=2, sampling=Sampling(32), run_on=RunOn())
    np.testing.assert_array_equal(found.features[:, 0], embedded(folder).features[:, 0])
    points = np.load(folder / "car" / "a.npy") * [-1, 1, -1]
    cloud = normalise(sample_points(points, 32, rng=drawing(1, 40)))
    with load_encoder("pointnet") as encoder:
        expected = encoder.embed(cloud[None].astype(np.float32))
    np.testing.assert_allclose(found.features[2, 1], expected[0], rtol=1e-4, atol=1e-5)


def test_views_are_samples_after_the_whole_object(folder):
    plain, viewed = embedded(folder), embedded(folder, views=2)
    assert viewed.features.shape == (4, 3, plain.features.shape[2])
    np.testing.assert_array_equal(viewed.features[:, 0], plain.features[:, 0])
    assert not np.allclose(viewed.features[:, 1], viewed.features[:, 2])


def test_a_class_that_an_unreadable_file_leaves_with_one_object_names_the_file(folder):
    (folder / "car" / "b.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"class car has only one object \(car/b\.npy could not be read: "):
        embedded(folder)


def test_a_class_that_a_copy_leaves_with_one_object_names_the_copy(folder):
    (folder / "car" / "b.npy").write_bytes((folder / "car" / "a.npy").read_bytes())
    with pytest.raises(InputError, match=r"class car has only one object \(car/b\.npy is a copy of another object\)"):
        embedded(folder)


def test_unlabelled_objects_of_a_table_are_embedded_beside(folder):
    table = folder / "labels.csv"
    table.write_text("name,label\nbed/a.npy,x\nbed/b.npy,x\ncar/a.npy,y\n")
    data = find_labelled(folder, table)
    with pytest.raises(InputError, match="class y has only one object"):
        embed_labelled(data, "pointnet", pool=data, sampling=Sampling(32), run_on=RunOn())
    np.save(folder / "car" / "c.npy", np.random.default_rng(7).normal(size=(40, 3)))
    table.write_text(table.read_text() + "car/c.npy,y\n")
    data = find_labelled(folder, table)
    found = embed_labelled(data, "pointnet", pool=data, sampling=Sampling(32), run_on=RunOn())
    assert found.unlabelled is not None
    assert found.unlabelled.names == ["car/b.npy"]
    plain = embedded(folder)
    np.testing.assert_array_equal(found.unlabelled.features[0], plain.features[plain.names.index("car/b.npy"), 0])


def test_a_folder_of_unlabelled_objects_is_embedded_beside(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("unlabelled")
    np.save(other / "x.npy", np.random.default_rng(7).normal(size=(40, 3)))
    found = embed_labelled(
        find_labelled(folder), "pointnet", pool=find_unlabelled(other), sampling=Sampling(32), run_on=RunOn()
    )
    assert found.unlabelled is not None
    assert found.unlabelled.names == ["x.npy"]
    assert len(found.names) == 4


def test_a_pool_in_which_all_have_labels_is_refused(folder):
    table = folder / "labels.csv"
    table.write_text("name,label\nbed/a.npy,x\nbed/b.npy,x\ncar/a.npy,y\ncar/b.npy,y\n")
    data = find_labelled(folder, table)
    with pytest.raises(InputError, match="have a label; give --unlabelled with others"):
        embed_labelled(data, "pointnet", pool=data, sampling=Sampling(32), run_on=RunOn())


def test_files_that_are_excluded_are_no_objects(folder):
    np.save(folder / "car" / "c.npy", np.random.default_rng(7).normal(size=(40, 3)))
    data = find_labelled(folder)
    only = [Reading(exclude=("car/c*",)), Reading(include=("*/a.npy", "*/b.npy"))]
    for reading in only:
        found = embed_labelled(data, "pointnet", sampling=Sampling(32), run_on=RunOn(), reading=reading)
        assert found.names == ["bed/a.npy", "bed/b.npy", "car/a.npy", "car/b.npy"]


def test_text_whose_columns_are_named_gives_the_same_embeddings(folder, tmp_path_factory):
    """The same points as text, with the columns z, x and y."""
    text = tmp_path_factory.mktemp("text")
    for path in folder.rglob("*.npy"):
        written = text / path.relative_to(folder).with_suffix(".xyz")
        written.parent.mkdir(exist_ok=True)
        points = np.load(path).astype(np.float64)
        written.write_text("\n".join(f"{z!r} {x!r} {y!r}" for x, y, z in points.tolist()))
    found = embed_labelled(
        find_labelled(text), "pointnet", sampling=Sampling(32), run_on=RunOn(), reading=Reading(columns="2,3,1")
    )
    np.testing.assert_allclose(found.features, embedded(folder).features, rtol=1e-4, atol=1e-5)


def test_objects_that_lie_are_turned_by_up(folder, tmp_path_factory):
    lying = tmp_path_factory.mktemp("lying")
    for path in folder.rglob("*.npy"):
        (lying / path.parent.name).mkdir(exist_ok=True)
        points = np.load(path)
        np.save(lying / path.relative_to(folder), np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1))
    found = embed_labelled(find_labelled(lying), "pointnet", sampling=Sampling(32, up="z"), run_on=RunOn())
    np.testing.assert_allclose(found.features, embedded(folder).features, rtol=1e-4, atol=1e-5)
    assert (found.frame.up, found.frame.known) == ("z", "given")
