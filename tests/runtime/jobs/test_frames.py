"""Z-up files are found among y-up ones with `--up z`; without it nothing is compared in silence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from click.testing import CliRunner, Result

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.frames import TO_Y_UP, UPS, Frame
from crosspoint.data.sources import find_sources
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.embeddings import load, save
from crosspoint.runtime.jobs.parts import JOB, PartOptions, names_digest
from crosspoint.runtime.jobs.search import SearchOptions, search
from crosspoint.runtime.options import Sampling

Clouds = Callable[..., np.ndarray]
FILES = 5
ASSUMED = "y-up is assumed, since the inputs do not say; give --up z (Python: up=) if z points up in them"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small.write_onnx(tmp_path / "model.onnx")


@pytest.fixture
def folder(tmp_path: Path, clouds: Clouds) -> Path:
    """Y-up clouds, of which each is another colour of noise."""
    root = tmp_path / "clouds"
    root.mkdir()
    for i in range(FILES):
        np.save(root / f"{i}.npy", clouds(1, 40, i)[0] * np.float32([1, 2 + i, 3]))
    return root


@pytest.fixture
def laid(tmp_path: Path, folder: Path) -> Callable[[str], Path]:
    """Copies of the clouds as they are where another axis points up."""

    def lay(up: str) -> Path:
        root = tmp_path / f"laid{up}"
        root.mkdir()
        for path in folder.glob("*.npy"):
            np.save(root / path.name, np.load(path) @ np.array(TO_Y_UP[up], np.float32))  # R⁻¹ p, in rows
        return root

    return lay


def run(*words: object) -> Result:
    return CliRunner().invoke(crosspoint, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("up", UPS)
def test_files_in_any_frame_are_embedded_to_the_same_bits(
    model: Path, folder: Path, laid: Callable[[str], Path], tmp_path: Path, up: str
) -> None:
    embed(model, [folder], out=tmp_path / "y.npz")
    embed(model, [laid(up)], out=tmp_path / "turned.npz", sampling=Sampling(up=up))
    np.testing.assert_array_equal(load(tmp_path / "turned.npz").vectors, load(tmp_path / "y.npz").vectors)


@pytest.mark.parametrize("name", ["out.npz", "out.parquet", "parts"])
@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_every_form_of_embeddings_says_its_frame(
    model: Path, folder: Path, tmp_path: Path, name: str, form: str
) -> None:
    if "parquet" in (name[4:], form):
        pytest.importorskip("pyarrow")
    out = tmp_path / name
    parts = PartOptions(size=2, form=form) if name == "parts" else PartOptions()
    result = embed(model, [folder], out=out, sampling=Sampling(16, up="-z"), parts=parts)
    assert result.frame == Frame("-z", "given")
    if name != "parts":
        assert load(out).about.frame == Frame("-z", "given")
        return
    assert json.loads((out / JOB).read_text())["frame"] == {"up": "-z", "known": "given"}
    (first, *_) = sorted(out.glob(f"part-*.{form}"))
    assert load(first).about.job.frame == Frame("-z", "given")
    assert search("0.npy", out).index_frame == Frame("-z", "given")


def test_the_result_for_scripts_has_the_frame(model: Path, folder: Path, tmp_path: Path) -> None:
    words = ("embed", model, folder, "--points", 16, "--out", tmp_path / "e.npz", "--json", tmp_path / "e.json")
    assert run(*words, "--up", "z").exit_code == 0
    assert json.loads((tmp_path / "e.json").read_text())["frame"] == {"up": "z", "known": "given"}


def test_a_frame_that_is_not_stated_is_said_in_one_line(model: Path, folder: Path, tmp_path: Path) -> None:
    shown = run("embed", model, folder, "--points", 16, "--out", tmp_path / "e.npz")
    assert shown.stderr.splitlines() == [ASSUMED]
    assert load(tmp_path / "e.npz").about.frame == Frame("y", "assumed")


@pytest.mark.parametrize("up", UPS)
def test_a_frame_that_is_given_is_not_talked_about(model: Path, folder: Path, tmp_path: Path, up: str) -> None:
    assert run("embed", model, folder, "--points", 16, "--out", tmp_path / "e.npz", "--up", up).stderr == ""


def test_gltf_says_its_frame_itself(model: Path, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "box.glb")
    shown = run("embed", model, tmp_path / "box.glb", "--points", 16, "--out", tmp_path / "e.npz")
    assert shown.stderr == ""
    assert load(tmp_path / "e.npz").about.frame == Frame("y", "format")


def test_z_up_copies_are_found_first_with_up(
    model: Path, folder: Path, laid: Callable[[str], Path], tmp_path: Path
) -> None:
    embed(model, [folder], out=tmp_path / "index.npz")
    for query in sorted(laid("z").iterdir()):
        hit = search(query, tmp_path / "index.npz", options=SearchOptions(1, up="z"), model=model).results[0]
        assert hit.name == query.name
        assert hit.distance == 0


@pytest.mark.parametrize(("up", "lines"), [("y", 0), (None, 1)])
def test_a_turned_query_is_told_that_the_frame_of_the_index_was_assumed(
    model: Path, folder: Path, laid: Callable[[str], Path], tmp_path: Path, up: str | None, lines: int
) -> None:
    index = tmp_path / "index.npz"
    embed(model, [folder], out=index, sampling=Sampling(16, up=up))
    shown = run("search", laid("z") / "3.npy", "--in", index, "--model", model, "--up", "z")
    line = f"y-up was assumed for the inputs of {index}; if they are z-up as the query is, embed them again with --up z"
    assert shown.stderr.splitlines() == [line] * lines


def test_a_file_of_the_name_of_another_is_embedded(
    model: Path, folder: Path, laid: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its folder, a copy is called as its original is in the index."""
    embed(model, [folder], out=tmp_path / "index.npz", sampling=Sampling(16))
    monkeypatch.chdir(laid("z"))
    result = search("3.npy", tmp_path / "index.npz", options=SearchOptions(1, up="z"), model=model)
    assert (result.results[0].name, result.frame) == ("3.npy", Frame("z", "given"))


