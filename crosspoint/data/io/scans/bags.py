"""ROS 1 and ROS 2 bags: the PointCloud2 messages of a topic, by rosbags, without ROS."""

import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from crosspoint.core.errors import InputError, require
from crosspoint.core.reading import ADVICE, SMALL, allowance, check_announced, readable, some
from crosspoint.data.io.scans.pointcloud2 import cloud_of_message
from crosspoint.data.points import Coordinates

SUFFIXES = frozenset({".bag", ".mcap", ".db3"})
MESSAGE = "sensor_msgs/msg/PointCloud2"
TOPIC = re.compile(r"(.*\.(?:bag|mcap|db3))::/?(.*)", re.IGNORECASE | re.DOTALL)


def split_topic(path: Path) -> tuple[Path, str | None]:
    """The file and the topic of `bag.mcap::/points`; of any other path itself and None."""
    found = TOPIC.fullmatch(str(path))
    return (Path(found[1]), f"/{found[2]}") if found else (Path(path), None)


def read_bag(path: Path, topic: str | None) -> Iterator[Coordinates]:
    """The clouds of a topic, one a message, in the order of their times.

    Args:
        path: `.bag` of ROS 1, `.mcap` or `.db3` of ROS 2.
        topic: E.g. `/points`; None for the only one with clouds.

    Yields:
        (N, 3), NaN where there was no return.

    Raises:
        InputError: There is no such topic, there are several to choose from, or a message is damaged.
        MissingDependency: rosbags is not installed.
    """
    require("rosbags", "bags", purpose=f"reading {path.name}")
    from rosbags.rosbag1 import Reader as Reader1
    from rosbags.rosbag2 import Reader as Reader2
    from rosbags.typesys import Stores, get_typestore

    size, total = readable(path), 0
    _bound_chunks()
    first = path.suffix.lower() == ".bag"
    store = get_typestore(Stores.ROS1_NOETIC if first else Stores.ROS2_HUMBLE)  # never types that a bag defines
    parse = store.deserialize_ros1 if first else store.deserialize_cdr
    with (Reader1 if first else Reader2)(path) as bag:
        for _, _, content in bag.messages(_connections(bag.connections, topic)):
            total += len(content)
            check_announced(total, size)
            yield cloud_of_message(parse(content, MESSAGE))


@functools.cache  # once in a process
def _bound_chunks() -> None:
    """Let rosbags inflate no chunk to far more than its bytes, and take no memory for bytes that are not there."""
    import bz2

    import lz4.frame
    from rosbags.rosbag1 import reader
    from rosbags.rosbag2 import storage_mcap

    zstd: Any = vars(storage_mcap)["zstd"]  # the standard library's, or its copy for older Pythons
    reader.decompressors["bz2"] = lambda data: _inflated(bz2.BZ2Decompressor(), data)
    reader.decompressors["lz4"] = lambda data: _inflated(lz4.frame.LZ4FrameDecompressor(), data)
    storage_mcap.DECOMPRESSORS["lz4"] = lambda data, _: _inflated(lz4.frame.LZ4FrameDecompressor(), data)
    storage_mcap.DECOMPRESSORS["zstd"] = lambda data, _: _inflated(zstd.ZstdDecompressor(), data)
    vars(reader)["read_bytes"] = _within_file(vars(reader)["read_bytes"])
    vars(storage_mcap)["read_exact"] = _within_file(vars(storage_mcap)["read_exact"])


def _within_file(read: Callable[[BinaryIO, int], bytes]) -> Callable[[BinaryIO, int], bytes]:
    def bounded(file: BinaryIO, size: int) -> bytes:
        if size > SMALL:
            here = file.tell()
            left = file.seek(0, os.SEEK_END) - here
            file.seek(here)
            if size > left:
                raise InputError(f"is cut off: a record claims {size:,} bytes, but {left:,} are left; {ADVICE}")
        return read(file, size)

    return bounded


def _inflated(decompressor: Any, data: bytes) -> bytes:
    most = allowance(len(data))
    plain: bytes = decompressor.decompress(data, max_length=most + 1)
    if len(plain) > most:
        raise InputError(f"has a chunk that inflates to more than {most // 10**6:,} MB; {ADVICE}")
    return plain


def _connections(connections: Any, topic: str | None) -> list[Any]:
    there = [connection for connection in connections if connection.msgtype == MESSAGE and connection.msgcount]
    topics = sorted({connection.topic for connection in there})
    if not topics:
        kinds = some(sorted({connection.msgtype for connection in connections}))
        raise InputError(f"has no messages of {MESSAGE}, only {kinds}; record a topic of clouds")
    if topic is None and len(topics) > 1:
        raise InputError(f"has clouds in several topics: {some(topics)}; name one, e.g. bag.mcap::{topics[0]}")
    if topic is not None and topic not in topics:
        raise InputError(f"has no clouds in the topic {topic}; those with clouds are {some(topics)}; {ADVICE}")
    return [connection for connection in there if topic in (None, connection.topic)]
