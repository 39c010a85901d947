import os
import subprocess
from functools import partial

import numpy as np
import pytest
import trimesh

from crosspoint.core.errors import InputError
from crosspoint.data.frames import UPS, to_y_up
from crosspoint.data.io.files import MESH_POINTS, SUFFIXES, find_files, is_mesh, read_many, read_points
from crosspoint.data.io.formats.ply import write_points


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)


def test_clouds_are_chosen_from_and_meshes_sampled(points, tmp_path):
    np.save(tmp_path / "cloud.npy", points)
    trimesh.creation.box().export(tmp_path / "box.off")
    whole = read_points(tmp_path / "cloud.npy", None, seed=0)
    np.testing.assert_array_equal(whole, points[None])
    some = read_points(tmp_path / "cloud.npy", 100, seed=0)
    assert some.shape == (1, 100, 3)
    assert {tuple(point) for point in some[0]} < {tuple(point) for point in points}
    assert read_points(tmp_path / "box.off", None, seed=0).shape == (1, MESH_POINTS, 3)
    surface = read_points(tmp_path / "box.off", 50, seed=0)[0]
    np.testing.assert_allclose(np.abs(surface).max(axis=1), 0.5, rtol=1e-6)


def test_ply_is_a_mesh_where_it_has_faces(points, tmp_path):
    write_points(tmp_path / "cloud.ply", points)
    trimesh.creation.box().export(tmp_path / "box.ply")
    assert not is_mesh(tmp_path / "cloud.ply")
    assert is_mesh(tmp_path / "box.ply")
    np.testing.assert_array_equal(read_points(tmp_path / "cloud.ply", None, seed=0)[0], points)
    assert read_points(tmp_path / "box.ply", None, seed=0).shape == (1, MESH_POINTS, 3)
    for junk in (b"", b"ply", b"ply\nformat ascii 1.0\nelement face x\nend_header\n", os.urandom(99)):
        (tmp_path / "junk.ply").write_bytes(junk)
        assert not is_mesh(tmp_path / "junk.ply")


def test_equal_clouds_give_equal_points_in_one_file_and_in_several(points, tmp_path):
    np.save(tmp_path / "many.npy", np.stack([points, points + 1, points]))
    np.save(tmp_path / "one.npy", points)
    first, second, third = read_points(tmp_path / "many.npy", 40, seed=0)
    np.testing.assert_array_equal(first, third)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, read_points(tmp_path / "one.npy", 40, seed=0)[0])


def test_draws_of_a_cloud_differ(points, tmp_path):
    np.save(tmp_path / "one.npy", points)
    first, second = read_points(tmp_path / "one.npy", 40, seed=0, draws=2)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("suffix", ["ply", "off"])
def test_a_copy_that_was_moved_and_scaled_gives_the_same_points_of_it(tmp_path, suffix):
    mesh = trimesh.creation.icosphere(2)
    mesh.export(tmp_path / f"a.{suffix}")
    trimesh.Trimesh(mesh.vertices * 1000 + [5e5, 4.6e6, 100], mesh.faces, process=False).export(
        tmp_path / f"b.{suffix}"
    )
    a, b = (read_points(tmp_path / f"{name}.{suffix}", 50, seed=0)[0] for name in "ab")
    tolerance = 1e-3 if suffix == "ply" else 1e-6  # trimesh writes PLY in float32
    np.testing.assert_allclose((b - [5e5, 4.6e6, 100]) / 1000, a, atol=tolerance)


def test_what_is_drawn_depends_on_seed_and_content_alone(points, tmp_path):
    for name in ("a/x.npy", "b/x.npy", "b/y.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, points)
    np.save(tmp_path / "c.npy", np.concatenate([points, points[:1] + 1]))
    first = read_points(tmp_path / "a/x.npy", 50, seed=7)
    np.testing.assert_array_equal(first, read_points(tmp_path / "b/x.npy", 50, seed=7))
    np.testing.assert_array_equal(first, read_points(tmp_path / "b/y.npy", 50, seed=7))
    assert not np.array_equal(first, read_points(tmp_path / "c.npy", 50, seed=7))
    assert not np.array_equal(first, read_points(tmp_path / "a/x.npy", 50, seed=8))


def test_a_copy_of_a_mesh_under_another_name_gives_the_same_points(tmp_path):
    trimesh.creation.box().export(tmp_path / "a.off")
    (tmp_path / "b.off").write_bytes((tmp_path / "a.off").read_bytes())
    a, b = (read_points(tmp_path / name, 50, seed=0) for name in ("a.off", "b.off"))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("up", UPS)
def test_the_frame_turns_what_is_drawn_and_changes_no_draw(points, tmp_path, up):
    write_points(tmp_path / "cloud.ply", points)
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "box.stl")
    for path in (tmp_path / "cloud.ply", tmp_path / "box.stl"):
        read = partial(read_points, path, 20, seed=3, draws=2)
        np.testing.assert_array_equal(read(up=up), to_y_up(read(), up))


def test_draws_differ_and_the_first_is_that_of_a_single_draw(points, tmp_path):
    trimesh.creation.box().export(tmp_path / "box.off")
    np.save(tmp_path / "cloud.npy", points)
    for name in ("box.off", "cloud.npy"):
        drawn = read_points(tmp_path / name, 50, seed=3, draws=3)
        assert drawn.shape == (3, 50, 3)
        np.testing.assert_array_equal(drawn[:1], read_points(tmp_path / name, 50, seed=3))
        assert not np.array_equal(drawn[0], drawn[1])
        assert not np.array_equal(drawn[1], drawn[2])


