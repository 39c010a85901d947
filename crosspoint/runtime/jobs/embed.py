"""Embedding whatever holds point clouds: files, folders, datasets, arrays."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crosspoint.core.errors import InputError, require
from crosspoint.core.outputs import check_file, check_folder
from crosspoint.core.plots import require_plots
from crosspoint.data.objects.clouds import Boxes
from crosspoint.data.objects.find import ObjectOptions, segment
from crosspoint.data.objects.scan import read_scan
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
    objects: ObjectOptions | None = None,
    picture: Path | None = None,
) -> dict[str, Any]:
    """Embed the clouds of files, folders and datasets, each normalised as in training, into one file or many parts.

    Inputs are read as they are needed, ahead of the model; clouds of equal size go through it together. What cannot be
    read, or has fewer points than needed, is left out and listed in the result.

    Args:
        model: Whatever `load_encoder` opens.
        inputs: Mesh and point-cloud files, folders of them, dataset folders. An array `(N, 3)` is one cloud,
            `(n, N, 3)` is n clouds.
        out: `.npz` or `.parquet` for embeddings, names and the model's SHA-256; `.npy` for the embeddings alone. A
            name without a suffix, or with a slash at its end, is a folder of parts, each of them whole or absent; parts
            that are there already are not made again.
        points: Points per cloud; by default the model's own number if it has one, at most that of its training if it
            comes with the package, else all of a cloud.
        seed: Of the points drawn; what is drawn of a file depends on the seed and the file's name alone.
        batch: Most clouds in one pass.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.
        backend: As for `load_encoder`.
        shard: i and n: make only every n-th part, from the i-th on.
        part: Sources of a part; by default 1024, and fewer where there would not be a part for each shard.
        form: Of the parts, `"parquet"` (the default) or `"npz"`.
        readers: Processes that read; 0 for threads of this one.
        ray: Make the parts on a Ray cluster.
        trust: As for `load_encoder`.
        objects: Take each input for a scan, and embed the objects that are found in it by these options. Their boxes
            and numbers of points stand beside the embeddings.
        picture: A PNG of the one scan from above, with the boxes of its objects.

    Returns:
        `model` (the specification), `out`, `points`, `seed`, `dim`, `embedded`, `skipped` (a list of `file` and
        `reason`), `seconds`; of a file also `names`, of a folder `parts`: `total`, `made`, `kept`, `missing`; of
        objects in a file `objects`: `name`, `points`, `lower`, `upper`.

    Raises:
        InputError: The model or an option cannot be used, an input is missing, the folder holds another job, or not
            one cloud could be read; then nothing is written.
    """
    start = time.perf_counter()
    request = make_request(model, inputs, points, seed, batch, device, backend, trust, objects)
    if readers < 0:
        raise InputError(f"{readers} readers cannot be; give --readers 0 or more")
    if picture is not None:
        _check_picture(picture, inputs, objects)
    if _is_folder(out):
        check_folder(Path(out), inputs=inputs)
        result = _embed_folder(request, Path(out), shard, part, form or parts.FORMATS[0], readers, ray)
    elif shard or part or form or ray:
        raise InputError(f"--shard, --part, --format and --ray make parts in a folder, not {out}; give --out FOLDER/")
    else:
        result = _embed_file(request, Path(out), readers)
    if picture is not None and objects is not None:
        _draw(Path(inputs[0]), picture, objects, seed=seed)
    return {**result, "out": str(out), "seed": seed, "seconds": time.perf_counter() - start}


def _check_picture(picture: Path, inputs: Sequence[Path], objects: ObjectOptions | None) -> None:
    if objects is None:
        raise InputError("--picture shows the objects of a scan; give --objects with it")
    if len(inputs) != 1 or Path(inputs[0]).is_dir():
        raise InputError("--picture shows one scan; give one file with it")
    check_file(picture, "--picture", ".png", inputs=inputs)
    require_plots()


def _draw(scan: Path, picture: Path, options: ObjectOptions, *, seed: int) -> None:
    from crosspoint.data.objects.picture import draw_objects

    points = read_scan(scan, seed=seed)
    draw_objects(points, segment(points, options), up=options.up, path=picture)


def _is_folder(out: Path | str) -> bool:
    suffix = Path(out).suffix
    return str(out).endswith("/") or not suffix or (Path(out).is_dir() and suffix not in SUFFIXES)


def _embed_file(request: Request, out: Path, readers: int) -> dict[str, Any]:
    if out.suffix not in SUFFIXES or out.is_dir():
        raise InputError(f"{out} cannot be written; give a name that ends in {', '.join(SUFFIXES)}, or a folder's")
    check_file(out, inputs=request.inputs)
    if out.suffix == ".parquet":
        require("pyarrow.parquet", "parquet", PARQUET)
    opened = open_request(request)
    with opened.encoder as encoder:
        (result,) = embed_groups(encoder, [opened.sources], request.batch, readers)
        if not result.names:
            first = f"; the first: {bad['file']}: {bad['reason']}" if (bad := next(iter(result.skipped), None)) else ""
            raise InputError(f"not one of {len(opened.sources)} inputs could be embedded{first}")
        sha256 = encoder.specification.sha256
        save(out, Embeddings(result.vectors, result.names, sha256, about_job(request, opened), result.boxes))
    return {
        **describe(opened),
        "embedded": len(result.names),
        "names": result.names,
        "skipped": result.skipped,
        **({} if result.boxes is None else {"objects": _entries(result.names, result.boxes)}),
    }


def _entries(names: list[str], boxes: Boxes) -> list[dict[str, Any]]:
    rows = zip(names, boxes.counts.tolist(), boxes.corners.tolist(), strict=True)
    return [{"name": name, "points": count, "lower": low, "upper": high} for name, count, (low, high) in rows]


def _embed_folder(
    request: Request, out: Path, shard: tuple[int, int] | None, part: int | None, form: str, readers: int, ray: bool
) -> dict[str, Any]:
    number, shards = shard or (1, 1)
    if not 1 <= number <= shards:
        raise InputError(f"there is no shard {number}/{shards}; shards of {shards} are 1/{shards} to {shards}/{shards}")
    if part is not None and part < 1:
        raise InputError(f"a part of {part} holds nothing; give --part 1 or more")
    if form not in parts.FORMATS:
        raise InputError(f"parts cannot be {form}; give --format {' or '.join(parts.FORMATS)}")
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
