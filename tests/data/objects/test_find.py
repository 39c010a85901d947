"""Objects at known places are found: the right number, with the right boxes."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from toy_scenes import box, ground, lift, sphere

from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.data.frames import UPS, from_y_up, to_y_up
from crosspoint.data.objects.find import GROUND, REST, WALL, ObjectOptions, find_objects, segment
from crosspoint.data.objects.voxels import voxelise

TOLERANCE = 0.05  # metres, of the sides and the upper face of a box that is densely sampled
CUT = 0.2 + 0.15  # a box begins above the ground by at most the ground distance and a voxel


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def things(rng, slope=(0.0, 0.0)):
    """Three boxes and a sphere that stand apart, each of its own number of points."""
    return [
        box(rng, lift((-6, -6), slope), (2, 1, 1.5), 2500),
        box(rng, lift((5, -4), slope), (1, 1, 2), 2000),
        box(rng, lift((6, 6), slope), (0.6, 0.6, 1.8), 1500),
        sphere(rng, lift((-5, 5), slope) + np.array([0, 0, 0.6]), 0.6, 1000),
    ]


def assert_boxes(found, expected):
    """One object for each thing, those of most points first, with its box."""
    assert len(found) == len(expected)
    for one, points in zip(found, expected, strict=True):
        low, high = points.min(axis=0), points.max(axis=0)
        np.testing.assert_allclose(one.upper, high, atol=TOLERANCE)
        np.testing.assert_allclose(one.lower[:2], low[:2], atol=0.1)  # a sphere is narrower where it is cut
        assert low[2] <= one.lower[2] <= low[2] + CUT


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.06, -0.04), (-0.15, 0.1)])
def test_things_on_a_plane_are_found(rng, slope):
    expected = things(rng, slope)
    scan = np.concatenate([ground(rng, slope=slope), *expected])
    assert_boxes(find_objects(scan), expected)


def test_things_on_ground_that_is_no_plane_are_found(rng):
    def bend(points):
        return points + np.column_stack([np.zeros((len(points), 2)), np.cos(points[:, 0] / 8)])

    expected = [bend(thing) for thing in things(rng)]
    scan = np.concatenate([bend(ground(rng, count=12000)), *expected])
    scene = segment(scan)
    assert len(scene.objects) == len(expected)
    assert (scene.labels[:12000] == GROUND).mean() > 0.995  # by the plane alone, 0.5


def test_without_ground_nothing_is_removed(rng):
    expected = things(rng)
    scene = segment(np.concatenate(expected))
    assert not scene.has_ground
    assert [len(one.points) for one in scene.objects] == [len(points) for points in expected]
    for one, points in zip(scene.objects, expected, strict=True):
        np.testing.assert_array_equal(one.points, points)
        np.testing.assert_array_equal((one.lower, one.upper), (points.min(axis=0), points.max(axis=0)))


def test_ground_that_is_to_be_kept_makes_one_object_of_all(rng):
    scan = np.concatenate([ground(rng, size=5, count=8000), box(rng, (0, 0, 0), (1, 1, 1))])
    (one,) = find_objects(scan, ObjectOptions(ground=False))
    assert len(one.points) == len(scan)


def test_ground_alone_holds_no_object(rng):
    scene = segment(ground(rng))
    assert scene.objects == []
    assert scene.has_ground
    assert set(scene.labels) == {GROUND}


def test_noise_joins_no_objects(rng):
    expected = things(rng)
    noise = rng.uniform((-10, -10, 0), (10, 10, 4), (80, 3))
    noise = noise[cKDTree(np.concatenate(expected)).query(noise)[0] > 0.75]  # nearer, it is of the object
    assert_boxes(find_objects(np.concatenate([ground(rng), *expected, noise])), expected)


def test_points_below_the_ground_are_ground(rng):
    expected = things(rng)
    ghosts = rng.uniform((-10, -10, -4), (10, 10, -1), (200, 3))  # of a mirror or a puddle
    scan = np.concatenate([ground(rng), *expected, ghosts])
    scene = segment(scan)
    assert_boxes(scene.objects, expected)
    assert set(scene.labels[-200:]) == {GROUND}


def test_a_wall_is_too_large_and_what_stands_before_it_is_found(rng):
    wall = box(rng, (0, 8, 0), (16, 0.2, 3), 20000)
    before = box(rng, (2, 6, 0), (1, 1, 1.5), 2000)
    scene = segment(np.concatenate([ground(rng), wall, before]))
    assert_boxes(scene.objects, [before])
    assert scene.too_large == 1
    (whole, _) = find_objects(np.concatenate([ground(rng), wall, before]), ObjectOptions(largest_extent=20))
    assert whole.upper[0] - whole.lower[0] == pytest.approx(16, abs=TOLERANCE)


def test_two_objects_that_touch_are_one(rng):
    pair = [box(rng, (0, 0, 0), (1, 1, 1), 2000), box(rng, (1, 0, 0), (1, 1, 1.5), 2000)]
    assert_boxes(find_objects(np.concatenate([ground(rng), *pair])), [np.concatenate(pair)])


@pytest.mark.parametrize(("gap", "count"), [(0.35, 1), (0.9, 2)])
def test_the_cluster_distance_divides(rng, gap, count):
    pair = [box(rng, (0, 0, 0), (1, 1, 1), 4000), box(rng, (1 + gap, 0, 0), (1, 1, 1), 4000)]
    assert len(find_objects(np.concatenate([ground(rng), *pair]))) == count


def test_things_of_few_points_are_left_out_and_counted(rng):
    expected = things(rng)
    speck = sphere(rng, (0, 0, 1), 0.1, 20)
    scene = segment(np.concatenate([ground(rng), *expected, speck]))
    assert_boxes(scene.objects, expected)
    assert scene.too_few_points == 1
    assert len(find_objects(np.concatenate([ground(rng), *expected, speck]), ObjectOptions(least_points=20))) == 5


def test_a_ceiling_is_not_the_ground(rng):
    inside = box(rng, (0, 0, 0), (1, 1, 1), 2000)
    floor, ceiling = ground(rng, size=4, count=3000), ground(rng, size=4, count=9000) + np.array([0, 0, 2.6])
    scene = segment(np.concatenate([floor, ceiling, inside]))
    assert (scene.labels[:3000] == GROUND).all()
    assert (scene.labels[3000:12000] != GROUND).all()
    assert len(scene.objects) == 2


def room(rng):
    """Floor, ceiling and four walls of a room of 5 m × 4 m × 2.6 m, and four things, two of them against a wall."""
    size = np.array([5.0, 4.0, 2.6])
    shell = []
    for axis in range(3):
        for end in (0.0, 1.0):
            face = rng.uniform(0, 1, (12000, 3))
            face[:, axis] = end
            shell.append(face * size + rng.normal(0, 0.003, face.shape))
    inside = [
        box(rng, (0.42, 2, 0), (0.8, 2, 0.5), 9000),
        box(rng, (4, 3.67, 0), (1.2, 0.6, 1.6), 8000),
        box(rng, (2.5, 1.8, 0), (1, 0.8, 0.7), 7000),
        box(rng, (4.2, 0.8, 0), (0.5, 0.5, 0.9), 6000),
    ]
    return shell, inside


ROOM = ObjectOptions(cluster_distance=0.15, ground_distance=0.05, least_points=300)


def test_walls_and_the_ceiling_of_a_room_are_removed(rng):
    shell, inside = room(rng)
    scene = segment(np.concatenate([*shell, *inside]), replace(ROOM, walls=True))
    of_wall = np.repeat([True, True, True, True, False, True], 12000)  # the fifth is the floor
    assert (scene.labels[: len(of_wall)][of_wall] == WALL).mean() > 0.97
    assert (scene.labels[: len(of_wall)][~of_wall] == GROUND).mean() > 0.97
    assert len(scene.objects) == len(inside)
    found = sorted(scene.objects, key=lambda one: one.lower)  # what stands at a wall loses points to it
    for one, points in zip(found, sorted(inside, key=lambda points: points[:, 0].min()), strict=True):
        np.testing.assert_allclose(one.upper, points.max(axis=0), atol=0.1)
        np.testing.assert_allclose(one.lower, points.min(axis=0), atol=0.1)


def test_with_its_walls_a_room_is_one_object(rng):
    shell, inside = room(rng)
    scene = segment(np.concatenate([*shell, *inside]), ROOM)
    assert np.ptp([scene.objects[0].lower, scene.objects[0].upper], axis=0)[:2] == pytest.approx((5, 4), abs=0.05)
    assert WALL not in scene.labels


def test_furniture_is_no_wall(rng):
    expected = things(rng)
    scan = np.concatenate([ground(rng), *expected])
    scene = segment(scan, ObjectOptions(walls=True))
    assert_boxes(scene.objects, expected)
    assert WALL not in scene.labels


@pytest.mark.parametrize("up", UPS)
def test_the_frame_turns_with_the_scan(rng, up):
    scan = np.concatenate([ground(rng, slope=(0.05, 0.02)), *things(rng, (0.05, 0.02))])
    turned = segment(from_y_up(to_y_up(scan, "z"), up), ObjectOptions(up=up))
    assert turned.has_ground
    assert len(turned.objects) == 4
    for one, points in zip(turned.objects, things(np.random.default_rng(0), (0.05, 0.02)), strict=True):
        assert len(one.points) > 0.5 * len(points)


def test_the_same_scan_gives_the_same_objects(rng):
    scan = np.concatenate([ground(rng), *things(rng)])
    first, second = segment(scan), segment(scan)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_the_order_of_the_points_does_not_matter(rng):
    scan = np.concatenate([ground(rng), *things(rng)])
    order = rng.permutation(len(scan))
    np.testing.assert_array_equal(segment(scan[order]).labels, segment(scan).labels[order])


def test_coordinates_of_a_map_give_the_same_objects(rng):
    scan = np.concatenate([ground(rng), *things(rng)])
    away = np.array([448_262.0, 5_411_932.0, 250.0])
    near, far = find_objects(scan), find_objects(scan + away)
    assert [len(one.points) for one in near] == [len(one.points) for one in far]
    for one, other in zip(near, far, strict=True):
        np.testing.assert_allclose(other.lower - away, one.lower, atol=1e-6)


def test_points_that_are_not_finite_are_of_no_object(rng):
    scan = np.concatenate([ground(rng), *things(rng)])
    holes = np.insert(scan, [3, 7000], [[np.nan, 0, 0], [0, np.inf, 0]], axis=0)
    scene, whole = segment(holes), segment(scan)
    assert (scene.labels[3], scene.labels[7001]) == (REST, REST)
    np.testing.assert_array_equal(np.delete(scene.labels, [3, 7001]), whole.labels)


def test_clusters_are_those_of_a_literal_dbscan(rng):
    """Core voxels are in one cluster exactly if steps from core to core, within the distance, join them."""
    options = ObjectOptions(ground=False, least_points=1, largest_extent=1e3)
    scan = rng.uniform(0, 5, (900, 3))
    scene = segment(scan, options)
    grid = voxelise(scan, options.side, most=10**6, largest_side=1.0)
    near = cKDTree(grid.means).query_ball_point(grid.means, options.cluster_distance)
    core = [len(others) >= 4 for others in near]
    cluster = dict(enumerate(range(len(near))))
    changed = True
    while changed:  # join until nothing changes
        changed = False
        for voxel, others in enumerate(near):
            if core[voxel]:
                least = min(cluster[other] for other in others if core[other])
                changed |= cluster[voxel] != least
                cluster[voxel] = least
    of_point = scene.labels
    label_of = {}
    for point, voxel in enumerate(grid.of_point):
        if core[voxel]:
            assert label_of.setdefault(cluster[voxel], of_point[point]) == of_point[point] >= 0
        elif not any(core[other] for other in near[voxel]):
            assert of_point[point] == REST
    assert len(set(label_of.values())) == len(label_of) == len(scene.objects)


def test_voxels_hold_the_means_of_their_points(rng):
    points = rng.uniform(-3, 3, (500, 3))
    grid = voxelise(points, 0.5, most=10**6, largest_side=1.0)
    cells = {}
    for point in points:
        cells.setdefault(tuple(np.floor((point - points.min(axis=0)) / 0.5)), []).append(point)
    expected = {tuple(np.round(np.mean(own, axis=0), 9)) for own in cells.values()}
    assert {tuple(mean) for mean in np.round(grid.means, 9)} == expected
    assert len(grid.of_point) == len(points)


def test_voxels_grow_until_there_are_few_enough(rng):
    points = rng.uniform(0, 4, (5000, 3))
    grid = voxelise(points, 0.1, most=1000, largest_side=1.0)
    assert len(grid.means) <= 1000
    assert len(voxelise(points, grid.side / 1.25, most=10**6, largest_side=1.0).means) > 1000


def test_a_scan_of_too_many_voxels_is_refused(rng):
    with pytest.raises(InputError, match="occupies more than 100 voxels of"):
        voxelise(rng.uniform(0, 4, (5000, 3)), 0.1, most=100, largest_side=0.2)


def test_a_scan_that_spans_the_world_is_refused(rng):
    with pytest.raises(InputError, match="give coordinates in metres"):
        segment(rng.uniform(-1e9, 1e9, (100, 3)))


@pytest.mark.parametrize("shape", [(10,), (10, 4), (2, 10, 3)])
def test_other_arrays_are_refused(shape):
    with pytest.raises(InputError, match=r"a scan is an array \(N, 3\)"):
        find_objects(np.zeros(shape))


@pytest.mark.parametrize("scan", [np.zeros((2, 3)), np.full((10, 3), np.nan), np.empty((0, 3))])
def test_too_few_points_are_refused(scan):
    with pytest.raises(InputError, match="too few to look for objects"):
        find_objects(scan)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("ground_distance", 0.0, "--ground-distance 0 is not a length"),
        ("cluster_distance", -1.0, "--cluster-distance -1 is not a length"),
        ("largest_extent", np.inf, "--largest-extent inf is not a length"),
        ("voxel", np.nan, "--voxel nan is not a length"),
        ("voxel", 0.4, "--voxel 0.4 is more than half of --cluster-distance 0.6; give at most 0.3"),
        ("least_points", 0, "--least-points is 0; give 1 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(option, value, message):
    with pytest.raises(InputError, match=message):
        replace(ObjectOptions(), **{option: value})


def test_a_single_place_is_one_object_or_none():
    assert len(find_objects(np.zeros((50, 3)), ObjectOptions(least_points=10))) in (0, 1)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingDependency, match=r"finding objects in a scan needs .*\[objects\]"):
        find_objects(np.zeros((50, 3)))
