"""A run goes on with the data that it was started with, and with no other."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.data.sets.pack import pack
from crosspoint.models import DGCNN
from crosspoint.models.weights import save_model
from crosspoint.train.engine.run_folder import fingerprint
from crosspoint.train.pretrain import pretrain
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pairs import open_source
from crosspoint.train.pretrain.pretrain import train

CLOUD, PICTURE = "ShapeNet/c0/object00.ply", "ShapeNetRendering/c1/object11/rendering/02.png"


def change_a_byte(path):
    """Neither size nor time tells."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def own(pairs, tmp_path):
    """A copy of the pairs that may be changed."""
    return shutil.copytree(pairs, tmp_path / "own")


def test_equal_data_is_the_same_wherever_it_lies(pairs, own):
    assert fingerprint(open_source(own)) == fingerprint(open_source(pairs))


@pytest.mark.parametrize("name", [CLOUD, PICTURE])
def test_each_byte_of_loose_files_counts(own, name):
    before = fingerprint(open_source(own))
    change_a_byte(own / name)
    assert fingerprint(open_source(own)) != before


def test_names_and_order_count(own):
    before = fingerprint(open_source(own))
    for folder in ("ShapeNet/c0/object00.ply", "ShapeNetRendering/c0/object00"):
        (own / folder).rename(own / folder.replace("object00", "object01"))
    assert fingerprint(open_source(own)) != before


def test_each_byte_of_a_pack_counts(pairs, tmp_path):
    for name in ("a", "b"):
        pack(pairs, tmp_path / name)
    before = fingerprint(open_source(tmp_path / "a"))
    assert fingerprint(open_source(tmp_path / "b")) == before
    change_a_byte(next((tmp_path / "b").glob("*.safetensors")))  # of the last picture; the index stays
    assert fingerprint(open_source(tmp_path / "b")) != before


def test_a_run_is_not_resumed_on_other_data_under_the_same_names(own, small, tmp_path):
    out = tmp_path / "run"
    train(own, out, recipe="quick", overrides=small, device="cpu", options=RunOptions(0))
    train(own, out, resume=True, device="cpu", options=RunOptions(0))
    picture = own / PICTURE
    pixels = np.asarray(Image.open(picture)).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels, "RGBA").save(picture)
    with pytest.raises(InputError, match="the training data has changed since the run started") as caught:
        train(own, out, resume=True, device="cpu", options=RunOptions(0))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_line(own):
    source = open_source(own)
    (own / CLOUD).unlink()
    with pytest.raises(InputError, match=r"object00\.ply: cannot be opened"):
        fingerprint(source)
    os.mkfifo(own / CLOUD)
    with pytest.raises(InputError, match=r"object00\.ply: is a pipe"):
        fingerprint(source)


def test_a_run_starts_from_the_file_whose_hash_it_notes(pairs, small, tmp_path, monkeypatch):
    """Another file takes the place once it was hashed."""
    torch.manual_seed(5)
    first, other, path = DGCNN(4), DGCNN(4), tmp_path / "encoder.safetensors"
    save_model(first, path)
    expected = sha256(path)
    load_initial_weights = pretrain.load_initial_weights

    def replace_and_load(start, network, *, recipe):
        save_model(other, path)
        load_initial_weights(start, network, recipe=recipe)
        assert torch.equal(network.points.embed.linear.weight, first.embed.linear.weight)

    class Begun(Exception):
        pass

    def note(*_, init_sha256, **__):
        raise Begun(init_sha256)

    monkeypatch.setattr(pretrain, "load_initial_weights", replace_and_load)
    monkeypatch.setattr(pretrain, "start_folder", note)
    with pytest.raises(Begun, match=expected):
        train(pairs, tmp_path / "run", recipe="quick", overrides=small, device="cpu", options=RunOptions(0), init=path)
    assert sha256(path) != expected
