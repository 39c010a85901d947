"""Reading rate of loose ShapeNetRender files against their packed form, interleaved in one process.

    python benchmarks/loader.py DIR PACK [--items 2000] [--rounds 7]

DIR holds `ShapeNet` and `ShapeNetRendering`; PACK is what `crosspoint data pack DIR --out PACK` made of it. One item is
the points of a random object and one of its images, decoded. Both forms read the same items and must return the same
bytes; the files are in the page cache after the first, untimed round.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crosspoint.data.datasets import PairedRenders
from crosspoint.data.pack import PackedRenders

Source = PairedRenders | PackedRenders


def seconds(source: Source, items: Sequence[tuple[int, int]]) -> float:
    """Time to read all items."""
    start = time.perf_counter()
    for i, view in items:
        source.points(i)
        source.image(i, view)
    return time.perf_counter() - start


def check(loose: Source, packed: Source, items: Sequence[tuple[int, int]]) -> None:
    for i, view in items:
        np.testing.assert_array_equal(loose.points(i), packed.points(i))
        np.testing.assert_array_equal(loose.image(i, view), packed.image(i, view))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loose", type=Path)
    parser.add_argument("packed", type=Path)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    loose, packed = PairedRenders(arguments.loose), PackedRenders(arguments.packed)
    generator = np.random.default_rng(0)
    objects = generator.integers(0, len(loose), arguments.items).tolist()
    items = [(i, int(generator.integers(0, loose.views(i)))) for i in objects]
    check(loose, packed, items)
    times = [(seconds(loose, items), seconds(packed, items)) for _ in range(arguments.rounds)]
    for name, median in zip(("loose", "packed"), np.median(times, axis=0) / len(items), strict=True):
        print(f"{name:7}{1 / median:9.0f} items/s {median * 1e6:9.1f} µs")
    print(f"ratio of medians {np.divide(*np.median(times, axis=0)):.1f}")


if __name__ == "__main__":
    main()
