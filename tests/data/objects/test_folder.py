"""The command writes each object with its box, replaces only its own folders, and says in one line what is wrong."""

import json
from dataclasses import fields

import numpy as np
import pytest
from click.testing import CliRunner
from toy_scenes import box, ground

from crosspoint.cli import crosspoint
from crosspoint.commands.common import UPS as SHOWN_UPS
from crosspoint.core.errors import InputError
from crosspoint.data.frames import UPS
from crosspoint.data.io import files
from crosspoint.data.io.files import read_points
from crosspoint.data.objects import scan as scan_module
from crosspoint.data.objects.find import ObjectOptions, find_objects
from crosspoint.data.objects.folder import write_objects


@pytest.fixture(scope="module")
def points():
    """Ground and two boxes, the larger one first."""
    rng = np.random.default_rng(0)
    boxes = [box(rng, (-3, 0, 0), (1, 1, 1.5), 900), box(rng, (3, 1, 0), (2, 1, 1), 600)]
    return np.concatenate([ground(rng, size=6, count=3000), *boxes]).astype(np.float32)


@pytest.fixture
def scan(tmp_path, points):
    np.save(tmp_path / "scan.npy", points)
    return tmp_path / "scan.npy"


def run(*arguments):
    return CliRunner().invoke(crosspoint, ["data", "objects", *map(str, arguments)])


def refused(*arguments):
    outcome = run(*arguments)
    assert isinstance(outcome.exception, InputError)
    assert "\n" not in str(outcome.exception)
    return str(outcome.exception)


def test_each_object_is_a_file_with_its_box(scan, points, tmp_path):
    assert run(scan, "--out", tmp_path / "out").exit_code == 0
    listed = json.loads((tmp_path / "out" / "objects.json").read_text())["objects"]
    found = find_objects(points)
    assert [entry["name"] for entry in listed] == ["object-0001", "object-0002"]
    for entry, one in zip(listed, found, strict=True):
        stored = read_points(tmp_path / "out" / entry["file"], None, seed=0)[0]
        np.testing.assert_array_equal(stored, one.points.astype(np.float32))
        assert entry["points"] == len(stored)
        np.testing.assert_array_equal((entry["lower"], entry["upper"]), (stored.min(axis=0), stored.max(axis=0)))


def test_the_files_keep_float64(tmp_path, scan, monkeypatch):
    from plyfile import PlyData

    far = np.load(scan).astype(np.float64) + np.array([448_262.123456, 5_411_932.654321, 250.0])
    monkeypatch.setattr("crosspoint.data.objects.folder.read_scans", lambda path, **_: iter([far]))
    result = write_objects(scan, tmp_path / "out")
    stored = PlyData.read(str(tmp_path / "out" / result.objects[0].file))["vertex"].data
    np.testing.assert_array_equal(np.column_stack([stored[axis] for axis in "xyz"]), find_objects(far)[0].points)


def test_the_same_scan_gives_the_same_bytes(scan, tmp_path):
    for name in ("a", "b"):
        run(scan, "--out", tmp_path / name)
    first, second = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second


