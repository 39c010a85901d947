"""Large embedding jobs: cut into parts, sharded, killed, resumed."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import small_models as small

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.data.sources import Source, find_sources
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.embed import PartCounts, embed
from crosspoint.runtime.jobs.embeddings import load, save
from crosspoint.runtime.jobs.parts import PartOptions
from crosspoint.runtime.jobs.search import search
from crosspoint.runtime.options import Reading, Sampling

Clouds = Callable[..., np.ndarray]
FILES = 11


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small.write_onnx(tmp_path / "model.onnx")


@pytest.fixture
def folder(tmp_path: Path, clouds: Clouds) -> Path:
    root = tmp_path / "clouds"
    root.mkdir()
    for i in range(FILES):
        np.save(root / f"{i:02d}.npy", clouds(1, 16 + i % 2, i)[0])
    return root


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


@pytest.mark.parametrize("form", ["parquet", "npz"])
def test_parts_hold_what_one_file_holds(model: Path, folder: Path, tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    embed(model, [folder], out=tmp_path / "one.npz")
    result = embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=4, form=form))
    assert result.parts == PartCounts(3, 3, 0, 0)
    assert result.embedded == FILES
    pieces = list(parts.load_parts(tmp_path / "out"))
    assert [len(piece.names) for piece in pieces] == [4, 4, 3]
    assert {piece.model_sha256 for piece in pieces} == {sha256(model)}
    one = load(tmp_path / "one.npz")
    assert [name for piece in pieces for name in piece.names] == one.names
    np.testing.assert_array_equal(np.concatenate([piece.vectors for piece in pieces]), one.vectors)


def test_parquet_is_read_by_other_tools(model: Path, folder: Path, tmp_path: Path) -> None:
    arrow, dataset = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=4))
    found = dataset.dataset([str(path) for path in sorted((tmp_path / "out").glob("*.parquet"))])
    assert found.schema.field("embedding").type == arrow.list_(arrow.float32(), 4)
    assert found.count_rows() == FILES


def test_one_file_of_parquet(model: Path, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    embed(model, [folder], out=tmp_path / "one.npz")
    embed(model, [folder], out=tmp_path / "one.parquet")
    a, b = load(tmp_path / "one.npz"), load(tmp_path / "one.parquet")
    np.testing.assert_array_equal(a.vectors, b.vectors)
    assert (a.names, a.model_sha256, a.about) == (b.names, b.model_sha256, b.about)


def test_a_second_run_makes_nothing_and_changes_nothing(model: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.npy").write_bytes(b"rubbish")
    first = embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=4, form="npz"))
    before = content(tmp_path / "out")
    again = embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=4, form="npz"))
    assert again.parts == PartCounts(3, 0, 3, 0)
    assert content(tmp_path / "out") == before
    assert (first.embedded, first.skipped) == (again.embedded, again.skipped)
    assert [bad.file for bad in again.skipped] == ["bad.npy"]


def test_shards_together_make_the_same_bytes_in_any_order(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=tmp_path / "whole", parts=PartOptions(size=2, form="npz"))
    counts = []
    for number in (3, 1, 4, 2):
        done = embed(model, [folder], out=tmp_path / "out", parts=PartOptions((number, 4), size=2, form="npz"))
        counts.append(done.parts.missing)
    assert counts == [5, 3, 2, 0]
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_every_shard_gets_a_part_and_the_rest_can_be_done_by_one(model: Path, folder: Path, tmp_path: Path) -> None:
    done = embed(model, [folder], out=tmp_path / "out", parts=PartOptions((5, 5), form="npz"))
    assert done.parts.total == 4  # of three
    assert done.parts.made == 0
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions((2, 4), form="npz"))
    rest = embed(model, [folder], out=tmp_path / "out", parts=PartOptions(form="npz"))
    assert rest.parts == PartCounts(4, 3, 1, 0)


def test_a_lost_part_is_made_again(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=4, form="npz"))
    before = content(tmp_path / "out")
    (tmp_path / "out" / "part-00002-of-00003.npz").unlink()
    with pytest.raises(InputError, match=r"not finished: 1 of 3 parts are missing, first part-00002-of-00003"):
        list(parts.load_parts(tmp_path / "out"))
    assert embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=4, form="npz")).parts.made == 1
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("change", ["model", "points", "seed", "draws", "inputs", "part", "form"])
def test_another_job_in_the_same_folder_is_refused(
    model: Path, folder: Path, tmp_path: Path, clouds: Clouds, change: str
) -> None:
    sampling, kind = Sampling(16), PartOptions(size=4, form="npz")
    embed(model, [folder], out=tmp_path / "out", sampling=sampling, parts=kind)
    before = content(tmp_path / "out")
    other = small.write_onnx(tmp_path / "other.onnx", metadata='{"k": 2}') if change == "model" else model
    if change == "inputs":
        np.save(folder / "more.npy", clouds(1)[0])
    sampling = {"points": Sampling(8), "seed": Sampling(16, seed=1), "draws": Sampling(16, draws=2)}.get(
        change, sampling
    )
    kind = {"part": dataclasses.replace(kind, size=5), "form": dataclasses.replace(kind, form="parquet")}.get(
        change, kind
    )
    if change == "form":
        pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match=r"holds another job: .* was .*, now"):
        embed(other, [folder], out=tmp_path / "out", sampling=sampling, parts=kind)
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("form", ["parquet", "npz"])
@pytest.mark.parametrize("fault", ["flipped", "cut", "rubbish", "sibling", "other seed", "other model"])
def test_a_part_that_is_not_what_it_says_is_refused_by_the_job_and_by_its_readers(
    model: Path, folder: Path, tmp_path: Path, form: str, fault: str
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / "out"
    embed(model, [folder], out=out, parts=PartOptions(size=4, form=form))
    bad, sibling = out / f"part-00001-of-00003.{form}", out / f"part-00002-of-00003.{form}"
    whole = bad.read_bytes()
    if fault == "other seed":
        embed(model, [folder], out=tmp_path / "other", parts=PartOptions(size=4, form=form), sampling=Sampling(seed=1))
    elif fault == "other model":
        embed(
            small.write_onnx(tmp_path / "b.onnx", metadata='{"k": 2}'),
            [folder],
            out=tmp_path / "other",
            parts=PartOptions(size=4, form=form),
        )
    half = len(whole) // 2
    bad.write_bytes(
        {
            "flipped": whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :],
            "cut": whole[:half],
            "rubbish": b"rubbish",
            "sibling": sibling.read_bytes(),
        }.get(fault)
        or (tmp_path / "other" / bad.name).read_bytes()
    )
    message = r"is damaged" if fault in ("flipped", "cut", "rubbish") else r"is not part 1 of the job"
    for use in (
        lambda: embed(model, [folder], out=out, parts=PartOptions(size=4, form=form)),
        lambda: list(parts.load_parts(out)),
        lambda: search("00.npy", out),
    ):
        with pytest.raises(InputError, match=rf"{bad.name}: {message}.*; remove it and run the job again") as caught:
            use()
        assert "\n" not in str(caught.value)
    bad.unlink()
    assert embed(model, [folder], out=out, parts=PartOptions(size=4, form=form)).parts.made == 1
    assert bad.read_bytes() == whole


def test_other_content_under_the_same_names_is_another_job(
    model: Path, folder: Path, tmp_path: Path, clouds: Clouds
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    embed(model, [folder], out=out, parts=PartOptions(size=4, form="npz"))
    before = content(out)
    shutil.copytree(folder, other)
    np.save(other / "05.npy", clouds(1, 17, 99)[0])  # as many bytes as before
    for shard in (None, (1, 3), (2, 3)):  # also where no part of its own has changed
        with pytest.raises(
            InputError, match=r"holds another job: the content of the inputs or --columns was .*, now .*--out"
        ):
            embed(model, [other], out=out, parts=PartOptions(shard, size=4, form="npz"))
    assert content(out) == before


def test_a_shard_of_other_content_does_not_join(model: Path, folder: Path, tmp_path: Path, clouds: Clouds) -> None:
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions((1, 3), size=4, form="npz"))
    shutil.copytree(folder, tmp_path / "other")
    np.save(tmp_path / "other" / "10.npy", clouds(1, 16, 99)[0])
    with pytest.raises(InputError, match="holds another job: the content of the inputs"):
        embed(model, [tmp_path / "other"], out=tmp_path / "out", parts=PartOptions((2, 3), size=4, form="npz"))


def test_equal_content_in_another_place_is_the_same_job(model: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy" / "deep")
    embed(model, [folder], out=tmp_path / "whole", parts=PartOptions(size=2, form="npz"))
    for number, place in ((1, folder), (2, tmp_path / "copy" / "deep")):
        embed(model, [place], out=tmp_path / "out", parts=PartOptions((number, 2), size=2, form="npz"))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("form", ["parquet", "npz"])
def test_a_file_that_the_plan_has_not_sampled_is_compared_with_its_part(
    model: Path, folder: Path, tmp_path: Path, clouds: Clouds, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(parts, "SAMPLED", 2)  # of 11: the first and the seventh
    out = tmp_path / "out"
    embed(model, [folder], out=out, parts=PartOptions((2, 3), size=4, form=form))
    before = content(out)
    file = folder / "05.npy"
    status = file.stat()
    np.save(file, clouds(1, 17, 99)[0])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # neither size nor time tells
    with pytest.raises(InputError, match=r"part-00002.* was made before 05\.npy changed \(1 of 4 inputs"):
        embed(model, [folder], out=out, parts=PartOptions(size=4, form=form))
    assert content(out) == before
    np.save(file, clouds(1, 17, 5)[0])
    assert embed(model, [folder], out=out, parts=PartOptions(size=4, form=form)).parts == PartCounts(3, 2, 1, 0)


def test_a_stored_set_is_known_by_its_clouds(model: Path, tmp_path: Path, clouds: Clouds) -> None:
    def store(seed: int) -> None:
        for split in ("train", "test"):
            with h5py.File(tmp_path / "set" / f"ply_data_{split}0.h5", "w") as file:
                file["data"], file["label"] = clouds(3, 16, seed), np.zeros((3, 1), np.uint8)

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "shape_names.txt").write_text("thing\n")
    store(0)
    embed(model, [tmp_path / "set"], out=tmp_path / "out", parts=PartOptions(form="npz"))
    assert embed(model, [tmp_path / "set"], out=tmp_path / "out", parts=PartOptions(form="npz")).parts.kept == 1
    store(1)
    with pytest.raises(InputError, match="holds another job: the content of the inputs"):
        embed(model, [tmp_path / "set"], out=tmp_path / "out", parts=PartOptions(form="npz"))


def test_a_file_that_changes_while_it_is_read_is_skipped(folder: Path, clouds: Clouds) -> None:
    (source,) = find_sources([folder / "03.npy"], None, seed=0)

    def read() -> np.ndarray:
        found = source.read()
        np.save(folder / "03.npy", clouds(1, 17, 99)[0])
        return found

    found, sha256_of_it = dataclasses.replace(source, read=read).load()
    assert isinstance(found, InputError)
    assert "changed while it was read" in str(found)
    assert sha256_of_it == ""


def test_names_are_told_apart_in_the_plan() -> None:
    def sources(*names: str) -> list[Source]:
        return [Source(name, name, lambda: np.zeros((1, 1, 3)), np.zeros((1, 1, 3), np.float32)) for name in names]

    digests = {parts.names_digest(sources(*names)) for names in (("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"))}
    assert len(digests) == 4


def test_plan_and_parts_are_on_the_disk_before_they_have_their_names(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut leaves under a name is whole."""
    fsync, synced, named = os.fsync, set[int](), list[str]()

    def note(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked(function: Callable[..., None]) -> Callable[..., None]:
        def call(source: object, target: object, **options: object) -> None:
            assert os.stat(source).st_ino in synced, f"{target} is named before its content is on the disk"
            named.append(Path(target).name)
            function(source, target, **options)

        return call

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "link", checked(os.link))
    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, checked(getattr(Path, name)))
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=4, form="npz"))
    assert sorted(named) == ["job.json", *(f"part-0000{i}-of-00003.npz" for i in (1, 2, 3))]


