"""Targets: files of embeddings, the search in them, and jobs of several parts."""

import hashlib
import io
import json
import zipfile
from functools import cache, partial
from pathlib import Path

import numpy as np

from crosspoint.runtime.jobs.parts import PartOptions
from fuzzer import made
from fuzzer.attacks import NO_JSON, instead
from fuzzer.cases import Files, Target
from fuzzer.made import CLOUDS, folder, to_bytes


@cache
def _embeddings(suffix: str) -> Files:
    from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, save

    about = FileAbout("dgcnn", 16, at_most=False, seed=0, base="/data")
    vectors = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    made_ = Embeddings(vectors, [f"c/{i}.ply" for i in range(5)], "0" * 64, about)
    return folder(lambda root: save(root / f"embeddings{suffix}", made_))


def _read_embeddings(suffix: str, root: Path) -> None:
    from crosspoint.runtime.jobs.embeddings import FileAbout, PartAbout, load

    found = load(root / f"embeddings{suffix}")
    assert found.vectors.dtype == np.float32
    assert found.vectors.ndim == 2
    assert len(found.names) == len(found.vectors)
    assert all(isinstance(name, str) for name in found.names)
    assert isinstance(found.about, FileAbout | PartAbout)


def _search(suffix: str, root: Path) -> None:
    from crosspoint.runtime.jobs.search import SearchOptions, search

    found = search("c/1.ply", root / f"embeddings{suffix}", options=SearchOptions(2))
    assert all(np.isfinite(row.distance) for row in found.results)
    json.dumps(found.to_json()).encode()


def _seal_embeddings(files: Files) -> Files:
    """With the right checksums in files of embeddings."""
    return {name: _sealed(name, content) for name, content in files.items()}


def _sealed(name: str, content: bytes | str) -> bytes | str:
    from crosspoint.runtime.jobs.embeddings import CHECKSUM, KEY, ZEROS

    if isinstance(content, str) or not name.endswith((".npz", ".parquet")):
        return content
    if CHECKSUM not in content and name.endswith(".npz"):
        memory = io.BytesIO(content)
        with zipfile.ZipFile(memory, "a") as archive:
            archive.comment = CHECKSUM + ZEROS
        content = memory.getvalue()
    elif CHECKSUM not in content:
        from pyarrow import parquet

        table = parquet.read_table(io.BytesIO(content))
        metadata = {**(table.schema.metadata or {}), KEY + b".checksum": CHECKSUM + ZEROS}
        content = to_bytes(lambda file: parquet.write_table(table.replace_schema_metadata(metadata), file))
    at = content.rindex(CHECKSUM) + len(CHECKSUM)
    blank = content[:at] + ZEROS + content[at + len(ZEROS) :]
    return blank[:at] + hashlib.sha256(blank).hexdigest().encode() + blank[at + len(ZEROS) :]


@cache
def _job(form: str) -> Files:
    from crosspoint.runtime.jobs.embed import embed

    def make(root: Path) -> None:
        (root / "model.onnx").write_bytes(made.small_onnx())
        (root / "in").mkdir()
        for i, cloud in enumerate(CLOUDS[:3]):
            np.save(root / "in" / f"{i}.npy", cloud)
        embed(root / "model.onnx", [root / "in"], out=f"{root / 'job'}/", parts=PartOptions(size=2, form=form))

    return {name.removeprefix("job/"): content for name, content in folder(make).items() if name != "model.onnx"}


def _read_job(root: Path) -> None:
    from crosspoint.data.sources import find_sources
    from crosspoint.runtime.jobs import parts
    from crosspoint.runtime.jobs.search import SearchOptions, search

    plan = parts.read_plan(root)
    parts.kept(plan, root, sources=find_sources([root / "in"], None, seed=0), indices=range(min(plan.count, 2)))
    assert sum(len(part.names) for part in parts.load_parts(root)) <= plan.sources
    search("0.npy", root, options=SearchOptions(2))


def _of_embeddings(suffix: str) -> tuple[Target, Target]:
    """The targets of a file of embeddings."""

    def seeds() -> list[Files]:
        return [_embeddings(suffix)]

    return (
        Target(f"embeddings{suffix}", seeds, partial(_read_embeddings, suffix), seal=_seal_embeddings),
        Target(f"search{suffix}", seeds, partial(_search, suffix), seal=_seal_embeddings),
    )


EMBEDDINGS = (
    *_of_embeddings(".npz"),
    *_of_embeddings(".parquet"),
    Target(
        "job-parquet",
        lambda: [_job("parquet")],
        _read_job,
        instead(partial(_job, "parquet"), "job.json", NO_JSON),
        seal=_seal_embeddings,
    ),
    Target("job-npz", lambda: [_job("npz")], _read_job, seal=_seal_embeddings),
)
