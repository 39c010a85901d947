"""The objects in a scan: a voxel grid, ground removed, DBSCAN on the rest.

What stands apart is an object: no class is known, and things that touch are one. A trained detector does better where
there is one for the scene at hand.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError, require
from crosspoint.core.results import OPTIONAL
from crosspoint.data.frames import Up, parse_up, to_y_up
from crosspoint.data.objects.ground import height_above_ground
from crosspoint.data.objects.voxels import Voxels, voxelise
from crosspoint.data.objects.walls import find_walls

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]
Vector = tuple[float, float, float]  # x, y, z

SCAN_UP: Up = "z"  # of scans whose format does not say
WALL, GROUND, REST = -3, -2, -1  # labels of points that are of no object
VOXELS_PER_DISTANCE = 4  # voxels along a cluster distance, if the voxel is not given
MOST_VOXELS = 1_000_000  # DBSCAN keeps every voxel's neighbours: about 0.5 GB
CORE = 4  # voxels within the cluster distance, itself included, that make one a core point of DBSCAN
LEAST_POINTS = 3  # of a scan


@dataclass(frozen=True, kw_only=True)
class ObjectOptions:
    """How objects are found. Lengths are in metres.

    Attributes:
        up: Axis of the scan that points up. None: the one that its format states, else z.
        ground: Whether the ground is removed.
        walls: Whether walls and ceilings are removed too, for rooms.
        ground_distance: Points less than this above the ground, and all below it, are ground.
        cluster_distance: Things further apart than this are different objects.
        least_points: Objects of fewer points are left out.
        largest_extent: Objects whose box is longer than this on one side are left out.
        voxel: Side of the voxels; None for a quarter of `cluster_distance`.
    """

    up: Up | None = field(default=None, metadata=OPTIONAL)
    ground: bool = True
    walls: bool = False
    ground_distance: float = 0.2
    cluster_distance: float = 0.6
    least_points: int = 30
    largest_extent: float = 12.0
    voxel: float | None = None

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            InputError: `up` is no axis, a length is not a positive number, or the voxel is too large for the cluster
                distance.
        """
        if self.up is not None:
            parse_up(self.up)
        lengths = {
            "ground-distance": self.ground_distance,
            "cluster-distance": self.cluster_distance,
            "largest-extent": self.largest_extent,
            "voxel": self.side,
        }
        for name, length in lengths.items():
            if not (np.isfinite(length) and length > 0):
                raise InputError(f"--{name} {length:g} is not a length; give metres, more than 0")
        if self.least_points < 1:
            raise InputError(f"--least-points is {self.least_points}; give 1 or more")
        if self.side > self.cluster_distance / 2:
            raise InputError(
                f"--voxel {self.side:g} is more than half of --cluster-distance {self.cluster_distance:g}; "
                f"give at most {self.cluster_distance / 2:g}"
            )

    @property
    def side(self) -> float:
        """Side of the voxels in metres."""
        return self.cluster_distance / VOXELS_PER_DISTANCE if self.voxel is None else self.voxel


@dataclass(frozen=True)
class Object:
    """One object of a scan, in the scan's own frame.

    Attributes:
        points: (N, 3) float64, in the order of the scan.
        lower: Least x, y and z.
        upper: Greatest x, y and z.
    """

    points: Floats
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class SegmentedScan:
    """What was found in a scan.

    Attributes:
        objects: Those of most points first.
        labels: (N,) of each point: the object's index, `GROUND`, `WALL` or `REST`.
        points: Points in the scan.
        has_ground: Whether ground was found and removed.
        too_few_points: Clusters left out because of `least_points`.
        too_large: Clusters left out because of `largest_extent`.
        voxel: Side of the voxels in metres, larger than asked for if the scan needed it.
        extent: Of the scan, in metres along x, y and z.
    """

    objects: list[Object]
    labels: Labels
    points: int
    has_ground: bool
    too_few_points: int
    too_large: int
    voxel: float
    extent: Vector


def find_objects(points: npt.NDArray[Any], options: ObjectOptions = ObjectOptions()) -> list[Object]:
    """Find the objects in a scan; the same points and options give the same objects.

    Args:
        points: (N, 3) coordinates in metres; points that are NaN or infinite are of no object.
        options: Frame, distances and limits.

    Returns:
        Objects of most points first; none if nothing stands apart.

    Raises:
        InputError: The array is no cloud, or too large.
        MissingDependency: scikit-learn is not installed.

    Example:
        >>> points = np.concatenate([block + [at, 0, 0] for at in (0, 3)])     # doctest: +SKIP
        >>> [len(found.points) for found in find_objects(points)]              # doctest: +SKIP
        [1331, 1331]
    """
    return segment(points, options).objects