def test_the_result_is_what_the_folder_says(scan, tmp_path):
    run(scan, "--out", tmp_path / "out", "--json", tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == json.loads((tmp_path / "out" / "objects.json").read_text())
    assert result["schema"] == "crosspoint.objects/1"
    assert result["points"] == 4500
    assert result["ground_points"] + result["rest_points"] + sum(o["points"] for o in result["objects"]) == 4500


def test_options_reach_the_search(scan, tmp_path):
    run(scan, "--out", tmp_path / "out", "--least-points", 700, "--ground-distance", 0.1, "--voxel", 0.1)
    result = json.loads((tmp_path / "out" / "objects.json").read_text())
    assert (len(result["objects"]), result["too_few_points"], result["voxel"]) == (1, 1, 0.1)
    assert result["options"] == {
        "up": "z",
        "ground": True,
        "walls": False,
        "ground_distance": 0.1,
        "cluster_distance": 0.6,
        "least_points": 700,
        "largest_extent": 12.0,
        "voxel": 0.1,
    }


def test_the_frame_that_is_assumed_is_said(scan, tmp_path):
    line = "z-up is assumed, since the inputs do not say; give --up y (Python: up=) if y points up in them"
    assert run(scan, "--out", tmp_path / "out").stderr.splitlines() == [line]
    assert run(scan, "--out", tmp_path / "out", "--up", "z").stderr == ""


def test_a_format_that_says_its_frame_is_believed_unless_another_is_given(points, tmp_path):
    rows = np.column_stack([points, np.zeros(len(points))]).astype("<f4")
    rows.tofile(tmp_path / "sweep.bin")
    outcome = run(tmp_path / "sweep.bin", "--out", tmp_path / "out", "--columns", 4)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    stored = json.loads((tmp_path / "out" / "objects.json").read_text())
    assert (stored["frame"], stored["options"]["up"]) == ({"up": "z", "known": "format"}, "z")
    rows[:, :3] = rows[:, [0, 2, 1]] * np.float32([1, 1, -1])  # y-up
    rows.tofile(tmp_path / "sweep.bin")
    outcome = run(tmp_path / "sweep.bin", "--out", tmp_path / "out", "--columns", 4, "--up", "y")
    assert outcome.stderr == ".bin files are z-up by their format; they are taken to be y-up, as --up says\n"
    assert json.loads((tmp_path / "out" / "objects.json").read_text())["frame"] == {"up": "y", "known": "given"}


def test_columns_of_text_are_those_that_were_named(points, tmp_path):
    np.savetxt(tmp_path / "scan.csv", points[:, [2, 0, 1]], delimiter=",", header="c,a,b", comments="")
    assert run(tmp_path / "scan.csv", "--out", tmp_path / "out", "--columns", "a,b,c").exit_code == 0
    listed = json.loads((tmp_path / "out" / "objects.json").read_text())["objects"]
    assert [entry["points"] for entry in listed] == [len(one.points) for one in find_objects(points)]


def test_an_earlier_result_is_replaced_as_a_whole(scan, tmp_path):
    run(scan, "--out", tmp_path / "out")
    run(scan, "--out", tmp_path / "out", "--least-points", 700)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["object-0001.ply", "objects.json"]


def test_a_folder_of_something_else_is_not_replaced(scan, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "holds no objects.json" in refused(scan, "--out", tmp_path / "mine")
    run(scan, "--out", tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert "notes.txt was not written with it" in refused(scan, "--out", tmp_path / "out")


def test_a_scan_without_objects_writes_nothing(scan, tmp_path):
    message = refused(scan, "--out", tmp_path / "out", "--least-points", 100000)
    assert "no object was found in 12 × 12 × 1.5" in message
    assert "2 clusters of fewer than 100000 points left out" in message
    assert not (tmp_path / "out").exists()


def test_the_picture_is_drawn(scan, tmp_path):
    from PIL import Image

    pytest.importorskip("matplotlib")
    assert run(scan, "--out", tmp_path / "out", "--picture", tmp_path / "above.png").exit_code == 0
    with Image.open(tmp_path / "above.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert {(0x1F, 0x77, 0xB4), (0xD6, 0x27, 0x28), (0x11, 0x11, 0x11)} <= colours  # two objects, and boxes


@pytest.fixture
def reads(monkeypatch):
    """Every file that is read for its points, as often as it is."""
    found = []

    def reading(path, *given, **options):
        found.append(path)
        return files.iterate_points(path, *given, **options)

    monkeypatch.setattr(scan_module, "iterate_points", reading)
    return found


def test_a_scan_is_read_once_with_a_picture_as_without(scan, tmp_path, reads):
    pytest.importorskip("matplotlib")
    write_objects(scan, tmp_path / "without")
    assert reads == [scan]
    write_objects(scan, tmp_path / "with", picture=tmp_path / "above.png")
    assert reads == [scan, scan]
    for path in (tmp_path / "without").iterdir():
        assert path.read_bytes() == (tmp_path / "with" / path.name).read_bytes()


def test_points_that_are_missing_are_counted_once_with_a_picture(points, tmp_path):
    pytest.importorskip("matplotlib")
    np.save(tmp_path / "scan.npy", np.concatenate([points, np.full((3, 3), np.nan, np.float32)]))
    outcome = run(tmp_path / "scan.npy", "--out", tmp_path / "out", "--up", "z", "--picture", tmp_path / "above.png")
    (line,) = outcome.stderr.splitlines()
    assert "3 of 4,503 points" in line


def test_a_picture_of_another_kind_is_refused_before_the_work(scan, tmp_path):
    (tmp_path / "notes.png").write_text("mine")
    assert "is not a .png file" in refused(scan, "--out", tmp_path / "out", "--picture", tmp_path / "notes.png")
    assert not (tmp_path / "out").exists()


def test_the_help_names_the_defaults_and_axes():
    options = {parameter.name: parameter for parameter in crosspoint.commands["data"].commands["objects"].params}
    assert SHOWN_UPS == UPS
    assert {field.name for field in fields(ObjectOptions)} <= set(options)
    for field in fields(ObjectOptions):
        words = {True: "remove", False: "keep"}
        nothing = {"up": "what the format says, else z", "voxel": "a quarter of --cluster-distance"}
        default = nothing.get(field.name) or words.get(field.default, f"{field.default}")
        default = default.removesuffix(".0") if isinstance(field.default, float) else default
        assert f"[default: {default}]" in options[field.name].help
