"""Makes single views of clouds, batched and on the device: the points that a sensor on one side of an object sees.

Katz et al. (2007, "Direct visibility of point sets") turn a cloud inside out about the sensor: a point q, relative to
it, becomes `f = q (2R − |q|) / |q|`, and is visible if f is a corner of the convex hull of all f. A corner of a hull is
the farthest point in some direction, so that no hull is needed here: the farthest points in `DIRECTIONS · N`
directions, spread evenly over the cone that holds the object, are the visible ones, except a few whose corner is too
blunt to be met. `crosspoint.data.visible` has the hull itself; docs/evaluation.md says how often each agrees with a ray
caster.
"""

import math

import torch
from torch import Tensor

from crosspoint.data.rendering.render import ELEVATIONS
from crosspoint.train.pretrain.augment import SampleRng, normalise

FLIP = 1 / 60  # as in `crosspoint.data.visible`, where it is 1/100: a larger one makes up for corners that are missed
DISTANCES = (2.0, 6.0)  # of the sensor from the object's centre, in its radii
DIRECTIONS = 4  # for each point
WIDER = 1.1  # than the cone around the unit sphere
CHUNK = 1024  # directions at a time


CUT_FROM = 2  # times the points of a view: what is seen of so many seldom has to be copied much


def single_view(points: Tensor, count: int, *, rng: SampleRng) -> Tensor:
    """Draw `count` of the points of each cloud that a sensor sees; where it sees fewer, they are copied evenly.

    The sensor stands at an azimuth of U(0, 2π), an elevation of U(−10°, 50°) and a distance of U(2, 6) radii; y is up.

    Args:
        points: `(B, N, 3)`, in any unit.
        count: Points of a view.
        rng: Random generator of the sensors, the points and the copies, on the device of `points`.

    Returns:
        `(B, count, 3)`, each cloud normalised before it was cut.
    """
    batch = len(points)
    x = normalise(points)
    azimuth = rng.uniform(batch, high=2 * torch.pi)
    elevation = rng.uniform(batch, low=math.radians(ELEVATIONS[0]), high=math.radians(ELEVATIONS[1]))
    level = elevation.cos()
    towards = torch.stack([level * azimuth.sin(), elevation.sin(), level * azimuth.cos()], dim=1)  # (B, 3)
    sensors = towards * rng.uniform(batch, 1, low=DISTANCES[0], high=DISTANCES[1])
    seen = visible(x, sensors)  # (B, N)
    order = (rng.uniform(*seen.shape) + ~seen).argsort(dim=1)  # those seen come first, in random order
    turns = torch.arange(count, device=x.device) % seen.sum(dim=1, keepdim=True)  # (B, count): 0, …, seen − 1, 0, …
    return x.gather(1, order.gather(1, turns).unsqueeze(2).expand(-1, -1, 3))


def visible(points: Tensor, sensors: Tensor) -> Tensor:
    """Find which points a sensor sees; at least one of each cloud.

    Args:
        points: `(B, N, 3)` in the unit sphere.
        sensors: `(B, 3)`, outside it.

    Returns:
        `(B, N)` bool.
    """
    rays = points - sensors.unsqueeze(1)  # (B, N, 3)
    length = torch.linalg.vector_norm(rays, dim=2, keepdim=True)  # (B, N, 1)
    squared = sensors.square().sum(dim=1).view(-1, 1, 1)  # (B, 1, 1): of the distance
    radius = torch.maximum(FLIP * points.shape[1] * squared, length.amax(dim=1, keepdim=True))  # Katz's R
    flipped = rays * (2 * radius / length - 1)  # (B, N, 3)
    seen = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device)
    for directions in torch.split(_cone(sensors, DIRECTIONS * points.shape[1]), CHUNK, dim=1):  # (B, CHUNK, 3)
        seen.scatter_(1, (directions @ flipped.transpose(1, 2)).argmax(dim=2), True)
    return seen


def _cone(sensors: Tensor, count: int) -> Tensor:
    """Directions `(B, count, 3)` from each sensor, evenly over the cone around the unit sphere: a Fibonacci spiral."""
    distance = torch.linalg.vector_norm(sensors, dim=1, keepdim=True)  # (B, 1)
    ahead = -sensors / distance  # (B, 3)
    least = torch.eye(3, device=sensors.device, dtype=sensors.dtype)[ahead.abs().argmin(dim=1)]  # never along `ahead`
    right = torch.linalg.cross(ahead, least)
    right = right / torch.linalg.vector_norm(right, dim=1, keepdim=True)
    up = torch.linalg.cross(right, ahead)
    steps = torch.arange(count, device=sensors.device, dtype=sensors.dtype) + 0.5  # (count,)
    along = 1 - (1 - (WIDER * (1 / distance).asin()).cos()) * steps / count  # (B, count): cosine of the angle to ahead
    across = (1 - along.square()).sqrt()
    turn = steps * math.pi * (3 - math.sqrt(5))  # the golden angle
    sideways = turn.cos().view(1, -1, 1) * right.unsqueeze(1) + turn.sin().view(1, -1, 1) * up.unsqueeze(1)
    cone: Tensor = along.unsqueeze(2) * ahead.unsqueeze(1) + across.unsqueeze(2) * sideways
    return cone
