import json
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.io.formats.ply import write_points
from crosspoint.data.sets.datasets import PairedRenders
from crosspoint.data.sets.pack import PackedRenders, is_pack, pack

VIEWS = {"chair/a": 3, "chair/b": 1, "lamp/a": 2, "lamp/c": 4, "table/z": 2}


@pytest.fixture
def loose(tmp_path):
    generator = np.random.default_rng(0)
    for number, (key, views) in enumerate(VIEWS.items()):
        write_points(tmp_path / "loose/ShapeNet" / f"{key}.ply", generator.normal(size=(20 + number, 3)))
        folder = tmp_path / "loose/ShapeNetRendering" / key / "rendering"
        folder.mkdir(parents=True)
        for view in range(views):
            Image.fromarray(generator.integers(0, 256, (12, 10, 4), dtype=np.uint8)).save(folder / f"{view:02d}.png")
    return tmp_path / "loose"


def assert_same(packed, loose):
    assert packed.keys == loose.keys
    assert len(packed) == len(loose) == len(VIEWS)
    for i, key in enumerate(loose.keys):
        assert packed.views(i) == loose.views(i) == VIEWS[key]
        np.testing.assert_array_equal(packed.points(i), loose.points(i))
        assert packed.points(i).dtype == np.float32
        for view in range(packed.views(i)):
            np.testing.assert_array_equal(packed.image(i, view), loose.image(i, view))
            assert packed.image(i, view).dtype == np.uint8


def test_the_same_comes_back_from_one_shard(loose, tmp_path):
    result = pack(loose, tmp_path / "pack")
    assert (result.objects, result.images, result.shards) == (5, 12, 1)
    assert_same(PackedRenders(tmp_path / "pack"), PairedRenders(loose))


def test_the_same_comes_back_from_many_shards(loose, tmp_path, monkeypatch):
    monkeypatch.setattr("crosspoint.data.sets.pack.MEGABYTE", 1000)
    result = pack(loose, tmp_path / "pack", shard_mb=2)
    assert result.shards > 2
    assert_same(PackedRenders(tmp_path / "pack"), PairedRenders(loose))


def test_files_are_as_readable_as_the_umask_lets_them_be(loose, tmp_path):
    pack(loose, tmp_path / "pack")
    before = os.umask(0)
    os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "pack").iterdir()} == {0o666 & ~before}


def test_same_input_same_bytes(loose, tmp_path):
    for name in ("one", "two"):
        pack(loose, tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_size_and_views(loose, tmp_path):
    pack(loose, tmp_path / "pack", size=6, views=1)
    packed = PackedRenders(tmp_path / "pack")
    assert [packed.views(i) for i in range(5)] == [1] * 5
    expected = Image.fromarray(PairedRenders(loose).image(2, 0)).resize((6, 6), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(packed.image(2, 0), np.asarray(expected))
    with pytest.raises(InputError, match="chair/b has 1 images, fewer than the 2 asked for"):
        pack(loose, tmp_path / "other", views=2)
    assert not (tmp_path / "other").exists()


def test_objects_without_images_are_refused(loose, tmp_path):
    (loose / "ShapeNetRendering/chair/b/rendering/00.png").unlink()
    with pytest.raises(InputError, match="chair/b has 0 images, fewer than the 1 asked for"):
        pack(loose, tmp_path / "pack")


def test_images_of_different_size_need_a_size(loose, tmp_path):
    odd = loose / "ShapeNetRendering/lamp/a/rendering/00.png"
    Image.new("RGBA", (9, 9)).save(odd)
    with pytest.raises(InputError, match="lamp/a has images of another size than the objects before"):
        pack(loose, tmp_path / "pack")
    assert [file.name for file in tmp_path.iterdir()] == ["loose"]
    pack(loose, tmp_path / "pack", size=8)
    assert PackedRenders(tmp_path / "pack").image(2, 0).shape == (8, 8, 4)


def sums(packed):
    return [int(packed.image(i, 0).sum()) + float(packed.points(i).sum()) for i in range(len(packed))]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(loose, tmp_path, method):
    pack(loose, tmp_path / "pack")
    packed = PackedRenders(tmp_path / "pack")
    expected = sums(packed)
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(sums, [packed] * 3)) == [expected] * 3


def test_pickling_leaves_open_shards_behind(loose, tmp_path):
    pack(loose, tmp_path / "pack")
    packed = PackedRenders(tmp_path / "pack")
    packed.points(0)
    assert_same(pickle.loads(pickle.dumps(packed)), PairedRenders(loose))


def test_indices_outside_are_refused(loose, tmp_path):
    pack(loose, tmp_path / "pack")
    packed = PackedRenders(tmp_path / "pack")
    for call in (
        lambda: packed.points(5),
        lambda: packed.points(-1),
        lambda: packed.image(0, 3),
        lambda: packed.image(0, -1),
    ):
        with pytest.raises(IndexError):
            call()


def test_verify_names_the_damaged_shard(loose, tmp_path, monkeypatch):
    monkeypatch.setattr("crosspoint.data.sets.pack.MEGABYTE", 1000)
    pack(loose, tmp_path / "pack", shard_mb=2)
    packed = PackedRenders(tmp_path / "pack")
    assert packed.verify() == []
    shard = tmp_path / "pack/shard-00001.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    problems = packed.verify()
    assert len(problems) == 1
    assert "shard-00001.safetensors does not have the SHA-256" in problems[0]


def test_missing_short_and_garbled_shards_are_refused(loose, tmp_path):
    pack(loose, tmp_path / "pack")
    shard = tmp_path / "pack/shard-00000.safetensors"
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    with pytest.raises(InputError, match=f"shard-00000.safetensors is missing or does not have {len(data)} bytes"):
        PackedRenders(tmp_path / "pack")
    shard.write_bytes(b"\xff" * len(data))
    with pytest.raises(InputError, match=r"shard-00000.safetensors: is damaged.*; copy it or pack again"):
        PackedRenders(tmp_path / "pack")
    shard.unlink()
    with pytest.raises(InputError, match="is missing"):
        PackedRenders(tmp_path / "pack")


def change_index(folder, change):
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.pop("shards"),
        lambda index: index.update(shards=5),
        lambda index: index["shards"][0].pop("file"),
        lambda index: index["shards"][0].update(file="../outside.safetensors"),
        lambda index: index["shards"][0].update(file="/etc/passwd"),
        lambda index: index["shards"][0].update(objects=0),
        lambda index: index["shards"][0].update(objects=10**9),
        lambda index: index["shards"][0].update(bytes="many"),
        lambda index: index["shards"].append(index["shards"][0] | {"file": "a\0b"}),
    ],
    ids=range(9),
)
def test_a_damaged_index_ends_in_one_line(change, loose, tmp_path):
    pack(loose, tmp_path / "pack")
    change_index(tmp_path / "pack", change)
    with pytest.raises(InputError, match=r"pack again"):
        PackedRenders(tmp_path / "pack")


