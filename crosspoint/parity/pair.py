"""Two models that are to be compared have to be two forms of one network."""

from crosspoint.core.errors import InputError
from crosspoint.parity.limits import LIMITS
from crosspoint.runtime.encoder import Encoder


def check_pair(reference: Encoder, candidate: Encoder, *, points: int) -> None:
    """Raise InputError unless two models take clouds of `points`, give equal shapes, and have limits to be held to."""
    first, second = reference.specification, candidate.specification
    if first.dim != second.dim or first.categories != second.categories:
        raise InputError(
            f"{first.path} gives {first.dim} values per cloud and {second.path} {second.dim}; give two forms of one "
            "network"
        )
    if second.precision not in LIMITS:
        raise InputError(f"{second.path} has the precision {second.precision!r}, for which there is no gate")
    first.check_points(points)
    second.check_points(points)
