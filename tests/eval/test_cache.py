import dataclasses

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.eval.cache import cached, read, write
from crosspoint.eval.features import embed_clouds
from crosspoint.runtime.load import load_encoder

CLOUDS = np.random.default_rng(0).random((5, 8, 3), np.float32)


@pytest.fixture
def specification(pointnet):
    with load_encoder(pointnet) as encoder:
        return encoder.specification


def computed(value, specification):
    return lambda: np.full((5, specification.dim), value, np.float32)


def test_features_are_computed_once(tmp_path, specification):
    first = cached(tmp_path / "cache", specification, clouds=CLOUDS, compute=computed(1, specification))
    again = cached(tmp_path / "cache", specification, clouds=CLOUDS, compute=computed(2, specification))
    np.testing.assert_array_equal(first, again)
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("field", ["sha256", "precision", "backend", "device"])
def test_another_model_or_program_is_not_answered_from_the_cache(tmp_path, specification, field):
    cached(tmp_path, specification, clouds=CLOUDS, compute=computed(1, specification))
    other = dataclasses.replace(specification, **{field: "other"})
    assert (cached(tmp_path, other, clouds=CLOUDS, compute=computed(2, specification)) == 2).all()


def test_other_clouds_are_not_answered_from_the_cache(tmp_path, specification):
    cached(tmp_path, specification, clouds=CLOUDS, compute=computed(1, specification))
    moved = CLOUDS.copy()
    moved[4, 7, 2] = np.nextafter(moved[4, 7, 2], 2)
    assert (cached(tmp_path, specification, clouds=moved, compute=computed(2, specification)) == 2).all()


def test_the_place_of_the_model_does_not_matter(tmp_path, specification):
    cached(tmp_path, specification, clouds=CLOUDS, compute=computed(1, specification))
    moved = dataclasses.replace(specification, path="elsewhere")
    assert (cached(tmp_path, moved, clouds=CLOUDS, compute=computed(2, specification)) == 1).all()


@pytest.mark.parametrize("damage", ["cut", "bit", "foreign"])
def test_a_damaged_file_is_said_to_be_so_and_replaced(tmp_path, specification, capsys, damage):
    cached(tmp_path, specification, clouds=CLOUDS, compute=computed(1, specification))
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-7]
    elif damage == "bit":
        content[-1] ^= 1
    else:
        content = bytearray(b"not a tensor")
    path.write_bytes(content)
    assert (cached(tmp_path, specification, clouds=CLOUDS, compute=computed(2, specification)) == 2).all()
    assert "damaged" in capsys.readouterr().err
    assert (cached(tmp_path, specification, clouds=CLOUDS, compute=computed(3, specification)) == 2).all()


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path, specification):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        cached(tmp_path / "file" / "cache", specification, clouds=CLOUDS, compute=computed(1, specification))


def test_embeddings_from_the_cache_are_those_of_the_model(tmp_path, pointnet):
    with load_encoder(pointnet) as encoder:
        plain = embed_clouds(encoder, CLOUDS)
        for _ in range(2):
            np.testing.assert_array_equal(embed_clouds(encoder, CLOUDS, cache=tmp_path), plain)


@pytest.mark.parametrize(
    ("key", "shape", "dtype", "found"),
    [("a", (5, 4), np.float32, True), ("b", (5, 4), np.float32, False), ("a", (4, 5), np.float32, False)],
)
def test_a_file_is_taken_for_its_own_key_and_shape_alone(tmp_path, key, shape, dtype, found):
    features = np.arange(20, dtype=dtype).reshape(5, 4)
    write(tmp_path / "f", "a", about={}, features=features)
    assert (read(tmp_path / "f", key, shape=shape) is not None) == found


def test_features_of_another_type_are_not_taken(tmp_path):
    write(tmp_path / "f", "a", about={}, features=np.zeros((2, 3), np.int32))
    assert read(tmp_path / "f", "a", shape=(2, 3)) is None


@pytest.mark.parametrize(("beyond", "found"), [(-2000, True), (10, False)])
def test_a_file_much_larger_than_its_features_is_not_read(tmp_path, beyond, found):
    """A million bytes (2²⁰) may stand beside the features; of a header that is longer nothing is believed."""
    features = np.zeros((1000, 64), np.float32)
    write(tmp_path / "f", "a", about={"text": "x" * ((1 << 20) + beyond)}, features=features)
    assert (read(tmp_path / "f", "a", shape=(1000, 64)) is not None) == found