@pytest.mark.parametrize(
    "change",
    [{"size": 0}, {"size": "4"}, {"sources": -1}, {"format": "exe"}, {"seed": None}, {"more": 1}, {"model": 3}],
)
def test_a_damaged_plan_is_one_line(model: Path, folder: Path, tmp_path: Path, change: dict) -> None:
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions(form="npz"))
    plan = tmp_path / "out" / "job.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), **change}))
    with pytest.raises(InputError, match=r"job\.json: is damaged or not the plan of an embedding job") as caught:
        embed(model, [folder], out=tmp_path / "out", parts=PartOptions(form="npz"))
    assert "\n" not in str(caught.value)


def test_a_plan_of_very_many_parts_costs_nothing(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions(form="npz"))
    plan = tmp_path / "out" / "job.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "sources": 10**18, "size": 1}))
    with pytest.raises(InputError, match="is not finished"):
        list(parts.load_parts(tmp_path / "out"))


def test_a_job_of_an_earlier_version_is_refused(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions(form="npz"))
    plan = tmp_path / "out" / "job.json"
    values = json.loads(plan.read_text())
    del values["draws"]
    plan.write_text(json.dumps({**values, "schema": "crosspoint.embed-job/2"}))
    for use in (
        lambda: embed(model, [folder], out=tmp_path / "out", parts=PartOptions(form="npz")),
        lambda: search("a", tmp_path / "out"),
    ):
        with pytest.raises(InputError, match=r"has the schema 'crosspoint\.embed-job/2'.*embed again into a new"):
            use()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": PartOptions((0, 3))}, "shard 0/3 does not exist"),
        ({"parts": PartOptions((4, 3))}, "shard 4/3 does not exist"),
        ({"parts": PartOptions(size=0)}, "--part is 0"),
        ({"parts": PartOptions(form="csv")}, "--format csv is not known"),
        ({"reading": Reading(readers=-1)}, "--readers is -1"),
        ({"out": "out.npz", "parts": PartOptions((1, 2))}, "give --out FOLDER/"),
        ({"out": "out.npz", "parts": PartOptions(form="npz")}, "give --out FOLDER/"),
        ({"out": "clouds"}, "is also an input"),
        ({"out": "others"}, "holds files that are not an embedding job"),
    ],
)
def test_options_that_cannot_be(model: Path, folder: Path, tmp_path: Path, change: dict, message: str) -> None:
    arguments = {"out": "out", **change}
    arguments["out"] = tmp_path / arguments["out"]
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "notes.txt").touch()
    with pytest.raises(InputError, match=message):
        embed(model, [folder], **arguments)


