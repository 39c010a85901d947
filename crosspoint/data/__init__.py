"""Datasets, point-cloud and mesh files, parametric shapes and rendering. Nothing here imports torch."""

from typing import TYPE_CHECKING

from crosspoint.core.lazy import lazy

if TYPE_CHECKING:
    from crosspoint.data.io.files import read_points as read_points
    from crosspoint.data.points import normalise as normalise
    from crosspoint.data.points import sample_points as sample_points

__all__ = ["normalise", "read_points", "sample_points"]

_functions = {
    "normalise": "crosspoint.data.points",
    "read_points": "crosspoint.data.io.files",
    "sample_points": "crosspoint.data.points",
}
__getattr__ = lazy(__name__, _functions)
