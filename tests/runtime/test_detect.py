"""Objects of a scan and their classes, from the bytes of messages."""

import array
from types import SimpleNamespace

import numpy as np
import pytest
import toy_scenes

from crosspoint.core.errors import InputError
from crosspoint.data.frames import UPS, from_y_up, to_y_up
from crosspoint.data.io.files import read_points
from crosspoint.data.objects.find import ObjectOptions
from crosspoint.data.points import normalise
from crosspoint.runtime.classifier import ClassifierInfo, Predictions
from crosspoint.runtime.detect import cloud_of_message, detect, up_of_frame

CLASSES = ("flat", "tall")


class ByHeight:
    """A classifier that says how tall an object is beside its width; it takes normalised y-up clouds of 256 points."""

    def __init__(self, points=256, at_most=True):
        info = ClassifierInfo(CLASSES, 0.4, points, at_most, "logistic", 1.0, 1.0, 4)
        self.specification = SimpleNamespace(classifier=info, min_points=20, path="toy")
        self.clouds = []

    def predict(self, clouds):
        self.clouds.append(clouds)
        sides = np.ptp(clouds[0], axis=0)
        tall = sides[1] / (sides[1] + max(sides[0], sides[2]))
        scores = np.array([[1 - tall, tall]], np.float32)
        return Predictions(self.specification.classifier, scores, 1 - scores.max(axis=1))


def scene(seed=0):
    """A tower and a plate on the ground, z-up, in metres."""
    rng = np.random.default_rng(seed)
    tower = toy_scenes.box(rng, (3, 0, 0), (0.5, 0.5, 3.0), count=1500)
    plate = toy_scenes.box(rng, (-3, 2, 0), (2.5, 2.5, 0.8), count=1200)
    return np.concatenate([toy_scenes.ground(rng), tower, plate])


def message(points, *, order="<", gap=4, nan_rows=0):
    """A PointCloud2 as rclpy has it, with fields out of order and bytes between them."""
    rows = np.zeros(
        len(points) + nan_rows,
        {
            "names": ["intensity", "z", "y", "x"],
            "formats": [order + "u2", order + "f4", order + "f4", order + "f4"],
            "offsets": [0, 2 + gap, 6 + gap, 10 + gap],
            "itemsize": 16 + gap,
        },
    )
    for axis, name in enumerate("xyz"):
        rows[name] = np.nan
        rows[name][: len(points)] = points[:, axis]
    kinds = {"intensity": (0, 4), "z": (2 + gap, 7), "y": (6 + gap, 7), "x": (10 + gap, 7)}
    fields = [SimpleNamespace(name=name, offset=at, datatype=kind, count=1) for name, (at, kind) in kinds.items()]
    return SimpleNamespace(
        fields=fields,
        width=len(rows),
        height=1,
        point_step=16 + gap,
        row_step=len(rows) * (16 + gap),
        is_bigendian=order == ">",
        is_dense=not nan_rows,
        data=array.array("B", rows.tobytes()),
    )


def test_the_bytes_of_a_message_are_read_as_laid_down():
    """Two points, big-endian, written out by hand: 2 bytes of intensity, then x, y and z."""
    data = bytes.fromhex("0007 3f800000 40000000 c0400000 0008 3f000000 bf000000 7fc00000")
    fields = [SimpleNamespace(name=n, offset=o, datatype=7, count=1) for n, o in (("x", 2), ("y", 6), ("z", 10))]
    made = SimpleNamespace(
        fields=fields, width=2, height=1, point_step=14, row_step=28, is_bigendian=True, data=array.array("B", data)
    )
    np.testing.assert_array_equal(cloud_of_message(made), [[1, 2, -3], [0.5, -0.5, np.nan]])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nan_rows", [0, 9])
def test_a_message_gives_objects_with_labels_and_boxes(order, nan_rows):
    points = cloud_of_message(message(scene(), order=order, nan_rows=nan_rows))
    found = detect(ByHeight(), points, up="z", objects=ObjectOptions())
    assert [(each.label, each.unknown) for each in found] == [("tall", False), ("flat", False)]
    np.testing.assert_allclose(found[0].centre, (3, 0, 1.6), atol=0.15)
    np.testing.assert_allclose(found[1].size, (2.5, 2.5, 0.6), atol=0.15)