def test_a_folder_is_a_name_with_a_slash_or_without_a_suffix(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=f"{tmp_path}/with.dot/", parts=PartOptions(form="npz"))
    embed(model, [folder], out=tmp_path / "plain", parts=PartOptions(form="npz"))
    assert (tmp_path / "with.dot" / "job.json").is_file()
    assert (tmp_path / "plain" / "job.json").is_file()


def test_readers_as_processes_read_the_same(model: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.npy").write_bytes(b"rubbish")
    threads = embed(model, [folder], out=tmp_path / "threads", parts=PartOptions(size=4, form="npz"))
    processes = embed(
        model, [folder], out=tmp_path / "processes", parts=PartOptions(size=4, form="npz"), reading=Reading(readers=2)
    )
    assert content(tmp_path / "threads") == content(tmp_path / "processes")
    assert threads.skipped == processes.skipped


SLOW = """
import os, sys, signal
from pathlib import Path
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.embed import embed
save, made = parts.save, []
def count(path, value):
    if len(made) == 2:
        from crosspoint.core import files
        with files.atomic_file(path) as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    save(path, value)
    made.append(path)
parts.save = count
embed(
    Path(sys.argv[1]),
    [Path(sys.argv[2])],
    out=Path(sys.argv[3]),
    parts=parts.PartOptions(size=2, form="npz"),
)
"""


def test_a_killed_run_goes_on(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=tmp_path / "whole", parts=PartOptions(size=2, form="npz"))
    command = [sys.executable, "-c", SLOW, str(model), str(folder), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert sorted(content(tmp_path / "out")) == ["part-00001-of-00006.npz", "part-00002-of-00006.npz"]
    assert list((tmp_path / "out").glob(".*"))  # what the killed process was at
    result = embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=2, form="npz"))
    assert result.parts == PartCounts(6, 4, 2, 0)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not list((tmp_path / "out").glob(".*"))


