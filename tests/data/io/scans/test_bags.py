"""Bags are written with rosbags' own writers; the messages in them byte by byte."""

import os
import struct
import sys

import numpy as np
import pytest

from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.data.io.files import find_files, read_points, up_of
from crosspoint.data.sources import find_sources, read_ahead

pytest.importorskip("rosbags")

KIND = "sensor_msgs/msg/PointCloud2"


@pytest.fixture
def clouds():
    return [np.random.default_rng(i).normal(size=(50, 3)).astype(np.float32) for i in range(3)]


def message(store, points, bigendian=False, first=False):
    types = store.types
    field, header = types["sensor_msgs/msg/PointField"], types["std_msgs/msg/Header"]
    stamp = types["builtin_interfaces/msg/Time"](1, 2)
    number = {"seq": 7} if first else {}
    rows = np.zeros(len(points), [("i", "f4"), ("z", "f4"), ("x", "f4"), ("y", "f4")])
    rows["x"], rows["y"], rows["z"] = points.T
    if bigendian:
        rows = rows.astype(rows.dtype.newbyteorder(">"))
    return types[KIND](
        header(stamp=stamp, frame_id="lidar", **number),
        1,
        len(points),
        [field(name, offset, 7, 1) for name, offset in (("x", 8), ("y", 12), ("z", 4), ("i", 0))],
        bigendian,
        16,
        16 * len(points),
        np.frombuffer(rows.tobytes(), np.uint8),
        False,
    )


def write(folder, clouds, form, topics=("/points",), compressed=None, bigendian=False):
    """A bag of one message a cloud and topic; returns its file."""
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
    from rosbags.rosbag2 import Writer as Writer2
    from rosbags.typesys import Stores, get_typestore

    first = form == "bag"
    store = get_typestore(Stores.ROS1_NOETIC if first else Stores.ROS2_HUMBLE)
    if first:
        writer = Writer1(folder / "a.bag")
        if compressed:
            writer.set_compression(Writer1.CompressionFormat[compressed])
    else:
        plugin = StoragePlugin.MCAP if form == "mcap" else StoragePlugin.SQLITE3
        writer = Writer2(folder / "a", version=9, storage_plugin=plugin)
        if compressed:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat[compressed])
    with writer as bag:
        for topic in topics:
            connection = bag.add_connection(topic, KIND, typestore=store)
            for i, points in enumerate(clouds):
                made = message(store, points, bigendian, first)
                content = store.serialize_ros1(made, KIND) if first else store.serialize_cdr(made, KIND)
                bag.write(connection, 10 + i, content)
        other = bag.add_connection("/text", "std_msgs/msg/String", typestore=store)
        made = store.types["std_msgs/msg/String"]("hello")
        serialize = store.serialize_ros1 if first else store.serialize_cdr
        bag.write(other, 1, serialize(made, "std_msgs/msg/String"))
    return folder / "a.bag" if first else next(iter((folder / "a").glob(f"*.{form}")))


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize("form", ["bag", "mcap", "db3"])
def test_one_cloud_a_message(form, bigendian, clouds, tmp_path):
    path = write(tmp_path, clouds, form, bigendian=bigendian)
    np.testing.assert_array_equal(read_points(path, None, seed=0), np.stack(clouds))
    assert up_of(path) == "z"


@pytest.mark.parametrize(("form", "compressed"), [("bag", "LZ4"), ("bag", "BZ2"), ("mcap", "ZSTD")])
def test_compressed_chunks(form, compressed, clouds, tmp_path):
    path = write(tmp_path, clouds, form, compressed=compressed)
    np.testing.assert_array_equal(read_points(path, None, seed=0), np.stack(clouds))


