"""Rate of the embedding job against that of the bare engine on the same clouds in memory, interleaved in one process.

    python benchmarks embed MODEL FOLDER [--rounds 7] [--clouds 256] [--batch 32] [--readers 0]

FOLDER holds at least rounds · clouds files of equal size. Each round times the engine on clouds that are read and
normalised already, and the job (reading, normalising, batching, the engine, one part of Parquet on the disk) on their
files. Finding the files is timed once, apart. Ratios are of medians; the job's peak memory is at the end.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results import Series, add_json, write

from crosspoint.data.sources import read_ahead
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.join import join_job
from crosspoint.runtime.jobs.request import make_request, open_request
from crosspoint.runtime.options import RunOn, Sampling


def embed_all(encoder: Encoder, clouds: NDArray[np.float32], batch: int) -> None:
    for start in range(0, len(clouds), batch):
        encoder.embed(clouds[start : start + batch])


def seconds(work: Callable[..., object], *arguments: object) -> tuple[float, float]:
    """Time of one call: on the wall, and of the cores."""
    start, busy = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - start, time.process_time() - busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clouds", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--readers", type=int, default=0)
    add_json(parser)
    given = parser.parse_args()
    request = make_request(
        given.model,
        [given.folder],
        sampling=Sampling(None, seed=0),
        batch=given.batch,
        run_on=RunOn("cpu", backend=None),
    )
    start = time.perf_counter()
    opened = open_request(request)
    found = time.perf_counter() - start
    bare, job = [], []
    with opened.encoder as encoder, tempfile.TemporaryDirectory() as place:
        plan = join_job(request, opened, out=Path(place) / "out", shards=1, part=given.clouds, form="parquet")
        for index in range(given.rounds + 1):  # the first is warm-up
            sources = opened.sources[plan.range(index)]
            clouds = np.concatenate([loaded.clouds for loaded in read_ahead(sources, 64)])
            out = Path(place) / "out"
            bare.append(seconds(embed_all, encoder, clouds, given.batch))
            job.append(
                seconds(parts.write_parts, encoder, plan, out, opened.sources, [index], given.batch, given.readers)
            )
    (one, busy), (other, busier) = (
        [statistics.median(row[i] for row in rows[1:]) for i in (0, 1)] for rows in (bare, job)
    )
    print(f"model opened and {len(opened.sources)} files found in {found:.2f} s")
    print(f"engine {given.clouds / one:.1f} clouds/s, job {given.clouds / other:.1f} clouds/s: {one / other:.1%}")
    print("each round:", " ".join(f"{a / b:.2f}" for (a, _), (b, _) in zip(bare[1:], job[1:], strict=True)))
    print(f"core time per cloud: engine {1000 * busy / given.clouds:.2f} ms, job {1000 * busier / given.clouds:.2f} ms")
    milliseconds = [[1000 * wall / given.clouds for wall, _ in rows[1:]] for rows in (bare, job)]
    series = (Series("engine", "ms", tuple(milliseconds[0])), Series("job", "ms", tuple(milliseconds[1]), "engine"))
    write("embed", given, series)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
