"""A bag or a file of several clouds is divided cloud by cloud, and each object says which cloud it is of."""

import json
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from click.testing import CliRunner
from toy_bags import write_bag
from toy_scenes import box, ground

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.frames import to_y_up
from crosspoint.data.io.files import read_points
from crosspoint.data.objects.find import ObjectOptions, find_objects
from crosspoint.data.objects.folder import write_objects
from crosspoint.data.objects.sources import Scans
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.embeddings import load
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.options import Reading, Sampling


def scene(seed: int, boxes: int) -> np.ndarray:
    """Ground and some boxes apart from each other."""
    rng = np.random.default_rng(seed)
    things = [box(rng, (3 * i - 3, 0, 0), (1, 1, 1.5), 400 - 50 * i) for i in range(boxes)]
    return np.concatenate([ground(rng, size=6, count=2500), *things]).astype(np.float32)


@pytest.fixture
def sweeps() -> list[np.ndarray]:
    """Three sweeps of different sizes: two boxes, none, three."""
    return [scene(0, 2), scene(1, 0), scene(2, 3)]


@pytest.fixture
def bag(tmp_path: Path, sweeps: list[np.ndarray]) -> Path:
    pytest.importorskip("rosbags")
    return write_bag(tmp_path, sweeps, "bag")


NAMES = [f"cloud-{cloud:04d}-object-{i:04d}" for cloud, count in ((0, 2), (2, 3)) for i in range(1, count + 1)]


def test_each_cloud_of_a_bag_is_divided(bag: Path, sweeps: list[np.ndarray], tmp_path: Path) -> None:
    result = write_objects(bag, tmp_path / "out")
    assert [entry.name for entry in result.objects] == NAMES
    assert [entry.cloud for entry in result.objects] == [0, 0, 2, 2, 2]
    assert (result.clouds, result.points) == (3, sum(map(len, sweeps)))
    expected = [one for sweep in sweeps for one in find_objects(sweep)]
    for entry, one in zip(result.objects, expected, strict=True):
        np.testing.assert_array_equal(read_points(tmp_path / "out" / entry.file, None, seed=0)[0], one.points)


def test_a_cloud_without_objects_is_counted(bag: Path, tmp_path: Path) -> None:
    outcome = CliRunner().invoke(crosspoint, ["data", "objects", str(bag), "--out", str(tmp_path / "out")])
    assert outcome.exit_code == 0
    assert "no object in 1 of 3 clouds" in outcome.stdout
    assert json.loads((tmp_path / "out" / "objects.json").read_text())["left_out"] == "no object in 1 of 3 clouds"


def test_a_file_of_clouds_without_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "bare.npy", np.stack([scene(i, 0) for i in range(2)]))
    with pytest.raises(InputError, match=r"no object was found in 12 × 12 × \S+ m \(no object in 2 of 2 clouds\)"):
        write_objects(tmp_path / "bare.npy", tmp_path / "out")


def test_an_earlier_result_of_several_clouds_is_replaced(bag: Path, tmp_path: Path) -> None:
    write_objects(bag, tmp_path / "out")
    np.save(tmp_path / "one.npy", scene(0, 1))
    write_objects(tmp_path / "one.npy", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["object-0001.ply", "objects.json"]


def test_objects_of_a_bag_are_embedded_and_found_again(bag: Path, sweeps: list[np.ndarray], tmp_path: Path) -> None:
    model = small.write_onnx(tmp_path / "model.onnx")
    embed(model, Scans([bag]), out=tmp_path / "out.npz", sampling=Sampling(64))
    found = load(tmp_path / "out.npz")
    assert found.names == [f"a.bag#{name}" for name in NAMES]
    originals = Originals(tmp_path, up="z", boxes=dict(zip(found.names, found.boxes.corners, strict=True)))
    expected = [one for sweep in sweeps for one in find_objects(sweep)]
    for name, one in zip(found.names, expected, strict=True):
        cut_out = originals.cloud(name)  # with what else lies in the box, such as a point of the ground
        assert set(map(tuple, to_y_up(one.points, "z"))) <= set(map(tuple, cut_out))
        assert len(cut_out) < 1.1 * len(one.points)


def test_a_renamed_scan_gives_the_same_embeddings(tmp_path: Path) -> None:
    model = small.write_onnx(tmp_path / "model.onnx")
    rows = []
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, scene(0, 2))
        embed(model, Scans([tmp_path / name]), out=tmp_path / "out.npz", sampling=Sampling(64))
        rows.append(load(tmp_path / "out.npz").vectors)
    np.testing.assert_array_equal(*rows)


def test_columns_hold_for_scans(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.csv", scene(0, 2)[:, [2, 0, 1]], delimiter=",", header="c,a,b", comments="")
    model = small.write_onnx(tmp_path / "model.onnx")
    scans = Scans([tmp_path / "a.csv"], ObjectOptions(up="z"))
    assert embed(model, scans, out=tmp_path / "out.npz", reading=Reading("a,b,c")).embedded == 2
    with pytest.raises(InputError, match="none of them x, y and z"):
        embed(model, scans, out=tmp_path / "out.npz")


def test_a_picture_of_several_clouds_is_refused_before_the_work(bag: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="holds several clouds, and --picture shows one; leave --picture away"):
        write_objects(bag, tmp_path / "out", picture=tmp_path / "above.png")
    outcome = CliRunner().invoke(
        crosspoint,
        ["embed", str(bag), "--objects", "--out", str(tmp_path / "e.npz"), "--picture", str(tmp_path / "a.png")],
    )
    assert "holds several clouds" in str(outcome.exception)
    assert not (tmp_path / "e.npz").exists()
