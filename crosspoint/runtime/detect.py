"""Names the objects in a scan, for a node of a robot: clouds in, labels and boxes out, without ROS."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.data.frames import Up, to_y_up
from crosspoint.data.io.scans.pointcloud2 import cloud_of_message
from crosspoint.data.objects.find import Object, ObjectOptions, find_objects
from crosspoint.data.points import Coordinates, drop_missing, normalise
from crosspoint.data.sources import draw_points
from crosspoint.runtime.classifier import Predictions
from crosspoint.runtime.encoder import Encoder

__all__ = ["DetectedObject", "cloud_of_message", "detect", "up_of_frame"]
OPTICAL = ("_optical", "_optical_frame")
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class DetectedObject:
    """An object of a scan and its class.

    Attributes:
        label: The most probable class, also of an unknown object.
        probability: Its probability.
        unknown: Whether it is less like the labelled objects than the classifier's threshold.
        points: Number of points of the object.
        lower: Least x, y and z of its box, in the frame of the scan.
        upper: Greatest x, y and z.
    """

    label: str
    probability: float
    unknown: bool
    points: int
    lower: Vector
    upper: Vector

    @property
    def centre(self) -> Vector:
        """Middle of the box."""
        x, y, z = ((low + high) / 2 for low, high in zip(self.lower, self.upper, strict=True))
        return x, y, z

    @property
    def size(self) -> Vector:
        """Sides of the box along x, y and z."""
        x, y, z = (high - low for low, high in zip(self.lower, self.upper, strict=True))
        return x, y, z


def up_of_frame(frame: str) -> Up:
    """The axis that points up in a frame of a robot, by the convention of ROS (REP 103).

    z is up in bodies and sensors. In the optical frame of a camera, whose name ends in `_optical` or `_optical_frame`,
    z points forward and y down.
    """
    return "-y" if frame.endswith(OPTICAL) else "z"


def detect(
    classifier: Encoder, points: Coordinates, *, up: Up, objects: ObjectOptions | None = None, seed: int = 0
) -> list[DetectedObject]:
    """Classify the objects of a scan, or a cloud of one object.

    Args:
        classifier: An open classifier.
        points: (N, 3) coordinates in metres; points that are NaN or infinite are left out.
        up: The axis that points up.
        objects: How objects are found; None: the cloud is one object.
        seed: Random seed of the points that are drawn from an object.

    Returns:
        Objects of most points first. Those with fewer points than the classifier takes are left out.

    Raises:
        InputError: The model is not a classifier, or the array is no cloud.

    Example:
        >>> with crosspoint.load("classifier") as c:            # doctest: +SKIP
        ...     detect(c, scan, up="z", objects=ObjectOptions())
    """
    about = classifier.specification.classifier
    if about is None:
        raise InputError(f"{classifier.specification.path} is not a classifier; make one with crosspoint fit")
    found = _one(points) if objects is None else find_objects(points, ObjectOptions(**{**vars(objects), "up": up}))
    least = max(classifier.specification.min_points, 1 if about.at_most else about.points or 1)
    kept = [each for each in found if len(each.points) >= least]
    clouds = [
        normalise(to_y_up(draw_points(each.points, about.points, seed=seed, at_most=about.at_most, draws=1), up))
        for each in kept
    ]
    return _detected(kept, [classifier.predict(cloud) for cloud in clouds])


def _one(points: Coordinates) -> list[Object]:
    """A whole cloud as an object; none if it has no points."""
    there = np.asarray(drop_missing(points), np.float64)
    if not len(there):
        return []
    return [Object(there, _vector(there.min(axis=0)), _vector(there.max(axis=0)))]


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    x, y, z = values.tolist()
    return x, y, z


def _detected(objects: Sequence[Object], predictions: Sequence[Predictions]) -> list[DetectedObject]:
    return [
        DetectedObject(
            found.labels[0],
            float(found.probabilities[0]),
            bool(found.unknown[0]),
            len(each.points),
            each.lower,
            each.upper,
        )
        for each, found in zip(objects, predictions, strict=True)
    ]