def segment(points: npt.NDArray[Any], options: ObjectOptions = ObjectOptions()) -> SegmentedScan:
    """As `find_objects`, with what became of every point.

    Raises:
        InputError: The array is no cloud, or too large.
        MissingDependency: scikit-learn is not installed.
    """
    require("sklearn.cluster", "objects", purpose="finding objects in a scan")
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"a scan is an array (N, 3), not {points.shape}; give one scan")
    finite = np.isfinite(points).all(axis=1)
    if int(finite.sum()) < LEAST_POINTS:
        raise InputError(f"{int(finite.sum())} points, too few to look for objects; give a scan of a whole scene")
    labels = np.full(len(points), REST, np.int32)
    whole = points if finite.all() else points[finite]
    scene = _segment(whole, options)
    labels[finite] = scene.labels
    return replace(scene, labels=labels, points=len(points))


def _segment(points: Floats, options: ObjectOptions) -> SegmentedScan:
    voxels = voxelise(points, options.side, most=MOST_VOXELS, largest_side=options.cluster_distance / 2)
    turned = to_y_up(voxels.means, options.up or SCAN_UP)
    ground = _is_ground(turned, options)  # (V,)
    wall = _is_wall(turned, ~ground, options)  # (V,)
    clusters = _cluster(voxels, ~(ground | wall), options.cluster_distance)  # (V,)
    labels = np.select([ground, wall], [GROUND, WALL], clusters).astype(np.int32)[voxels.of_point]  # (N,)
    found = _group(points, labels)
    large = [bool(max(np.subtract(one.upper, one.lower)) > options.largest_extent) for one, _ in found]
    few = [len(one.points) < options.least_points for one, _ in found]
    kept = [pair for pair, *bad in zip(found, large, few, strict=True) if not any(bad)]
    kept.sort(key=lambda pair: (-len(pair[0].points), pair[0].lower, pair[0].upper))
    new = np.full(len(found) + 1, REST, np.int32)  # the last is of points that were REST before
    new[[label for _, label in kept]] = np.arange(len(kept))
    extent = (points.max(axis=0) - points.min(axis=0)).tolist()
    return SegmentedScan(
        objects=[one for one, _ in kept],
        labels=np.where(labels < REST, labels, new[np.maximum(labels, REST)]),
        points=len(points),
        has_ground=bool(ground.any()),
        too_few_points=sum(few),
        too_large=sum(big and not small for big, small in zip(large, few, strict=True)),
        voxel=voxels.side,
        extent=(extent[0], extent[1], extent[2]),
    )


def _is_ground(points: Floats, options: ObjectOptions) -> Bools:
    """Which voxels (V, 3), y-up, are ground."""
    if options.ground:
        above = height_above_ground(points, cell=options.cluster_distance, tolerance=options.ground_distance)
        if above is not None:
            return np.asarray(above <= options.ground_distance)
    return np.zeros(len(points), bool)


def _is_wall(points: Floats, standing: Bools, options: ObjectOptions) -> Bools:
    """Which voxels (V, 3), y-up, of those that stand above the ground, are of a wall or the ceiling."""
    wall = np.zeros(len(points), bool)
    if options.walls:
        wall[standing] = find_walls(points[standing], cell=options.cluster_distance, tolerance=options.ground_distance)
    return wall


def _cluster(voxels: Voxels, standing: Bools, distance: float) -> npt.NDArray[np.int64]:
    """Cluster of each voxel (V,), counted from 0; `REST` if it is of none."""
    from sklearn.cluster import DBSCAN

    clusters = np.full(len(voxels.means), REST, np.int64)
    if standing.any():
        means = voxels.means[standing] - voxels.means[standing].mean(axis=0)
        clusters[standing] = DBSCAN(eps=distance, min_samples=CORE, algorithm="kd_tree").fit_predict(means)
    return clusters


def _group(points: Floats, labels: Labels) -> list[tuple[Object, int]]:
    """The objects of all labels from 0 on, each with its label."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(labels.max() + 2))
    found = []
    for label in range(len(starts) - 1):
        own = points[order[starts[label] : starts[label + 1]]]
        low, high = own.min(axis=0).tolist(), own.max(axis=0).tolist()
        found.append((Object(own, (low[0], low[1], low[2]), (high[0], high[1], high[2])), label))
    return found
