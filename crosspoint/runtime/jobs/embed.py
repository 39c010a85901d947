"""Embeds point clouds from files, folders, data sets and arrays."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crosspoint.core.errors import InputError, require
from crosspoint.core.outputs import check_file, check_folder
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.batches import embed_groups
from crosspoint.runtime.jobs.embeddings import PARQUET, Embeddings, save
from crosspoint.runtime.jobs.join import about_job, describe, join_job
from crosspoint.runtime.jobs.request import Request, make_request, open_request

SUFFIXES = (".npz", ".npy", ".parquet")


def embed(
    model: Path | str,
    inputs: Sequence[Path],
    out: Path | str,
    points: int | None = None,
    seed: int = 0,
    batch: int = 32,
    device: str = "cpu",
    backend: str | None = None,
    *,
    shard: tuple[int, int] | None = None,
    part: int | None = None,
    form: str | None = None,
    readers: int = 0,
    ray: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Embed the clouds of files, folders and data sets, normalised as in training, into one file or many parts.

    Inputs are read in advance; clouds of equal size form batches. Inputs that cannot be read, or have too few points,
    are left out and listed in the result.

    Args:
        model: Whatever `load_encoder` opens.
        inputs: Mesh and point-cloud files, folders of them, folders of data sets. An array `(N, 3)` is one cloud,
            `(n, N, 3)` is n clouds.
        out: `.npz` or `.parquet` for embeddings, names and the model's SHA-256; `.npy` for the embeddings only. A name
            without a suffix, or one that ends in a slash, is a folder of parts. Each part is written as a whole, and
            parts that exist are kept.
        points: Points per cloud. None: the model's own number if it is fixed; for a released model at most the number
            that it was trained with; else all points.
        seed: Random seed of the points that are drawn. The draw depends on the seed and the file's name only.
        batch: Most clouds per call of the model.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.
        backend: As for `load_encoder`.
        shard: (i, n): write only every n-th part, beginning with the i-th.
        part: Sources per part; None: 1024, or fewer, so that each shard has a part.
        form: Format of the parts, `"parquet"` (default) or `"npz"`.
        readers: Reader processes; 0: read in threads of this process.
        ray: Make the parts on a Ray cluster.
        trust: As for `load_encoder`.

    Returns:
        `model` (the specification), `out`, `points`, `seed`, `dim`, `embedded`, `skipped` (a list of `file` and
            `reason`) and `seconds`; for a file also `names`, for a folder `parts`: `total`, `made`, `kept`, `missing`.

    Raises:
        InputError: The model or an option cannot be used, an input is missing, the folder holds another job, or no
            cloud could be read; then nothing is written.
    """
    start = time.perf_counter()
    request = make_request(model, inputs, points, seed, batch, device, backend, trust)
    if readers < 0:
        raise InputError(f"--readers is {readers}; give 0 or more")
    if _is_folder(out):
        check_folder(Path(out), inputs=inputs)
        result = _embed_folder(request, Path(out), shard, part, form or parts.FORMATS[0], readers, ray)
    elif shard or part or form or ray:
        raise InputError(f"--shard, --part, --format and --ray need a folder of parts, not {out}; give --out FOLDER/")
    else:
        result = _embed_file(request, Path(out), readers)
    return {**result, "out": str(out), "seed": seed, "seconds": time.perf_counter() - start}


def _is_folder(out: Path | str) -> bool:
    suffix = Path(out).suffix
    return str(out).endswith("/") or not suffix or (Path(out).is_dir() and suffix not in SUFFIXES)


def _embed_file(request: Request, out: Path, readers: int) -> dict[str, Any]:
    if out.suffix not in SUFFIXES or out.is_dir():
        raise InputError(f"{out} has an unknown suffix; give a name that ends in {', '.join(SUFFIXES)}, or a folder")
    check_file(out, inputs=request.inputs)
    if out.suffix == ".parquet":
        require("pyarrow.parquet", "parquet", PARQUET)
    opened = open_request(request)
    with opened.encoder as encoder:
        (result,) = embed_groups(encoder, [opened.sources], request.batch, readers)
        if not result.names:
            first = f"; the first: {bad['file']}: {bad['reason']}" if (bad := next(iter(result.skipped), None)) else ""
            raise InputError(f"none of {len(opened.sources)} inputs could be embedded{first}")
        sha256 = encoder.specification.sha256
        save(out, Embeddings(result.vectors, result.names, sha256, about_job(request, opened)))
    return {
        **describe(opened),
        "embedded": len(result.names),
        "names": result.names,
        "skipped": result.skipped,
    }


def _embed_folder(
    request: Request, out: Path, shard: tuple[int, int] | None, part: int | None, form: str, readers: int, ray: bool
) -> dict[str, Any]:
    number, shards = shard or (1, 1)
    if not 1 <= number <= shards:
        raise InputError(f"shard {number}/{shards} does not exist; give 1/{shards} to {shards}/{shards}")
    if part is not None and part < 1:
        raise InputError(f"--part is {part}; give 1 or more")
    if form not in parts.FORMATS:
        raise InputError(f"--format {form} is not known; give {' or '.join(parts.FORMATS)}")
    if form == "parquet":
        require("pyarrow.parquet", "parquet", PARQUET)
    if ray:
        from crosspoint.runtime.jobs.ray_job import embed_on_ray

        plan, described, kept, made = embed_on_ray(request, out, (number, shards), part, form)
    else:
        opened = open_request(request)
        with opened.encoder as encoder:
            plan, described = join_job(request, opened, out, shards, part, form), describe(opened)
            mine = parts.shard_of(plan, number, shards)
            kept = parts.kept(plan, out, opened.sources, mine)
            absent = [index for index in mine if index not in kept]
            made = parts.write_parts(encoder, plan, out, opened.sources, absent, request.batch, readers)
    outcomes = [outcome for _, outcome in sorted((kept | made).items())]
    counts = {
        "total": plan.count,
        "made": len(made),
        "kept": len(kept),
        "missing": len(parts.missing(plan, out, range(plan.count))),
    }
    return {
        **described,
        "shard": [number, shards],
        "parts": counts,
        "embedded": sum(outcome.embedded for outcome in outcomes),
        "skipped": [bad for outcome in outcomes for bad in outcome.skipped],
    }