@pytest.mark.parametrize("up", UPS)
def test_the_frame_changes_no_label_and_boxes_stay_in_it(up):
    turned = from_y_up(to_y_up(scene(), "z"), up)
    found = detect(ByHeight(), turned, up=up, objects=ObjectOptions())
    assert [each.label for each in found] == ["tall", "flat"]
    centre = to_y_up(np.array([found[0].centre]), up)
    np.testing.assert_allclose(centre, to_y_up(np.array([[3, 0, 1.6]]), "z"), atol=0.15)


def test_a_cloud_of_one_object_is_classified_whole():
    tower = toy_scenes.box(np.random.default_rng(0), (3, 0, 0), (0.5, 0.5, 3.0), count=1500)
    (found,) = detect(ByHeight(), np.vstack([tower, [[np.nan] * 3]]), up="z")
    assert (found.label, found.points) == ("tall", 1500)
    np.testing.assert_allclose(found.size, (0.5, 0.5, 3.0), atol=0.01)


def test_points_are_those_that_predict_draws_from_a_file(tmp_path):
    points = np.random.default_rng(0).normal(size=(900, 3))
    np.save(tmp_path / "cloud.npy", points)
    classifier = ByHeight()
    detect(classifier, points, up="z")
    expected = normalise(read_points(tmp_path / "cloud.npy", 256, seed=0, at_most=True, up="z"))
    np.testing.assert_array_equal(classifier.clouds[0], expected)


def test_objects_of_too_few_points_are_left_out():
    points = np.random.default_rng(0).normal(size=(100, 3))
    assert detect(ByHeight(points=256, at_most=False), points, up="z") == []
    assert detect(ByHeight(), points[:19], up="z") == []
    assert len(detect(ByHeight(), points[:20], up="z")) == 1


def test_nothing_is_found_in_a_cloud_without_points():
    assert detect(ByHeight(), np.full((5, 3), np.nan), up="z") == []


def test_an_encoder_is_refused():
    encoder = SimpleNamespace(specification=SimpleNamespace(classifier=None, path="dgcnn"))
    with pytest.raises(InputError, match="not a classifier"):
        detect(encoder, np.zeros((5, 3)), up="z")


@pytest.mark.parametrize(
    ("frame", "up"),
    [
        ("base_link", "z"),
        ("velodyne", "z"),
        ("camera_link", "z"),
        ("camera_depth_optical_frame", "-y"),
        ("left/camera_optical", "-y"),
        ("", "z"),
    ],
)
def test_up_follows_the_convention_of_frames(frame, up):
    assert up_of_frame(frame) == up


@pytest.mark.parametrize("bigendian", [False, True])
def test_a_bag_that_was_written_and_read_gives_the_same_objects(tmp_path, bigendian):
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    store, kind = get_typestore(Stores.ROS2_HUMBLE), "sensor_msgs/msg/PointCloud2"
    types = store.types
    made = message(scene(), order=">" if bigendian else "<", nan_rows=3)
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](5, 6), "lidar")
    fields = [types["sensor_msgs/msg/PointField"](f.name, f.offset, f.datatype, f.count) for f in made.fields]
    data = np.frombuffer(made.data, np.uint8)
    sent = types[kind](header, 1, made.width, fields, bigendian, made.point_step, made.row_step, data, False)
    with rosbag2.Writer(tmp_path / "bag", version=9) as bag:
        connection = bag.add_connection("/points", kind, typestore=store)
        bag.write(connection, 1, store.serialize_cdr(sent, kind))
    with rosbag2.Reader(tmp_path / "bag") as bag:
        (read,) = [store.deserialize_cdr(raw, each.msgtype) for each, _, raw in bag.messages()]
    found = detect(ByHeight(), cloud_of_message(read), up=up_of_frame(read.header.frame_id), objects=ObjectOptions())
    assert found == detect(ByHeight(), cloud_of_message(made), up="z", objects=ObjectOptions())
    assert [each.label for each in found] == ["tall", "flat"]
