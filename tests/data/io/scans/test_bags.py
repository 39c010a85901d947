"""Bags are written with rosbags' own writers; the messages in them byte by byte."""

import os
import struct
import sys

import numpy as np
import pytest
from toy_bags import write_bag

from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.data.io.files import find_files, read_points, up_of
from crosspoint.data.sources import find_sources, read_ahead

pytest.importorskip("rosbags")


@pytest.fixture
def clouds():
    return [np.random.default_rng(i).normal(size=(50, 3)).astype(np.float32) for i in range(3)]


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("form", ["bag", "mcap", "db3"])
def test_one_cloud_a_message(form, bigendian, clouds, tmp_path):
    path = write_bag(tmp_path, clouds, form, bigendian=bigendian)
    np.testing.assert_array_equal(read_points(path, None, seed=0), np.stack(clouds))
    assert up_of(path) == "z"


@pytest.mark.parametrize(("form", "compressed"), [("bag", "LZ4"), ("bag", "BZ2"), ("mcap", "ZSTD")])
def test_compressed_chunks(form, compressed, clouds, tmp_path):
    path = write_bag(tmp_path, clouds, form, compressed=compressed)
    np.testing.assert_array_equal(read_points(path, None, seed=0), np.stack(clouds))


@pytest.mark.parametrize("form", ["bag", "mcap", "db3"])
def test_a_topic_is_named_where_there_are_several(form, clouds, tmp_path):
    path = write_bag(tmp_path, clouds, form, ("/front/points", "/rear"))
    with pytest.raises(InputError, match=r"several topics: /front/points, /rear; name one, e\.g\. bag\.mcap::/front"):
        read_points(path, None, seed=0)
    with pytest.raises(InputError, match="no clouds in the topic /text; those with clouds are"):
        read_points(f"{path}::/text", None, seed=0)
    for name in ("/front/points", "rear"):
        np.testing.assert_array_equal(read_points(f"{path}::{name}", None, seed=0), np.stack(clouds))


def test_points_without_a_return_are_left_out_and_counted(clouds, tmp_path, capfd):
    for cloud in clouds:
        cloud[::5] = np.nan
    path = write_bag(tmp_path, clouds, "mcap")
    found = read_points(path, None, seed=0)
    np.testing.assert_array_equal(found, np.stack([np.delete(cloud, np.s_[::5], 0) for cloud in clouds]))
    assert "30 of 150 points are NaN" in capfd.readouterr().err


def test_messages_of_different_sizes_are_drawn_from(clouds, tmp_path):
    clouds[1] = clouds[1][:40]
    path = write_bag(tmp_path, clouds, "mcap")
    with pytest.raises(InputError, match="clouds of 40 to 50 points; ask for at most 40"):
        read_points(path, None, seed=0)
    assert read_points(path, 40, seed=0).shape == (3, 40, 3)


def test_clouds_of_a_topic_are_named_by_it(clouds, tmp_path):
    path = write_bag(tmp_path, clouds, "mcap")
    (loaded,) = read_ahead(find_sources([path.parent / f"{path.name}::/points"], 20, seed=0), 8)
    assert loaded.source.name == f"{path.name}::/points"
    assert loaded.clouds.shape == (3, 20, 3)
    assert loaded.source.size() == os.path.getsize(path)
    assert find_files([tmp_path]) == [path]


def test_a_missing_package_is_named(clouds, tmp_path, monkeypatch):
    path = write_bag(tmp_path, clouds, "mcap")
    monkeypatch.setitem(sys.modules, "rosbags", None)
    with pytest.raises(MissingDependency, match=r"\[bags\]"):
        read_points(path, None, seed=0)
    (loaded,) = read_ahead(find_sources([path], None, seed=0), 8)
    assert "[bags]" in str(loaded.clouds)


def test_a_bag_without_clouds_says_what_it_has(tmp_path):
    with pytest.raises(InputError, match="has no messages of sensor_msgs/msg/PointCloud2, only std_msgs/msg/String"):
        read_points(write_bag(tmp_path, [], "mcap", topics=()), None, seed=0)


@pytest.mark.parametrize("form", ["bag", "mcap", "db3"])
def test_a_bag_that_was_cut_off_is_refused(form, clouds, tmp_path):
    path = write_bag(tmp_path, clouds, form)
    content = path.read_bytes()
    for length in (1, 20, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"^[^\n]*$"):
            read_points(path, None, seed=0)


@pytest.mark.parametrize(("form", "compressed"), [("bag", "BZ2"), ("mcap", "ZSTD")])
def test_a_chunk_that_inflates_to_far_more_is_refused(form, compressed, tmp_path, monkeypatch):
    """Equal points, 3 MB of them, in a few kilobytes."""
    monkeypatch.setattr("crosspoint.core.reading.SMALL", 10**6)
    path = write_bag(tmp_path, [np.zeros((200_000, 3), np.float32)], form, compressed=compressed)
    assert path.stat().st_size < 30_000
    with pytest.raises(InputError, match="inflates to more than 1 MB"):
        read_points(path, None, seed=0)


@pytest.mark.parametrize(("kind", "place", "code"), [("bag", 13, "<I"), ("mcap", 9, "<Q")])
def test_a_record_that_claims_more_than_there_is_takes_no_memory(clouds, tmp_path, kind, place, code):
    path = write_bag(tmp_path, clouds, kind)
    content = bytearray(path.read_bytes())
    struct.pack_into(code, content, place, 2**32 - 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match="cut off: a record claims 4,294,967,295 bytes, but"):
        read_points(path, None, seed=0)
