"""What the neighbours of DGCNN's first layer cost, and what a search in three dimensions saves of an embedding.

    python benchmarks first_layer --json first_layer.json

The same clouds in turns, one at a time, on one thread: the CPU operators with all products of the first layer, as for
the other layers, and with the search in boxes; then the layer's neighbours alone, in PyTorch and with SciPy's k-d tree.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from growth import export
from results import Series, add_json, write
from scaling.work import Setting
from scipy.spatial import KDTree
from turns import Work, clouds_of, in_turns

from crosspoint.core.errors import CheckFailed
from crosspoint.models import DGCNN
from crosspoint.models.neighbours import nearest
from crosspoint.runtime.backends.kernels import exported
from crosspoint.runtime.backends.onnx import OnnxEncoder

K = 20
POINTS = (1024, 4096, 8192, 16384)
PAIRS, BOXES = "all products", "boxes"
TORCH, TORCH_LAYER, TREE = "PyTorch, embedding", "PyTorch, first neighbours", "SciPy's tree"


class AllProducts(exported.Reader):
    """Treats points in three dimensions as it does features."""

    def _edge(self, x: str, *, spatial: bool = False) -> str:
        return super()._edge(x)


def works_of(points: int, folder: Path) -> dict[str, Work]:
    """What is timed, on one cloud; checks that both graphs give the same embedding.

    Raises:
        CheckFailed: They do not.
    """
    file, clouds = export(Setting("embed", "dgcnn", points), folder), clouds_of(1, points)
    boxes = OnnxEncoder(file, threads=1)
    with patch.object(exported, "Reader", AllProducts):
        pairs = OnnxEncoder(file, threads=1)
    one, other = boxes.embed(clouds), pairs.embed(clouds)
    if not np.array_equal(one, other):
        raise CheckFailed(f"the embeddings of {points} points differ by up to {np.abs(one - other).max():.1e}")
    network, tensor = DGCNN(k=K).eval(), torch.from_numpy(clouds)

    def embed_in_torch() -> None:
        with torch.inference_mode():
            network(tensor)

    return {
        PAIRS: partial(pairs.embed, clouds),
        BOXES: partial(boxes.embed, clouds),
        TORCH: embed_in_torch,
        TORCH_LAYER: lambda: nearest(tensor, K),
        TREE: lambda: KDTree(clouds[0]).query(clouds[0], K),
    }


def row_of(points: int, times: dict[str, list[float]]) -> dict[str, float]:
    """Medians in milliseconds, and the share of an embedding that is saved: the median of the rounds' own shares."""
    saved = [1 - after / before for before, after in zip(times[PAIRS], times[BOXES], strict=True)]
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    return {"points": points, **medians, "saved": round(statistics.median(saved), 4)}


def table(rows: list[dict[str, float]]) -> list[str]:
    """Lines of Markdown."""
    names = (PAIRS, BOXES)
    heads = ["points", *(f"embedding, {name}" for name in names), "saved", TORCH, "of it neighbours", TREE]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for row in rows:
        cells = [f"{row['points']:,}", *(f"{row[name]:.1f} ms" for name in names), f"{row['saved']:.1%}"]
        cells += [f"{row[TORCH]:.0f} ms", f"{row[TORCH_LAYER] / row[TORCH]:.1%}", f"{row[TREE]:.1f} ms"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--points", type=int, action="append", metavar="N", help="may be repeated")
    add_json(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, series = [], []
    with tempfile.TemporaryDirectory() as folder:
        for points in arguments.points or POINTS:
            times = in_turns(works_of(points, Path(folder)), arguments.rounds, warm=1)
            rows.append(row_of(points, times))
            for name, values in times.items():
                beside = None if name == PAIRS else f"{points} points, {PAIRS}"
                series.append(Series(f"{points} points, {name}", "ms", tuple(values), beside))
    print("\n".join(table(rows)))
    write("first_layer", arguments, series, rows)
