import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from plyfile import PlyData

from crosspoint.cli import crosspoint
from crosspoint.core.errors import CheckFailed, InputError, MissingDependency
from crosspoint.core.workspaces import fresh_path
from crosspoint.data.rendering.render import ELEVATIONS, Settings, render, render_views
from crosspoint.data.sets.pack import pack
from crosspoint.data.sets.renders import up_of_set

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("embreex")


@pytest.fixture
def meshes(tmp_path):
    folder = tmp_path / "meshes"
    for name, mesh in (
        ("chair/a.off", trimesh.creation.box((1, 2, 3))),
        ("chair/b.stl", trimesh.creation.icosphere(1)),
        ("lamp/small/c.ply", trimesh.creation.cone(1, 2)),
        ("d.obj", trimesh.creation.torus(1, 0.3)),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        mesh.export(folder / name)
    return folder


def test_work_goes_on_past_names_and_files_that_cannot_be(meshes, tmp_path):
    (meshes / "lamp/loop.off").symlink_to("loop.off")
    os.mkfifo(meshes / "lamp/pipe.glb")
    (meshes / "lamp" / ("x" * 240 + ".obj")).write_bytes((meshes / "d.obj").read_bytes())
    (meshes / "lamp" / os.fsdecode(b"\xff\n.off")).write_bytes((meshes / "chair/a.off").read_bytes())
    result = small(meshes, tmp_path / "out")
    assert result.rendered == 5
    assert [bad.reason.split(";")[0] for bad in result.skipped] == [
        "cannot be opened (Too many levels of symbolic links)",
        "is a pipe, a socket or a device",
        "its name is longer than 200 bytes",
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def small(meshes, out, *, jobs=1, **changes):
    settings = Settings(**{"views": 2, "size": 16, "points": 32, "seed": 1, **changes})
    return render([meshes], out, settings=settings, jobs=jobs)


def test_fewer_views_are_the_first_of_more():
    cone = trimesh.creation.cone(1, 2)
    three = render_views(cone.vertices, cone.faces, views=3, size=16, rng=np.random.default_rng(2))
    two = render_views(cone.vertices, cone.faces, views=2, size=16, rng=np.random.default_rng(2))
    assert three.shape == (3, 16, 16, 4)
    assert three.dtype == np.uint8
    np.testing.assert_array_equal(three[:2], two)
    assert (three[0] != three[1]).any()


def test_elevations_stay_in_their_band():
    # A slab's top is the only bright face seen from above, its underside never fills more than a few degrees allow.
    slab = trimesh.creation.box((1, 0.001, 1))
    pictures = render_views(slab.vertices, slab.faces, views=200, size=16, rng=np.random.default_rng(0))
    heights = [np.ptp(np.nonzero(alpha.any(1))[0]) + 1 for alpha in pictures[..., 3]]
    widest = 16 * np.sin(np.radians(ELEVATIONS[1])) * 1.25
    assert 8 < max(heights) <= widest
    assert min(heights) <= 2


def test_a_needle_that_no_ray_meets_is_refused():
    vertices = np.array([[0, 0, 0], [1, 1, 1], [1, 1, 1 + 1e-12]])
    with pytest.raises(InputError, match="nothing of the mesh is visible"):
        render_views(vertices, np.array([[0, 1, 2]]), views=1, size=16, rng=np.random.default_rng(0))


def test_layout_formats_and_counts(meshes, tmp_path):
    result = small(meshes, tmp_path / "out")
    assert (result.objects, result.rendered, result.kept, result.skipped) == (4, 4, 0, ())
    names = {"chair/a", "chair/b", "lamp_small/c", "meshes/d"}
    expected = {"render.json"} | {f"ShapeNet/{name}.ply" for name in names}
    expected |= {f"ShapeNetRendering/{name}/rendering/0{view}.png" for name in names for view in (0, 1)}
    assert set(contents(tmp_path / "out")) == expected
    cloud = PlyData.read(tmp_path / "out/ShapeNet/chair/a.ply")["vertex"]
    points = np.stack([cloud[axis] for axis in "xyz"], 1)
    assert points.shape == (32, 3)
    np.testing.assert_allclose((np.abs(points) / [0.5, 1, 1.5]).max(1), 1, rtol=1e-5)  # all on the surface of the box
    with Image.open(tmp_path / "out/ShapeNetRendering/chair/a/rendering/00.png") as image:
        assert (image.mode, image.size) == ("RGBA", (16, 16))


def test_bytes_do_not_depend_on_jobs_or_company(meshes, tmp_path):
    small(meshes, tmp_path / "one")
    small(meshes, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    small(meshes / "chair", tmp_path / "alone")
    both = contents(tmp_path / "one")
    assert all(both[name] == data for name, data in contents(tmp_path / "alone").items())
    small(meshes, tmp_path / "other", seed=2)
    other = contents(tmp_path / "other")
    assert not any(both[name] == data for name, data in other.items() if name.endswith((".ply", ".png")))


def test_only_what_is_missing_is_made_again(meshes, tmp_path):
    out = tmp_path / "out"
    small(meshes, out)
    before = contents(out)
    kept = out / "ShapeNetRendering/lamp_small/c/rendering/00.png"
    stamp = kept.stat().st_mtime_ns
    (out / "ShapeNet/chair/a.ply").unlink()
    (out / "ShapeNetRendering/chair/b/rendering/01.png").unlink()
    result = small(meshes, out)
    assert (result.rendered, result.kept) == (2, 2)
    assert contents(out) == before
    assert kept.stat().st_mtime_ns == stamp


def test_a_killed_run_leaves_nothing_that_counts(meshes, tmp_path, monkeypatch):
    small(meshes, tmp_path / "whole")
    save, saved = Image.Image.save, []

    def killed(self, *arguments, **options):
        saved.append(save(self, *arguments, **options))
        if len(saved) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            small(meshes, tmp_path / "out")
    for place in ("ShapeNetRendering/chair/b", "ShapeNet/chair"):
        remains = fresh_path(tmp_path / "out" / place) / "new"  # as SIGKILL would leave it: nobody holds its lock
        remains.mkdir(parents=True)
        (remains / "b").write_bytes(b"half")
    result = small(meshes, tmp_path / "out")
    assert (result.kept, result.rendered) == (1, 3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_one_folder_never_mixes_settings(meshes, tmp_path):
    small(meshes, tmp_path / "out")
    for name, value in (("views", 3), ("size", 32), ("points", 64), ("seed", 9)):
        with pytest.raises(InputError, match=rf"--{name} \d+, not {value}; .*--out"):
            small(meshes, tmp_path / "out", **{name: value})
    (tmp_path / "out/render.json").write_text("{")
    with pytest.raises(InputError, match=r"render\.json: is damaged"):
        small(meshes, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file"):
        small(meshes, tmp_path / "file")
    (tmp_path / "foreign/ShapeNet").mkdir(parents=True)
    with pytest.raises(InputError, match="this command did not make"):
        small(meshes, tmp_path / "foreign")


def test_files_of_one_stem_stay_apart(meshes, tmp_path):
    trimesh.creation.icosphere(1).export(meshes / "chair/a.ply")
    small(meshes, tmp_path / "out")
    assert {file.name for file in (tmp_path / "out/ShapeNet/chair").iterdir()} == {"a_off.ply", "a_ply.ply", "b.ply"}


def test_the_same_name_from_two_inputs_is_refused(meshes, tmp_path):
    other = tmp_path / "other/chair"
    other.mkdir(parents=True)
    trimesh.creation.icosphere(1).export(other / "a.off")
    with pytest.raises(InputError, match=r"a\.off and .*a\.off would both become chair/a_off"):
        render([meshes, tmp_path / "other"], tmp_path / "out", jobs=1)
    thrice = [meshes, meshes / "chair", meshes / "chair/a.off"]
    twice = render(thrice, tmp_path / "out", settings=Settings(views=1, size=16, points=8), jobs=1)
    assert twice.objects == 4


def test_no_meshes_and_senseless_options_are_refused(meshes, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        small(tmp_path / "empty", tmp_path / "out")
    for name, value in (("views", 0), ("size", 4), ("points", 0), ("seed", -1), ("jobs", 0)):
        with pytest.raises(InputError, match=f"{name} is {value}; it must be at least"):
            small(meshes, tmp_path / "out", **{name: value})
    assert not (tmp_path / "out").exists()


def test_bad_meshes_are_passed_over_and_listed(meshes, tmp_path):
    (meshes / "chair/bad.off").write_bytes(b"\x89PNG\r\n\x1a\n")
    (meshes / "lamp/empty.stl").touch()
    arguments = ["data", "render", str(meshes), "--out", str(tmp_path / "out"), "--views", "1", "--size", "16"]
    arguments += ["--points", "16", "--jobs", "2", "--json", str(tmp_path / "result.json")]
    outcome = CliRunner().invoke(crosspoint, arguments)
    assert outcome.exit_code == 1
    assert isinstance(outcome.exception, CheckFailed)
    assert str(outcome.exception).startswith("2 of 6 meshes were skipped")
    assert "bad.off: is a PNG image" in outcome.output
    assert "empty.stl: is empty" in outcome.output
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result) == [
        *("schema", "views", "size", "points", "seed", "up", "out", "objects", "kept", "rendered", "skipped", "seconds")
    ]
    assert result["schema"] == "crosspoint.render/1"
    assert [os.path.basename(bad["file"]) for bad in result["skipped"]] == ["bad.off", "empty.stl"]
    assert result["rendered"] == 4
    assert not list((tmp_path / "out").rglob("*bad*"))


def test_without_embreex_the_message_says_how_to_get_it(meshes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "embreex", None)
    with pytest.raises(MissingDependency, match=r"pip install .*\[render\]"):
        small(meshes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_succeeds_and_continues(meshes, tmp_path):
    arguments = ["data", "render", str(meshes), "--out", str(tmp_path / "out"), "--views", "1", "--size", "16"]
    arguments += ["--jobs", "1"]
    assert "4 objects rendered" in CliRunner().invoke(crosspoint, arguments, catch_exceptions=False).output
    outcome = CliRunner().invoke(crosspoint, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "0 objects rendered" in outcome.output
    assert "4 kept" in outcome.output


def test_z_up_meshes_are_drawn_upright(tmp_path):
    """A rod on a plate, which lies as CAD writes it, gives the pictures and points of the same thing y-up."""
    upright = trimesh.util.concatenate([trimesh.creation.box((2, 0.2, 1)), trimesh.creation.box((0.2, 3, 0.2))])
    lying = upright.copy()
    lying.vertices = upright.vertices[:, [0, 2, 1]] * [1, -1, 1]  # z-up: (x, y, z) as (x, −z, y)
    for name, mesh in (("y", upright), ("z", lying)):
        (tmp_path / name / "chair").mkdir(parents=True)
        mesh.export(tmp_path / name / "chair" / "a.ply")
        small(tmp_path / name, tmp_path / f"out-{name}", up=name)
    a, b = (contents(tmp_path / f"out-{name}") for name in "yz")
    settings = [json.loads(made.pop("render.json")) for made in (a, b)]
    assert [(each["up"], each["stored_up"]) for each in settings] == [("y", "y"), ("z", "y")]
    assert a == b


def test_a_folder_of_renderings_belongs_to_one_frame(meshes, tmp_path):
    small(meshes, tmp_path / "out", up="z")
    with pytest.raises(InputError, match="was made with --up z, not y"):
        small(meshes, tmp_path / "out")


def test_renderings_of_an_earlier_version_go_on_as_y_up(meshes, tmp_path):
    small(meshes, tmp_path / "out")
    file = tmp_path / "out" / "render.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in stored.items() if name not in ("up", "stored_up")}))
    assert up_of_set("shapenetrender", tmp_path / "out") is None
    assert small(meshes, tmp_path / "out").kept == 4
    with pytest.raises(InputError, match="was made with --up y, not z"):
        small(meshes, tmp_path / "out", up="z")


def test_a_frame_that_is_not_stated_is_said(meshes, tmp_path):
    words = [
        "data",
        "render",
        str(meshes),
        "--out",
        str(tmp_path / "out"),
        "--views",
        "1",
        "--size",
        "16",
        "--jobs",
        "1",
    ]
    shown = CliRunner().invoke(crosspoint, [*words, "--jobs", "1"])
    assert "y-up is assumed, since the inputs do not say; give --up z" in shown.stderr


def test_a_pack_says_that_its_clouds_are_y_up(meshes, tmp_path):
    small(meshes, tmp_path / "out", up="z")
    assert pack(tmp_path / "out", tmp_path / "pack").up == "y"
    assert json.loads((tmp_path / "pack" / "index.json").read_text())["up"] == "y"