@pytest.mark.parametrize("form", ["bag", "mcap", "db3"])
def test_a_topic_is_named_where_there_are_several(form, clouds, tmp_path):
    path = write(tmp_path, clouds, form, ("/front/points", "/rear"))
    with pytest.raises(InputError, match=r"several topics: /front/points, /rear; name one, e\.g\. bag\.mcap::/front"):
        read_points(path, None, seed=0)
    with pytest.raises(InputError, match="no clouds in the topic /text; those with clouds are"):
        read_points(f"{path}::/text", None, seed=0)
    for name in ("/front/points", "rear"):
        np.testing.assert_array_equal(read_points(f"{path}::{name}", None, seed=0), np.stack(clouds))


def test_points_without_a_return_are_left_out_and_counted(clouds, tmp_path, capfd):
    for cloud in clouds:
        cloud[::5] = np.nan
    path = write(tmp_path, clouds, "mcap")
    found = read_points(path, None, seed=0)
    np.testing.assert_array_equal(found, np.stack([np.delete(cloud, np.s_[::5], 0) for cloud in clouds]))
    assert "30 of 150 points are NaN" in capfd.readouterr().err


def test_messages_of_different_sizes_are_drawn_from(clouds, tmp_path):
    clouds[1] = clouds[1][:40]
    path = write(tmp_path, clouds, "mcap")
    with pytest.raises(InputError, match="clouds of 40 to 50 points; ask for at most 40"):
        read_points(path, None, seed=0)
    assert read_points(path, 40, seed=0).shape == (3, 40, 3)


def test_clouds_of_a_topic_are_named_by_it(clouds, tmp_path):
    path = write(tmp_path, clouds, "mcap")
    (loaded,) = read_ahead(find_sources([path.parent / f"{path.name}::/points"], 20, seed=0), 8)
    assert loaded.source.name == f"{path.name}::/points"
    assert loaded.clouds.shape == (3, 20, 3)
    assert loaded.source.size() == os.path.getsize(path)
    assert find_files([tmp_path]) == [path]


def test_a_missing_package_is_named(clouds, tmp_path, monkeypatch):
    path = write(tmp_path, clouds, "mcap")
    monkeypatch.setitem(sys.modules, "rosbags", None)
    with pytest.raises(MissingDependency, match=r"\[bags\]"):
        read_points(path, None, seed=0)
    (loaded,) = read_ahead(find_sources([path], None, seed=0), 8)
    assert "[bags]" in str(loaded.clouds)


def test_a_bag_without_clouds_says_what_it_has(tmp_path):
    with pytest.raises(InputError, match="has no messages of sensor_msgs/msg/PointCloud2, only std_msgs/msg/String"):
        read_points(write(tmp_path, [], "mcap", topics=()), None, seed=0)


@pytest.mark.parametrize("form", ["bag", "mcap", "db3"])
def test_a_bag_that_was_cut_off_is_refused(form, clouds, tmp_path):
    path = write(tmp_path, clouds, form)
    content = path.read_bytes()
    for length in (1, 20, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"^[^\n]*$"):
            read_points(path, None, seed=0)


@pytest.mark.parametrize(("form", "compressed"), [("bag", "BZ2"), ("mcap", "ZSTD")])
def test_a_chunk_that_inflates_to_far_more_is_refused(form, compressed, tmp_path, monkeypatch):
    """Equal points, 3 MB of them, in a few kilobytes."""
    monkeypatch.setattr("crosspoint.core.reading.SMALL", 10**6)
    path = write(tmp_path, [np.zeros((200_000, 3), np.float32)], form, compressed=compressed)
    assert path.stat().st_size < 30_000
    with pytest.raises(InputError, match="inflates to more than 1 MB"):
        read_points(path, None, seed=0)


@pytest.mark.parametrize(("kind", "place", "code"), [("bag", 13, "<I"), ("mcap", 9, "<Q")])
def test_a_record_that_claims_more_than_there_is_takes_no_memory(clouds, tmp_path, kind, place, code):
    path = write(tmp_path, clouds, kind)
    content = bytearray(path.read_bytes())
    struct.pack_into(code, content, place, 2**32 - 1)
    path.write_bytes(content)
    with pytest.raises(InputError, match="cut off: a record claims 4,294,967,295 bytes, but"):
        read_points(path, None, seed=0)