def test_an_index_that_is_no_file_is_none(tmp_path):
    os.mkfifo(tmp_path / "index.json")
    assert not is_pack(tmp_path)
    (tmp_path / "index.json").unlink()
    (tmp_path / "index.json").write_text("[" * 100_000)
    assert not is_pack(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"points": np.zeros((3, 4), np.float32)},
        {"points": np.zeros((10**4, 3), np.float32)},
        {"points": np.zeros((32, 3), np.float64)},
        {"images": np.zeros((9, 8), np.uint8)},
        {"image_starts": np.array([0, -5, 3])},
        {"point_starts": np.arange(3)},
    ],
    ids=range(6),
)
def test_arrays_of_a_shard_that_do_not_fit_are_refused(changed, loose, tmp_path):
    pack(loose, tmp_path / "pack")
    shard = tmp_path / "pack/shard-00000.safetensors"
    with safe_open(shard, "numpy") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(arrays | changed, shard, metadata)
    change_index(tmp_path / "pack", lambda index: index["shards"][0].update(bytes=shard.stat().st_size))
    packed = PackedRenders(tmp_path / "pack")
    with pytest.raises(InputError, match=r"shard-00000\.safetensors: .*pack again"):
        packed.points(0)


def test_other_folders_are_not_packs(loose, tmp_path):
    for text in ("{", "[]", '{"schema": "other/1"}'):
        (tmp_path / "index.json").write_text(text)
        assert not is_pack(tmp_path)
    with pytest.raises(InputError, match="is not a packed folder"):
        PackedRenders(tmp_path)
    pack(loose, tmp_path / "pack")
    assert is_pack(tmp_path / "pack")


def test_existing_output_and_senseless_options_are_refused(loose, tmp_path):
    with pytest.raises(InputError, match="exists"):
        pack(loose, tmp_path)
    for name, value in (("size", 0), ("views", 0), ("shard_mb", 0)):
        with pytest.raises(InputError, match="must be at least 1"):
            pack(loose, tmp_path / "pack", **{name: value})


def test_command(loose, tmp_path):
    arguments = ["data", "pack", str(loose), "--out", str(tmp_path / "pack"), "--json", str(tmp_path / "r.json")]
    outcome = CliRunner().invoke(crosspoint, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "5 objects, 12 images, 1 shards" in outcome.output
    result = json.loads((tmp_path / "r.json").read_text())
    assert list(result) == ["schema", "out", "objects", "images", "shards", "bytes", "seconds", "up"]
    assert result["schema"] == "crosspoint.pack/1"
    index = json.loads((tmp_path / "pack" / "index.json").read_text())
    assert list(index) == ["schema", "up", "shards"]
    assert list(index["shards"][0]) == ["file", "objects", "images", "bytes", "sha256"]
