"""Checks that two models are two forms of one network, before they are compared."""

from crosspoint.core.errors import InputError
from crosspoint.parity.limits import LIMITS
from crosspoint.runtime.encoder import Encoder


def check_pair(reference: Encoder, candidate: Encoder, *, points: int) -> None:
    """Raise InputError unless both models take `points` points and give outputs of one shape."""
    first, second = reference.specification, candidate.specification
    if first.dim != second.dim or first.categories != second.categories:
        raise InputError(
            f"{first.path} gives {first.dim} values per cloud and {second.path} {second.dim}; give two forms of one "
            "network"
        )
    if second.precision not in LIMITS:
        raise InputError(f"{second.path} has the precision {second.precision!r}, for which no limits are known")
    first.check_points(points)
    second.check_points(points)
