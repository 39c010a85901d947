"""How a cost grows: the exponent of a power law, and what the operations and tensors of the networks say it is."""

import itertools
import math
from collections.abc import Sequence

from crosspoint.runtime.bench.roofline import DGCNN_EDGES, DGCNN_EMBED, POINTNET

UPPER = 8  # the fit takes sizes from the largest / 8 on

PAIRS = sum(channels for channels, _ in DGCNN_EDGES)
DGCNN_WEIGHTS = sum(2 * a * b for a, b in DGCNN_EDGES) + DGCNN_EMBED[0] * DGCNN_EMBED[1]
POINTNET_WEIGHTS = sum(a * b for a, b in itertools.pairwise(POINTNET))


def upper(sizes: Sequence[float]) -> list[float]:
    """The sizes that are fitted."""
    return [size for size in sizes if size * UPPER >= max(sizes)]


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The p of cost = c sizeᵖ, by least squares of the logarithms over the upper range of sizes.

    Args:
        sizes: At least two different ones from the largest / UPPER on.
        costs: Of each size; positive.
    """
    fitted = upper(sizes)
    pairs = [(math.log(x), math.log(y)) for x, y in zip(sizes, costs, strict=True) if x in fitted]
    x_mean, y_mean = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    covariance = math.fsum((x - x_mean) * (y - y_mean) for x, y in pairs)
    return covariance / math.fsum((x - x_mean) ** 2 for x, _ in pairs)


def operations(task: str, model: str, points: int) -> float:
    """Of the matrix products of a cloud: a product of a layer counts once in inference, three times in training.

    Distances of all pairs, 2N²C of a layer with C channels, are computed without a gradient, so once in both.
    """
    times = 1 if task == "embed" else 3
    if model == "pointnet":
        return times * 2 * points * POINTNET_WEIGHTS
    return times * 2 * points * DGCNN_WEIGHTS + 2 * points**2 * PAIRS


def theory(axis: str, task: str, *, model: str, sizes: Sequence[float]) -> tuple[str, str]:
    """The exponents of time and memory that the method has: over these sizes, or between which limits.

    Points: time as the operations; the memory of DGCNN's embedding tends to that of the scores of all pairs, N². In
    training they are formed in pieces. Batch: embedding goes cloud by cloud and keeps the memory of one. k: only the
    maxima and sums over neighbours grow with it.
    """
    if axis == "batch":
        return "1", "0" if task == "embed" else "1"
    if axis == "k":
        return "0 to 1", "0 to 1"
    fitted = upper(sizes)
    time = exponent(fitted, [operations(task, model, int(size)) for size in fitted])
    return f"{time:.2f}", "1 to 2" if (task, model) == ("embed", "dgcnn") else "1"