def test_who_comes_first_decides_the_job(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=tmp_path / "out", parts=PartOptions(size=2, form="npz"))
    plan = parts.read_plan(tmp_path / "out")
    stamp = os.stat(tmp_path / "out" / "job.json").st_mtime_ns
    assert parts.join(plan, tmp_path / "out") == plan
    assert os.stat(tmp_path / "out" / "job.json").st_mtime_ns == stamp
    values = json.loads((tmp_path / "out" / "job.json").read_text())
    (tmp_path / "out" / "job.json").write_text(json.dumps({**values, "schema": "other/9"}))
    with pytest.raises(InputError, match=r"job\.json has the schema 'other/9'"):
        parts.read_plan(tmp_path / "out")


def test_the_command_says_what_is_missing(model: Path, folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crosspoint", "embed", model, folder, "--out", f"{tmp_path}/out/", "--part", "3"]
    command += ["--up", "y", "--format", "npz", "--shard", "2/2"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 parts written, 0 kept from before; of 4 parts 2 are missing: run the other shards" in done.stdout
    done = subprocess.run([*map(str, command[:-1]), "two"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_job_without_a_frame_is_read_and_continued(model: Path, folder: Path, tmp_path: Path) -> None:
    made = embed(model, [folder], out=tmp_path / "out", parts=PartOptions(form="npz"))
    plan = tmp_path / "out" / "job.json"
    values = json.loads(plan.read_text())
    del values["frame"]
    plan.write_text(json.dumps({**values, "schema": "crosspoint.embed-job/3"}))
    (path,) = (tmp_path / "out").glob("part-*.npz")
    part = load(path)
    save(
        path,
        dataclasses.replace(
            part, about=dataclasses.replace(part.about, job=dataclasses.replace(part.about.job, frame=None))
        ),
    )
    assert parts.read_plan(tmp_path / "out").frame is None
    again = embed(model, [folder], out=tmp_path / "out", parts=PartOptions(form="npz"))
    assert again.embedded == made.embedded
