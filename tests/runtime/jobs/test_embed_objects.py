"""Scans are embedded object by object, and where each object lies is kept in every form of the embeddings."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import small_models as small
from click.testing import CliRunner
from toy_scenes import box, ground

from crosspoint.cli import crosspoint
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.frames import Frame, to_y_up
from crosspoint.data.objects.find import ObjectOptions, find_objects
from crosspoint.data.objects.folder import write_objects
from crosspoint.data.objects.sources import Scans
from crosspoint.data.points import normalise
from crosspoint.runtime.jobs import parts, search_picture
from crosspoint.runtime.jobs.embed import EmbeddedObject, embed
from crosspoint.runtime.jobs.embeddings import load
from crosspoint.runtime.jobs.parts import PartOptions
from crosspoint.runtime.jobs.search import SearchOptions, search
from crosspoint.runtime.options import Reading, Sampling


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Takes any number of points."""
    return small.write_onnx(tmp_path / "model.onnx")


def scene(seed: int) -> np.ndarray:
    """Ground and two boxes, the larger one first."""
    rng = np.random.default_rng(seed)
    boxes = [box(rng, (-3, 0, 0), (1, 1, 1.5), 500), box(rng, (3, 1, 0), (2, 1, 1), 300)]
    return np.concatenate([ground(rng, size=5, count=2000), *boxes]).astype(np.float32)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    np.save(tmp_path / "scan.npy", scene(0))
    return tmp_path / "scan.npy"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder of three scans."""
    (tmp_path / "scans").mkdir()
    for i in range(3):
        np.save(tmp_path / "scans" / f"{i}.npy", scene(i))
    return tmp_path / "scans"


def assert_boxes(found, scan: np.ndarray) -> None:
    expected = find_objects(scan)
    assert found.boxes.counts.tolist() == [len(one.points) for one in expected]
    np.testing.assert_array_equal(found.boxes.corners, [(one.lower, one.upper) for one in expected])


def test_each_object_is_embedded_y_up(model: Path, scan: Path, tmp_path: Path) -> None:
    result = embed(model, Scans([scan]), out=tmp_path / "out.npz")
    found = load(tmp_path / "out.npz")
    assert found.names == result.names == ["scan.npy#object-0001", "scan.npy#object-0002"]
    for row, one in zip(found.vectors, find_objects(np.load(scan)), strict=True):
        cloud = normalise(to_y_up(one.points, "z"))
        np.testing.assert_allclose(row, small.reference(cloud[None])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_boxes_and_numbers_of_points_are_read_back(model: Path, scan: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    embed(model, Scans([scan]), out=tmp_path / f"out{suffix}")
    assert_boxes(load(tmp_path / f"out{suffix}"), np.load(scan))


def test_the_result_has_them_too(model: Path, scan: Path, tmp_path: Path) -> None:
    result = embed(model, Scans([scan]), out=tmp_path / "out.npy")
    expected = [
        EmbeddedObject(f"scan.npy#object-{i:04d}", len(one.points), one.lower, one.upper)
        for i, one in enumerate(find_objects(np.load(scan)), 1)
    ]
    assert result.objects == tuple(expected)


@pytest.mark.parametrize("form", parts.FORMATS)
def test_parts_hold_the_objects_of_their_scans(model: Path, scans: Path, tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    embed(model, Scans([scans]), out=tmp_path / "out", parts=PartOptions(size=1, form=form))
    pieces = list(parts.load_parts(tmp_path / "out"))
    assert [piece.names for piece in pieces] == [[f"{i}.npy#object-000{k}" for k in (1, 2)] for i in range(3)]
    for i, piece in enumerate(pieces):
        assert_boxes(piece, np.load(scans / f"{i}.npy"))


def test_parts_that_are_there_are_kept(model: Path, scans: Path, tmp_path: Path) -> None:
    first = embed(model, Scans([scans]), out=tmp_path / "out", parts=PartOptions(size=2, form="npz"))
    (tmp_path / "out" / "part-00002-of-00002.npz").unlink()
    second = embed(model, Scans([scans]), out=tmp_path / "out", parts=PartOptions(size=2, form="npz"))
    assert (first.parts.made, second.parts.made, second.parts.kept) == (2, 1, 1)
    assert second.embedded == 6


@pytest.mark.parametrize(
    ("objects", "differs"),
    [
        (None, "--objects was True, now False"),
        (ObjectOptions(cluster_distance=0.4), "--cluster-distance was 0.6, now 0.4"),
    ],
)
def test_objects_found_in_another_way_are_another_job(
    model: Path, scans: Path, tmp_path: Path, objects: ObjectOptions | None, differs: str
) -> None:
    embed(model, Scans([scans]), out=tmp_path / "out", parts=PartOptions(form="npz"))
    with pytest.raises(InputError, match=f"holds another job: {differs};"):
        embed(
            model,
            [scans] if objects is None else Scans([scans], objects),
            out=tmp_path / "out",
            parts=PartOptions(form="npz"),
        )


def test_without_objects_nothing_is_said_of_them(model: Path, scan: Path, tmp_path: Path) -> None:
    embed(model, [scan], out=tmp_path / "out.npz")
    embed(model, [scan], out=tmp_path / "out", parts=PartOptions(form="npz"))
    with np.load(tmp_path / "out.npz") as file:
        assert sorted(file.files) == ["about", "embeddings", "model_sha256", "names"]
        assert "objects" not in json.loads(str(file["about"]))
    assert "objects" not in json.loads((tmp_path / "out" / "job.json").read_text())
    assert load(tmp_path / "out" / "part-00001-of-00001.npz").boxes is None


def test_points_are_drawn_of_each_object_by_the_seed(model: Path, scan: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        embed(model, Scans([scan]), out=tmp_path / f"{name}.npz", sampling=Sampling(64, seed))
    a, b, c = (load(tmp_path / f"{name}.npz").vectors for name in "abc")
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_objects_of_fewer_points_than_asked_for_are_left_out(model: Path, scan: Path, tmp_path: Path) -> None:
    fewest = len(find_objects(np.load(scan))[1].points) + 1
    result = embed(model, Scans([scan]), out=tmp_path / "out.npz", sampling=Sampling(fewest))
    assert result.names == ["scan.npy#object-0001"]


def test_a_scan_without_objects_is_skipped_with_the_reason(model: Path, scans: Path, tmp_path: Path) -> None:
    np.save(scans / "empty.npy", ground(np.random.default_rng(0), count=500))
    result = embed(model, Scans([scans]), out=tmp_path / "out.npz")
    assert result.embedded == 6
    (skipped,) = result.skipped
    assert skipped.file == "empty.npy"
    assert skipped.reason.startswith("no object was found in 19.9 × 19.9 ×")


def test_readers_in_processes_give_the_same(model: Path, scans: Path, tmp_path: Path) -> None:
    embed(model, Scans([scans]), out=tmp_path / "threads.npz")
    embed(model, Scans([scans]), out=tmp_path / "processes.npz", reading=Reading(readers=1))
    assert (tmp_path / "threads.npz").read_bytes() == (tmp_path / "processes.npz").read_bytes()


def test_a_data_set_is_no_scan(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    folder.mkdir()
    with h5py.File(folder / "ply_data_train0.h5", "w") as file:
        file["data"], file["label"] = np.ones((4, 16, 3), np.float32), np.zeros((4, 1), np.uint8)
    with pytest.raises(InputError, match="is a data set of objects, not a scan; leave --objects away"):
        embed(model, Scans([folder]), out=tmp_path / "out.npz")


def test_a_file_is_searched_for_in_the_frame_of_the_scans(model: Path, scan: Path, tmp_path: Path) -> None:
    embed(model, Scans([scan]), out=tmp_path / "out.npz")
    write_objects(scan, tmp_path / "objects")
    result = search(tmp_path / "objects" / "object-0002.ply", tmp_path / "out.npz", model=model)
    assert result.results[0].name == "scan.npy#object-0002"
    assert result.results[0].distance < 1e-6


def test_the_picture_of_a_search_shows_the_objects(model: Path, scan: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(search_picture, "_dots", lambda points: drawn.append(points))
    embed(model, Scans([scan]), out=tmp_path / "out.npz")
    search("scan.npy#object-0001", tmp_path / "out.npz", model=model, out=tmp_path / "a.png")
    expected = [to_y_up(one.points, "z") for one in find_objects(np.load(scan))]
    for points, whole in zip(drawn, expected, strict=True):
        assert set(map(tuple, whole)) <= set(map(tuple, points.astype(float)))


def laid(points: np.ndarray) -> np.ndarray:
    """The z-up points of a scene as a sensor stores them whose y points up."""
    return to_y_up(points, "z")


def test_one_axis_holds_for_scans_and_is_stored_as_their_frame(model: Path, scan: Path, tmp_path: Path) -> None:
    embed(model, Scans([scan]), out=tmp_path / "z.npz")
    assert load(tmp_path / "z.npz").about.frame == Frame("z", "assumed")
    np.save(scan, laid(np.load(scan)))
    found = find_objects(np.load(scan), ObjectOptions(up="y"))
    for name, objects, up in (("a", ObjectOptions(), "y"), ("b", ObjectOptions(up="y"), None)):
        result = embed(model, Scans([scan], objects), out=tmp_path / f"{name}.npz", sampling=Sampling(up=up))
        about = load(tmp_path / f"{name}.npz").about
        assert (result.frame, about.frame, about.objects.up) == (Frame("y", "given"), Frame("y", "given"), None)
        for row, one in zip(load(tmp_path / f"{name}.npz").vectors, found, strict=True):
            np.testing.assert_allclose(row, small.reference(normalise(one.points)[None])[0], rtol=1e-5, atol=1e-6)


def test_two_axes_of_one_scan_are_refused(model: Path, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="said to be y-up and the scans z-up; give one of them"):
        embed(model, Scans([scan], ObjectOptions(up="z")), out=tmp_path / "out.npz", sampling=Sampling(up="y"))


def test_a_format_that_says_its_frame_is_believed(model: Path, scan: Path, tmp_path: Path) -> None:
    points = np.load(scan)
    np.column_stack([points, np.zeros(len(points))]).astype("<f4").tofile(tmp_path / "sweep.bin")
    embed(model, Scans([tmp_path / "sweep.bin"]), out=tmp_path / "out.npz", reading=Reading(columns="4"))
    found = load(tmp_path / "out.npz")
    assert found.about.frame == Frame("z", "format")
    assert_boxes(found, points)


def test_columns_and_patterns_hold_for_scans(model: Path, scans: Path, tmp_path: Path) -> None:
    points = scene(9)
    np.savetxt(scans / "a.csv", points[:, [2, 0, 1]], delimiter=",")
    embed(model, Scans([scans]), out=tmp_path / "out.npz", reading=Reading("2,3,1", include=("*.csv",)))
    found = load(tmp_path / "out.npz")
    assert found.names == ["a.csv#object-0001", "a.csv#object-0002"]
    assert found.boxes.counts.tolist() == [len(one.points) for one in find_objects(points)]


def test_objects_in_map_coordinates_keep_their_shape(model: Path, scan: Path, tmp_path: Path) -> None:
    utm = np.array([448_262.0, 5_411_932.0, 250.0])
    near = np.load(scan).astype(np.float64)
    np.save(scan, near)
    np.save(tmp_path / "far.npy", near + utm)
    for path in (scan, tmp_path / "far.npy"):
        embed(model, Scans([path]), out=path.with_suffix(".npz"))
    here, far = load(scan.with_suffix(".npz")), load(tmp_path / "far.npz")
    np.testing.assert_array_equal(far.boxes.counts, here.boxes.counts)
    np.testing.assert_allclose(far.boxes.corners - utm, here.boxes.corners, atol=1e-8)
    np.testing.assert_allclose(far.vectors, here.vectors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("up", "found"), [("z", True), ("y", False)])
def test_a_file_whose_frame_is_not_stated_is_refused_where_the_scans_are_not_z_up(
    model: Path, scan: Path, tmp_path: Path, up: str, found: bool
) -> None:
    if up == "y":
        np.save(scan, laid(np.load(scan)))
    embed(model, Scans([scan], ObjectOptions(up=up)), out=tmp_path / "out.npz")
    write_objects(scan, tmp_path / "objects", options=ObjectOptions(up=up))
    query = tmp_path / "objects" / "object-0002.ply"
    if not found:
        with pytest.raises(InputError, match="give --up y if it is the same there, else --up z"):
            search(query, tmp_path / "out.npz", model=model)
    result = search(query, tmp_path / "out.npz", model=model, options=SearchOptions(up=None if found else up))
    assert (result.results[0].name, result.index_frame) == ("scan.npy#object-0002", Frame(up, "given"))


def run(*arguments: object) -> object:
    return CliRunner().invoke(crosspoint, ["embed", *map(str, arguments)])


def test_the_command_embeds_and_draws(model: Path, scan: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    options = ["--objects", "--largest-extent", 1.8, "--picture", tmp_path / "above.png", "--json", tmp_path / "r.json"]
    outcome = run(model, scan, "--out", tmp_path / "out.npz", *options)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stderr.count("z-up is assumed, since the inputs do not say") == 1
    assert [entry["name"] for entry in json.loads((tmp_path / "r.json").read_text())["objects"]] == [
        "scan.npy#object-0001"
    ]
    assert (tmp_path / "above.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cluster-distance", 1], "--cluster-distance needs --objects; give both, or neither"),
        (["--no-ground"], "--ground needs --objects; give both, or neither"),
        (["--picture", "a.png"], "--picture needs --objects; give both, or neither"),
        (["--objects", "--voxel", 1], "--voxel 1 is more than half of --cluster-distance 0.6"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    model: Path, scan: Path, tmp_path: Path, options: list[object], message: str
) -> None:
    outcome = run(model, scan, "--out", tmp_path / "out.npz", *options)
    assert isinstance(outcome.exception, InputError)
    assert str(outcome.exception).startswith(message)
    assert not (tmp_path / "out.npz").exists()


def test_a_picture_of_several_scans_is_refused(model: Path, scans: Path, tmp_path: Path) -> None:
    outcome = run(model, scans, "--out", tmp_path / "out.npz", "--objects", "--picture", tmp_path / "a.png")
    assert "shows one scan; give one file with it" in str(outcome.exception)


def test_a_skipped_scan_is_exit_code_1(model: Path, scans: Path, tmp_path: Path) -> None:
    np.save(scans / "empty.npy", ground(np.random.default_rng(0), count=500))
    outcome = run(model, scans, "--out", tmp_path / "out.npz", "--objects", "--up", "z")
    assert isinstance(outcome.exception, CheckFailed)