def test_draws_of_a_cloud_follow_each_other_and_a_whole_cloud_is_repeated(points, tmp_path):
    several = np.stack([points, points + 100])
    np.save(tmp_path / "many.npy", several)
    assert (read_points(tmp_path / "many.npy", 9, seed=0, draws=2).mean((1, 2)) > 50).tolist() == [0, 0, 1, 1]
    whole = read_points(tmp_path / "many.npy", None, seed=0, draws=2)
    np.testing.assert_array_equal(whole, several[[0, 0, 1, 1]].astype(np.float32))


@pytest.mark.parametrize(
    ("count", "message"),
    [(301, r"cloud\.npy: 300 points, fewer than the 301 asked for; ask for at most 300$"), (0, "at least 1")],
)
def test_counts_that_cannot_be_had(count, message, points, tmp_path):
    np.save(tmp_path / "cloud.npy", points)
    with pytest.raises(InputError, match=message):
        read_points(tmp_path / "cloud.npy", count, seed=0)


def test_work_goes_on_past_bad_files(points, tmp_path):
    for name in ("a.npy", "c.npy"):
        np.save(tmp_path / name, points)
    (tmp_path / "b.npy").write_bytes(b"rubbish")
    (tmp_path / "d.stl").touch()
    results = dict(read_many(find_files([tmp_path]), 10, seed=0))
    assert [path.name for path in results] == ["a.npy", "b.npy", "c.npy", "d.stl"]
    bad = {path.name: str(result) for path, result in results.items() if isinstance(result, InputError)}
    assert set(bad) == {"b.npy", "d.stl"}
    assert bad["b.npy"].startswith(f"{tmp_path / 'b.npy'}: is not a .npy array")
    np.testing.assert_array_equal(results[tmp_path / "a.npy"], read_points(tmp_path / "a.npy", 10, seed=0))


def test_folders_are_searched_and_inputs_kept(points, tmp_path):
    for name in ("z.npy", "in/b.PLY", "in/deep/a.obj", "in/.hidden.npy", "in/.git/x.npy", "in/notes.md", "in/.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_files([tmp_path / "z.npy", tmp_path / "in", tmp_path / "in/deep", tmp_path / "z.npy"])
    assert found == [tmp_path / "in/b.PLY", tmp_path / "in/deep/a.obj", tmp_path / "z.npy"]


def test_links_are_followed_once(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.npy").touch()
    (tmp_path / "given").mkdir()
    (tmp_path / "given/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/up").symlink_to(tmp_path / "given")
    assert find_files([tmp_path / "given"]) == [tmp_path / "given/link/a.npy"]


def deep(folder, name, depth):
    """A file in folders `name` within each other; the path is longer than a system call takes."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        above, here = here, os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(above)
    os.close(os.open("a.xyz", os.O_CREAT, dir_fd=here))
    os.close(here)


@pytest.fixture
def deep_folder(tmp_path):
    """One that is gone after the test: what removes old temporary folders goes down by recursion."""
    deep(tmp_path, "x", 1200)
    deep(tmp_path, "a long name", 500)
    yield tmp_path
    subprocess.run(["rm", "-r", "x", "a long name"], cwd=tmp_path, check=True)


def test_folders_that_lie_deep_are_searched_or_named(deep_folder):
    unlisted, found = find_files([deep_folder])
    assert found.name == "a.xyz"
    assert len(found.parts) > 1200
    assert len(str(unlisted)) > 4000
    with pytest.raises(InputError, match="File name too long"):
        read_points(unlisted, None, seed=0)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems alone")
def test_work_goes_on_past_what_is_no_file(points, tmp_path):
    np.save(tmp_path / "good.npy", points)
    os.mkfifo(tmp_path / "pipe.xyz")
    for name, target in (("zero.xyz", "/dev/zero"), ("loop.ply", "loop.ply"), ("nowhere.pcd", "nowhere"), ("up", ".")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / os.fsdecode(b"\xff\n.xyz")).write_text("1 2")
    results = {path.name: result for path, result in read_many(find_files([tmp_path]), 10, seed=0)}
    reasons = {name: str(result) for name, result in results.items() if isinstance(result, InputError)}
    assert set(results) - set(reasons) == {"good.npy"}
    assert len(reasons) == 5
    assert all(reason.isprintable() for reason in reasons.values())


def test_inputs_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "picture.png").touch()
    for given, message in (
        ("nowhere", "does not exist"),
        ("empty", "holds no file that can be read"),
        ("picture.png", "has no known suffix; give "),
    ):
        with pytest.raises(InputError, match=message) as caught:
            find_files([tmp_path / given])
        assert str(tmp_path / given) in str(caught.value)


def test_all_suffixes():
    clouds = {".npy", ".npz", ".ply", ".pcd", ".asc", ".pts", ".xyz", ".txt", ".csv", ".bin"}
    meshes = {".off", ".obj", ".stl", ".ply", ".glb", ".gltf"}
    assert clouds | meshes | {".las", ".laz", ".e57", ".bag", ".mcap", ".db3"} == SUFFIXES
