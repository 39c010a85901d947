"""Checks what a model is given: paths, clouds and categories."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosspoint.core.errors import InputError
from crosspoint.data.frames import Up, to_y_up
from crosspoint.data.points import normalise as normalise_clouds
from crosspoint.runtime.specification import Specification

FloatArray = NDArray[np.float32]
LARGEST_MEAN, RADII = 0.25, (0.6, 1.5)
"""Accepted as normalised: the largest distance of the mean to the origin, and the range of the farthest point. Points
drawn from a normalised cloud pass, even without its farthest point; a unit cube or a unit diameter does not."""


def as_paths(points: object) -> list[Path] | None:
    """The paths, if these are paths; None for an array."""
    if isinstance(points, str | Path):
        return [Path(points)]
    if isinstance(points, list | tuple) and points and all(isinstance(path, str | Path) for path in points):
        return [Path(path) for path in points]
    return None


def prepare(points: ArrayLike, specification: Specification, *, normalise: bool, up: Up | None) -> FloatArray:
    """Check clouds and turn them to y-up. With `normalise`, centre and scale them too, in float64."""
    array = check_points(points, specification)
    if normalise:
        return normalise_clouds(to_y_up(np.asarray(points), up or "y"))
    check_normalised(array, specification)
    return array if up in (None, "y") else to_y_up(array, up)


def check_points(points: ArrayLike, specification: Specification) -> FloatArray:
    """Check the type, shape and number of points of clouds `(B, N, 3)`, and make them float32."""
    array = _as_float32(points, "points")
    if array.ndim != 3 or array.shape[2] != 3 or array.shape[0] == 0:
        hint = "; for one cloud give points[None]" if array.ndim == 2 and array.shape[1] == 3 else ""
        raise InputError(f"points have the shape {array.shape}; give (B, N, 3) with B at least 1{hint}")
    specification.check_points(array.shape[1])
    return array


def check_normalised(clouds: FloatArray, specification: Specification) -> None:
    """Raise InputError if clouds `(B, N, 3)` are clearly not normalised. Clouds of zeros are accepted."""
    with np.errstate(over="ignore"):  # infinite is far as well
        squares = clouds * clouds
        radii = np.sqrt((squares[..., 0] + squares[..., 1] + squares[..., 2]).max(axis=1))  # (B,)
        sums = np.ones((1, clouds.shape[1]), np.float32) @ clouds  # (B, 1, 3), 4 times as fast as `sum`
        means = np.linalg.norm(sums[:, 0], axis=1) / clouds.shape[1]  # (B,)
    low, high = RADII
    if (radii >= low).all() and (radii <= high).all() and (means <= LARGEST_MEAN).all():
        return
    bad = np.flatnonzero(((radii < low) & (radii > 0)) | (radii > high) | (means > LARGEST_MEAN))
    if len(bad):
        first = bad[0]
        raise InputError(
            f"{len(bad)} of {len(clouds)} clouds are not normalised, first number {first}: its mean lies "
            f"{means[first]:.3g} from the origin and its farthest point {radii[first]:.3g}, where "
            f"{specification.path} was trained on 0 and 1; give normalise=True"
        )


def check_category(category: ArrayLike, batch: int, *, specification: Specification) -> FloatArray:
    """Check that categories are one-hot `(B, categories)`, and make them float32."""
    array = _as_float32(category, "category", integers=True)
    wanted = (batch, specification.categories)
    if array.shape != wanted:
        raise InputError(f"category has the shape {array.shape}; these points need one-hot {wanted}")
    if not (np.all((array == 0) | (array == 1)) and np.all(array.sum(axis=1) == 1)):
        raise InputError("category is not one-hot; every row needs one 1, and 0 elsewhere")
    return array


def _as_float32(values: ArrayLike, name: str, integers: bool = False) -> FloatArray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} are not a regular array ({error}); give a numpy array of float32") from None
    kinds = "fiub" if integers else "f"
    if array.dtype.kind not in kinds:
        raise InputError(f"{name} are of type {array.dtype}; give floating-point values, e.g. {name}.astype('float32')")
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, which is reported below
        result = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise InputError(f"{name} hold NaN or infinite values, first at index {first}; remove them")
    return result