def test_a_query_without_a_frame_is_refused_where_the_index_is_not_y_up(
    model: Path, laid: Callable[[str], Path], folder: Path, tmp_path: Path
) -> None:
    embed(model, [laid("z")], out=tmp_path / "index.npz", sampling=Sampling(16, up="z"))
    words = ("search", folder / "3.npy", "--in", tmp_path / "index.npz", "--model", model, "--k", 1)
    line = r"inputs of .*index\.npz are z-up, and .*3\.npy does not state .*; give --up z if it is the same there"
    with pytest.raises(InputError, match=line):
        run(*words)
    found = run(*words, "--up", "y")
    assert found.exit_code == 0
    assert "3.npy" in found.stdout


def test_another_frame_for_what_is_in_the_index_is_refused(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=tmp_path / "index.npz", sampling=Sampling(16))
    with pytest.raises(InputError, match=r"3\.npy is in .*index\.npz as y-up; leave --up out"):
        search(folder / "3.npy", tmp_path / "index.npz", options=SearchOptions(up="z"))
    assert len(search(folder / "3.npy", tmp_path / "index.npz", options=SearchOptions(up="y")).results) == FILES - 1


def old(index: Path) -> None:
    """A file as an earlier version wrote it, which knew of no frames."""
    whole = load(index)
    save(index, replace(whole, about=replace(whole.about, frame=None)))


def test_embeddings_of_an_earlier_version_are_taken_as_y_up_with_a_word(
    model: Path, folder: Path, tmp_path: Path, clouds: Clouds
) -> None:
    embed(model, [folder], out=tmp_path / "index.npz", sampling=Sampling(16))
    old(tmp_path / "index.npz")
    np.save(tmp_path / "new.npy", clouds(1, 40, 99)[0])
    words = ("search", tmp_path / "new.npy", "--in", tmp_path / "index.npz", "--model", model, "--up", "y")
    shown = run(*words)
    assert shown.exit_code == 0
    line = f"{tmp_path / 'index.npz'} does not state which axis points up in its inputs; y-up is assumed"
    assert shown.stderr.splitlines() == [line]


def test_embeddings_of_an_earlier_version_do_not_go_with_a_turned_query(
    model: Path, folder: Path, laid: Callable[[str], Path], tmp_path: Path
) -> None:
    embed(model, [folder], out=tmp_path / "index.npz", sampling=Sampling(16))
    old(tmp_path / "index.npz")
    with pytest.raises(InputError, match=r"index\.npz does not state .*3\.npy is z-up: .* embed the index again"):
        search(laid("z") / "3.npy", tmp_path / "index.npz", options=SearchOptions(up="z"), model=model)


def test_a_job_is_not_joined_in_another_frame(model: Path, folder: Path, tmp_path: Path) -> None:
    parts = PartOptions(size=2, form="npz")
    embed(model, [folder], out=tmp_path / "parts", sampling=Sampling(16, up="z"), parts=parts)
    for up, was in (("y", "y"), (None, "y"), ("-z", "-z")):
        with pytest.raises(InputError, match=rf"parts holds another job: --up was z, now {was}"):
            embed(model, [folder], out=tmp_path / "parts", sampling=Sampling(16, up=up), parts=parts)
    assert embed(model, [folder], out=tmp_path / "parts", sampling=Sampling(16, up="z"), parts=parts).parts.kept == 3


def test_a_job_of_an_earlier_version_goes_on_as_y_up_alone(model: Path, folder: Path, tmp_path: Path) -> None:
    parts, out = PartOptions(size=2, form="npz"), tmp_path / "parts"
    embed(model, [folder], out=out, sampling=Sampling(16), parts=parts)
    plan = {name: value for name, value in json.loads((out / JOB).read_text()).items() if name != "frame"}
    for part in out.glob("part-*"):
        part.unlink()
    (out / JOB).write_text(json.dumps(plan))
    with pytest.raises(InputError, match="--up was y, now z"):
        embed(model, [folder], out=out, sampling=Sampling(16, up="z"), parts=parts)
    assert embed(model, [folder], out=out, sampling=Sampling(16), parts=parts).parts.made == 3
    assert search("0.npy", out).index_frame is None


def test_a_job_is_not_joined_where_only_some_files_lie_otherwise(model: Path, folder: Path, tmp_path: Path) -> None:
    """Files whose format states z, beside files that are assumed to be y-up, are not those of a job with --up y."""
    sources = find_sources([folder], 16, seed=0)
    mixed = [replace(sources[0], frame=Frame("z", "format")), *sources[1:]]
    assert names_digest(mixed) != names_digest(sources)
    assert names_digest([replace(source, frame=Frame("y", "given")) for source in sources]) == names_digest(sources)


def test_an_unknown_axis_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="'up' is no axis; give --up x, y, z, -x, -y or -z"):
        Sampling(up="up")  # type: ignore[arg-type]


def test_the_picture_shows_all_upright(model: Path, folder: Path, laid: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    embed(model, [folder], out=tmp_path / "index.npz", sampling=Sampling(16))
    query = laid("z") / "3.npy"
    search(query, tmp_path / "index.npz", options=SearchOptions(1, up="z"), model=model, out=tmp_path / "p.png")
    sheet = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    drawn, found = sheet[12:220, 12 + 10 : 222], sheet[12:220, 244 + 10 : 454]
    np.testing.assert_array_equal(drawn, found)
