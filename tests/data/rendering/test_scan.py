import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from plyfile import PlyData

from crosspoint.cli import crosspoint
from crosspoint.commands.data import PATTERNS
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.workspaces import fresh_path
from crosspoint.data.frames import from_y_up
from crosspoint.data.rendering import scan as module
from crosspoint.data.rendering.scan import ScanSettings, scan
from crosspoint.data.rendering.sensor import DISTANCES
from crosspoint.data.sets.datasets import PairedRenders, load_classification
from crosspoint.data.sets.verify import verify
from crosspoint.data.sources import find_sources

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("embreex")


@pytest.fixture(scope="module")
def meshes(tmp_path_factory):
    """Three boxes, three balls and a cone far from the origin."""
    folder = tmp_path_factory.mktemp("meshes")
    for name in ("box", "ball", "cone"):
        (folder / name).mkdir()
    for number in range(3):
        trimesh.creation.box((1, 2, 3 + number)).export(folder / f"box/{number}.off")
        trimesh.creation.icosphere(1 + number // 2).export(folder / f"ball/{number}.off")
    cone = trimesh.creation.cone(1, 2)
    cone.vertices += [5e5, 20, 4e6]
    cone.export(folder / "cone/far.off", digits=12)
    return folder


SETTINGS = ScanSettings(views=2, points=32, size=16)


def small(meshes, out, jobs=1, **changes):
    return scan([meshes], out, settings=ScanSettings(**{**vars(SETTINGS), **changes}), jobs=jobs)


@pytest.fixture(scope="module")
def whole(meshes, tmp_path_factory):
    out = tmp_path_factory.mktemp("scans") / "out"
    return out, small(meshes, out)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_meshes_with_another_axis_up_are_turned_before_they_are_seen(meshes, whole, tmp_path):
    for file in (meshes / "box").iterdir():
        mesh = trimesh.load(file)
        mesh.vertices = from_y_up(mesh.vertices, "z")
        (tmp_path / "laid/box").mkdir(parents=True, exist_ok=True)
        mesh.export(tmp_path / "laid/box" / file.name)
    small(tmp_path / "laid", tmp_path / "out", up="z")
    for file in (tmp_path / "out/ShapeNet/box").iterdir():
        assert file.read_bytes() == (whole[0] / "ShapeNet/box" / file.name).read_bytes()
    stored = json.loads((tmp_path / "out/scan.json").read_text())
    assert (stored["up"], stored["stored_up"]) == ("z", "y")
    with pytest.raises(InputError, match="was made with --up z, not y"):
        small(tmp_path / "laid", tmp_path / "out")


def test_the_axis_that_is_assumed_is_said_and_patterns_choose_files(meshes, tmp_path):
    words = ["data", "scan", str(meshes), "--out", str(tmp_path / "out"), "--views", "1", "--points", "16"]
    chosen = ["--include", "b*/*", "--exclude", "box/*", "--size", "8", "--jobs", "1"]
    outcome = CliRunner().invoke(crosspoint, [*words, *chosen])
    assert outcome.exit_code == 0, outcome.output
    assert "y-up is assumed, since the inputs do not say" in outcome.stderr
    assert [folder.name for folder in (tmp_path / "out/ShapeNet").iterdir()] == ["ball"]


def test_layout_and_counts(whole):
    out, result = whole
    assert (result.objects, result.scanned, result.kept, result.skipped) == (7, 7, 0, ())
    keys = [f"{name}_0{view}" for name in ("box/0", "box/1", "box/2", "ball/0", "ball/1", "ball/2", "cone/far")
            for view in (0, 1)]  # fmt: skip
    expected = {"scan.json"} | {f"modelnet40_ply_hdf5_2048/{name}" for name in
                                ("shape_names.txt", "ply_data_train0.h5", "ply_data_test0.h5")}  # fmt: skip
    expected |= {f"ShapeNet/{key}{suffix}" for key in keys for suffix in (".ply", ".json")}
    expected |= {f"ShapeNetRendering/{key}/rendering/00.png" for key in keys}
    assert set(contents(out)) == expected


def test_what_reads_pairs_clouds_and_labelled_sets_reads_scans(whole):
    out, _ = whole
    assert [source.name for source in find_sources([out], 32, seed=0)][:2] == ["ball/0_00", "ball/0_01"]
    assert PairedRenders(out).points(0).shape == (32, 3)
    assert load_classification(out, 32).class_names == ("ball", "box", "cone")
    assert verify(out).problems == []


def test_the_test_split_is_of_other_meshes(whole):
    out, result = whole
    assert (result.train, result.test) == (10, 4)
    data = load_classification(out, 32)
    assert np.bincount(data.test.labels).tolist() == [2, 2]
    shapes = {split: {np.sort(np.linalg.norm(cloud, axis=1)).round(4).tobytes() for cloud in clouds.points}
              for split, clouds in (("train", data.train), ("test", data.test))}  # fmt: skip
    assert not shapes["train"] & shapes["test"]
    np.testing.assert_allclose(np.linalg.norm(data.train.points, axis=2).max(1), 1, rtol=1e-5)


def test_clouds_lie_in_the_mesh_s_frame_however_far_that_is(whole):
    out, _ = whole
    box = PlyData.read(out / "ShapeNet/box/0_00.ply")["vertex"]
    points = np.stack([box[axis] for axis in "xyz"], axis=1)
    assert points.dtype == np.float32
    np.testing.assert_allclose((np.abs(points) / [0.5, 1, 1.5]).max(1), 1, rtol=1e-5)
    far = PlyData.read(out / "ShapeNet/cone/far_00.ply")["vertex"]
    points = np.stack([far[axis] for axis in "xyz"], axis=1) - [5e5, 20, 4e6]
    height, radius = points[:, 2], np.linalg.norm(points[:, :2], axis=1)
    assert np.minimum(np.abs(height), np.abs(radius - (1 - height / 2)))[: len(points)].max() < 0.01  # facets
    assert np.ptp(points, axis=0).min() > 0.3


def test_the_pose_beside_a_cloud_is_that_of_its_sensor(whole):
    out, _ = whole
    pose = json.loads((out / "ShapeNet/box/1_01.json").read_text())
    assert pose["schema"] == "crosspoint.scan-pose/1"
    assert (pose["mesh"], pose["pattern"]) == ("1.off", "camera")
    matrix = np.array(pose["sensor_to_mesh"])
    assert np.linalg.norm(matrix[:3, 3]) == pytest.approx(pose["distance"]) == 3 * pose["radius"]
    assert np.degrees(np.arcsin(matrix[1, 3] / pose["distance"])) == pytest.approx(pose["elevation"])
    assert -10 <= pose["elevation"] <= 50


def test_bytes_do_not_depend_on_jobs_or_company(whole, meshes, tmp_path):
    small(meshes, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "two") == contents(whole[0])
    small(meshes / "box", tmp_path / "alone")
    both = contents(whole[0])
    clouds = {name: data for name, data in contents(tmp_path / "alone").items() if name.endswith((".ply", ".png"))}
    assert len(clouds) == 12
    assert all(both[name] == data for name, data in clouds.items())


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(whole, meshes, tmp_path, monkeypatch):
    write, written = module._write_cloud, []

    def killed(path, points, mesh):
        written.append(write(path, points, mesh))
        if len(written) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_cloud", killed)
        with pytest.raises(KeyboardInterrupt):
            small(meshes, tmp_path / "out")
    remains = fresh_path(tmp_path / "out/ShapeNet/ball") / "new"  # as SIGKILL would leave it: nobody holds its lock
    remains.mkdir(parents=True)
    (remains / "half").write_bytes(b"half")
    result = small(meshes, tmp_path / "out")
    assert (result.kept, result.scanned) == (2, 5)
    assert contents(tmp_path / "out") == contents(whole[0])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert small(meshes, tmp_path / "out").kept == 7
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_one_folder_never_mixes_settings(meshes, whole):
    for name, value in (("views", 3), ("points", 64), ("pattern", "lidar"), ("distance", 5.0), ("noise", 0.1),
                        ("size", 32), ("seed", 9)):  # fmt: skip
        with pytest.raises(InputError, match=rf"--{name} [\w.]+, not {value}; .*--out"):
            small(meshes, whole[0], **{name: value})


def test_senseless_options_and_places_are_refused_before_the_work(meshes, tmp_path):
    for name, value in (("views", 0), ("points", 0), ("size", 4), ("seed", -1)):
        with pytest.raises(InputError, match=f"{name} is {value}; it must be at least"):
            small(meshes, tmp_path / "out", **{name: value})
    for changes, trouble in (({"distance": 0.5}, "distance is 0.5"), ({"noise": -1.0}, "noise is -1"),
                             ({"pattern": "radar"}, "pattern is 'radar'")):  # fmt: skip
        with pytest.raises(InputError, match=trouble):
            small(meshes, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="this command did not make"):
        small(meshes, tmp_path / "foreign")
    with pytest.raises(InputError, match="input"):
        small(meshes, meshes / "out")


def test_a_foreign_file_in_the_labelled_set_is_not_replaced(meshes, tmp_path):
    small(meshes / "cone", tmp_path / "out")
    (tmp_path / "out/modelnet40_ply_hdf5_2048/notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt was not written with it"):
        small(meshes / "cone", tmp_path / "out")


def test_the_command_lists_bad_meshes_and_fails(meshes, tmp_path):
    folder = tmp_path / "meshes"
    folder.mkdir()
    (folder / "good.off").write_bytes((meshes / "box/0.off").read_bytes())
    (folder / "bad.off").write_bytes(b"\x89PNG\r\n\x1a\n")
    arguments = ["data", "scan", str(folder), "--out", str(tmp_path / "out"), "--views", "1", "--points", "16"]
    arguments += ["--size", "16", "--pattern", "lidar", "--noise", "0.001", "--jobs", "1"]
    outcome = CliRunner().invoke(crosspoint, [*arguments, "--json", str(tmp_path / "result.json")])
    assert isinstance(outcome.exception, CheckFailed)
    assert "bad.off: is a PNG image" in outcome.output
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["schema"] == "crosspoint.scan/1"
    assert (result["scanned"], result["distance"], result["train"], result["test"]) == (1, 8.0, 1, 0)
    assert [Path(bad["file"]).name for bad in result["skipped"]] == ["bad.off"]


def test_the_command_line_knows_the_patterns():
    assert set(PATTERNS) == set(DISTANCES)
