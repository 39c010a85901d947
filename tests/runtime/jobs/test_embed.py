import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import small_models as small

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.files import sha256
from crosspoint.data.io.files import read_points
from crosspoint.data.points import normalise
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.options import Sampling

Clouds = Callable[..., np.ndarray]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Takes any number of points."""
    return small.write_onnx(tmp_path / "model.onnx")


@pytest.fixture
def folder(tmp_path: Path, clouds: Clouds) -> Path:
    """Five clouds of 16 points in files, one in a subfolder."""
    root = tmp_path / "clouds"
    (root / "sub").mkdir(parents=True)
    for i, name in enumerate(("b.npy", "a.npy", "sub/c.npy", "d.npy", "e.npy")):
        np.save(root / name, 5 * clouds(1, 16, i)[0] + 3)
    return root


def read(path: Path) -> SimpleNamespace:
    with np.load(path, allow_pickle=False) as file:
        return SimpleNamespace(**{name: file[name] for name in file.files})


def test_a_folder(model: Path, folder: Path, tmp_path: Path) -> None:
    result = embed(model, [folder], out=tmp_path / "out.npz")
    written = read(tmp_path / "out.npz")
    assert written.names.tolist() == result.names == ["a.npy", "b.npy", "d.npy", "e.npy", "sub/c.npy"]
    assert written.embeddings.dtype == np.float32
    assert str(written.model_sha256) == sha256(model)
    expected = small.reference(normalise(np.stack([np.load(folder / name) for name in written.names])))
    np.testing.assert_allclose(written.embeddings, expected, rtol=1e-5, atol=1e-6)
    assert (result.embedded, result.skipped, result.dim, result.points) == (5, (), 4, None)
    assert result.model.backend == "onnxruntime"


def test_the_result_says_the_seed(model: Path, folder: Path, tmp_path: Path) -> None:
    assert embed(model, [folder], out=tmp_path / "out.npz", sampling=Sampling(seed=7)).seed == 7


def test_npy_holds_the_embeddings_alone(model: Path, folder: Path, tmp_path: Path) -> None:
    embed(model, [folder], out=tmp_path / "out.npz")
    embed(model, [folder], out=tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), read(tmp_path / "out.npz").embeddings)


def test_the_batch_does_not_matter(model: Path, folder: Path, tmp_path: Path) -> None:
    for batch in (1, 2, 32):
        embed(model, [folder], out=tmp_path / f"{batch}.npz", batch=batch)
    for batch in (1, 2):
        assert (tmp_path / f"{batch}.npz").read_bytes() == (tmp_path / "32.npz").read_bytes()


def test_clouds_of_many_sizes_keep_their_order(model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = {f"{i:02d}.npy": rng.standard_normal((int(rng.integers(4, 12)), 3)).astype(np.float32) for i in range(60)}
    (tmp_path / "in").mkdir()
    for name, cloud in made.items():
        np.save(tmp_path / "in" / name, cloud)
    embed(model, [tmp_path / "in"], out=tmp_path / "out.npz", batch=4)
    written = read(tmp_path / "out.npz")
    assert written.names.tolist() == list(made)
    for row, cloud in zip(written.embeddings, made.values(), strict=True):
        np.testing.assert_allclose(row, small.reference(normalise(cloud)[None])[0], rtol=1e-5, atol=1e-6)


def test_an_array_of_clouds_is_that_many(model: Path, tmp_path: Path, clouds: Clouds) -> None:
    np.save(tmp_path / "many.npy", clouds(3))
    np.save(tmp_path / "one.npy", clouds(1)[0])
    embed(model, [tmp_path / "many.npy", tmp_path / "one.npy"], out=tmp_path / "out.npz")
    written = read(tmp_path / "out.npz")
    assert written.names.tolist() == ["many.npy#0", "many.npy#1", "many.npy#2", "one.npy"]
    np.testing.assert_allclose(written.embeddings[:3], small.reference(normalise(clouds(3))), rtol=1e-5, atol=1e-6)


def test_points_are_drawn_by_seed_and_content_alone(model: Path, folder: Path, tmp_path: Path) -> None:
    first = embed(model, [folder], out=tmp_path / "all.npz", sampling=Sampling(8))
    embed(model, [folder / "e.npy"], out=tmp_path / "alone.npz", sampling=Sampling(8))
    embed(model, [folder / "e.npy"], out=tmp_path / "other.npz", sampling=Sampling(8, seed=1))
    alone, other = (read(tmp_path / f"{name}.npz").embeddings[0] for name in ("alone", "other"))
    np.testing.assert_array_equal(read(tmp_path / "all.npz").embeddings[first.names.index("e.npy")], alone)
    assert not np.array_equal(alone, other)


def test_a_copy_under_another_name_has_the_same_embedding(model: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "sub" / "copy.npy").write_bytes((folder / "a.npy").read_bytes())
    names = embed(model, [folder], out=tmp_path / "out.npz", sampling=Sampling(8)).names
    vectors = dict(zip(names, read(tmp_path / "out.npz").embeddings, strict=True))
    np.testing.assert_array_equal(vectors["a.npy"], vectors["sub/copy.npy"])


def test_draws_are_averaged(model: Path, folder: Path, tmp_path: Path, clouds: Clouds) -> None:
    np.save(folder / "few.npy", clouds(2, 8))  # of a whole cloud there is one draw
    result = embed(model, [folder], out=tmp_path / "out.npz", sampling=Sampling(8, seed=4, draws=3))
    written = read(tmp_path / "out.npz")
    assert (result.draws, json.loads(str(written.about))["draws"]) == (3, 3)
    files = [name.partition("#") for name in result.names]
    drawn = [read_points(folder / file, 8, seed=4, draws=3)[3 * int(i or 0) :][:3] for file, _, i in files]
    expected = [small.reference(normalise(each)).mean(0) for each in drawn]
    np.testing.assert_allclose(written.embeddings, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("draws", [0, -1, 1001])
def test_an_impossible_number_of_draws_is_refused(model: Path, folder: Path, tmp_path: Path, draws: int) -> None:
    with pytest.raises(InputError, match=f"^--draws is {draws}; give 1 to 1000"):
        embed(model, [folder], out=tmp_path / "out.npz", sampling=Sampling(8, draws=draws))


def test_the_models_own_number_of_points(tmp_path: Path, folder: Path, clouds: Clouds) -> None:
    model = small.write_onnx(tmp_path / "fixed.onnx", points=12)
    np.save(folder / "few.npy", clouds(1, 11)[0])
    result = embed(model, [folder], out=tmp_path / "out.npz")
    assert (result.points, result.embedded) == (12, 5)
    assert [bad.file for bad in result.skipped] == ["few.npy"]
    assert "11" in result.skipped[0].reason
    with pytest.raises(InputError, match=r"takes exactly 12 points per cloud, not 13"):
        embed(model, [folder], out=tmp_path / "out.npz", sampling=Sampling(13))


def test_fewer_points_than_neighbours_are_skipped(tmp_path: Path, folder: Path, clouds: Clouds) -> None:
    model = small.write_onnx(tmp_path / "k.onnx", metadata='{"k": 16}')
    np.save(folder / "few.npy", clouds(1, 15)[0])
    result = embed(model, [folder], out=tmp_path / "out.npz")
    assert result.embedded == 5
    assert [bad.file for bad in result.skipped] == ["few.npy"]
    assert "at least 16" in result.skipped[0].reason


def test_meshes_are_sampled(model: Path, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.box((1, 2, 3)).export(tmp_path / "box.off")
    embed(model, [tmp_path / "box.off"], out=tmp_path / "out.npz")
    corner = np.array([0.5, 1, 1.5]) / np.linalg.norm([0.5, 1, 1.5])  # the farthest points lie at the corners
    np.testing.assert_allclose(read(tmp_path / "out.npz").embeddings[0, :3], corner, atol=0.05)


def test_bad_files_are_skipped_and_listed(model: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "empty.npy").write_bytes(b"")
    (folder / "picture.ply").write_bytes(b"\x89PNG\r\n\x1a\n")
    np.save(folder / "nan.npy", np.full((16, 3), np.nan))
    result = embed(model, [folder], out=tmp_path / "out.npz")
    assert result.embedded == len(read(tmp_path / "out.npz").names) == 5
    assert [bad.file for bad in result.skipped] == ["empty.npy", "nan.npy", "picture.ply"]
    assert all(str(folder) not in bad.reason for bad in result.skipped)


def test_nothing_but_bad_files(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"none of 1 inputs could be embedded; the first: bad\.npy"):
        embed(model, [tmp_path / "bad.npy"], out=tmp_path / "out.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.npy", "model.onnx"]


def test_an_older_file_stays_when_a_run_fails(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(b"rubbish")
    (tmp_path / "out.npz").write_bytes(b"older")
    with pytest.raises(InputError):
        embed(model, [tmp_path / "bad.npy"], out=tmp_path / "out.npz")
    assert (tmp_path / "out.npz").read_bytes() == b"older"


def test_all_points_equal_is_a_cloud(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "same.npy", np.full((16, 3), 7.0, np.float32))
    embed(model, [tmp_path / "same.npy"], out=tmp_path / "out.npz")
    np.testing.assert_array_equal(read(tmp_path / "out.npz").embeddings, np.zeros((1, 4)))


def test_names_tell_several_inputs_apart(model: Path, tmp_path: Path, clouds: Clouds) -> None:
    for part in ("x", "y"):
        (tmp_path / "in" / part).mkdir(parents=True)
        np.save(tmp_path / "in" / part / "a.npy", clouds(1)[0])
    inputs = [tmp_path / "in" / "y", tmp_path / "in" / "x", tmp_path / "in" / "x" / "a.npy"]
    assert embed(model, inputs, out=tmp_path / "out.npz").names == ["y/a.npy", "x/a.npy"]


def _modelnet(root: Path, clouds: np.ndarray) -> Path:
    root.mkdir(parents=True)
    for split, rows in (("train", slice(0, 3)), ("test", slice(3, 5))):
        with h5py.File(root / f"ply_data_{split}0.h5", "w") as file:
            file["data"] = clouds[rows]
            file["label"] = np.zeros((len(clouds[rows]), 1), np.uint8)
    (root / "shape_names.txt").write_text("thing\n")
    return root


def test_a_dataset_gives_every_split_and_its_first_points(model: Path, tmp_path: Path, clouds: Clouds) -> None:
    root = _modelnet(tmp_path / "data" / "modelnet", clouds(5))
    for given in (root, root.parent):
        result = embed(model, [given], out=tmp_path / "out.npz", sampling=Sampling(12))
        assert result.names[-2:] == ["test/000000", "test/000001"]
        assert result.names[:3] == [f"train/{i:06d}" for i in range(3)]
        expected = small.reference(normalise(clouds(5)[:, :12]))
        np.testing.assert_allclose(read(tmp_path / "out.npz").embeddings, expected, rtol=1e-5, atol=1e-6)


def test_a_dataset_beside_files_is_not_guessed_at(model: Path, tmp_path: Path, clouds: Clouds) -> None:
    root = _modelnet(tmp_path / "data" / "modelnet", clouds(5))
    np.save(root.parent / "a.npy", clouds(1)[0])
    with pytest.raises(InputError, match=r"or a data set beside other files; give one of"):
        embed(model, [root.parent], out=tmp_path / "out.npz")
    result = embed(model, [root, root.parent / "a.npy"], out=tmp_path / "out.npz")
    assert result.names[0] == "modelnet/train/000000"
    assert result.names[-1] == "a.npy"


def test_rendered_pairs_are_named_by_object(model: Path, tmp_path: Path, clouds: Clouds) -> None:
    from PIL import Image

    trimesh = pytest.importorskip("trimesh")
    for key, cloud in zip(("02/a", "02/b"), clouds(2), strict=True):
        (tmp_path / "pairs" / "ShapeNet" / key).parent.mkdir(parents=True, exist_ok=True)
        trimesh.PointCloud(cloud).export(tmp_path / "pairs" / "ShapeNet" / f"{key}.ply")
        views = tmp_path / "pairs" / "ShapeNetRendering" / key / "rendering"
        views.mkdir(parents=True)
        Image.new("RGBA", (8, 8)).save(views / "00.png")
    assert embed(model, [tmp_path / "pairs"], out=tmp_path / "out.npz").names == ["02/a", "02/b"]
    expected = small.reference(normalise(clouds(2)))
    np.testing.assert_allclose(read(tmp_path / "out.npz").embeddings, expected, rtol=1e-5, atol=1e-6)
    assert embed(model, [tmp_path / "pairs"], out=tmp_path / "out.npz", sampling=Sampling(8)).embedded == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "out.csv"}, r"out\.csv has an unknown suffix; .*\.npz, \.npy, \.parquet"),
        ({"out": "folder.npz"}, r"folder\.npz has an unknown suffix"),
        ({"batch": 0}, "--batch is 0"),
        ({"sampling": Sampling(seed=-1)}, "--seed is -1"),
        ({"sampling": Sampling(0)}, "at least 1 points per cloud, not 0"),
        ({"inputs": ["nothing"]}, "does not exist"),
        ({"inputs": []}, "no inputs"),
        ({"model": "nothing"}, "nothing does not exist"),
        ({"out": "model.onnx/out.npz"}, "cannot write"),
    ],
)
def test_options_that_cannot_be(model: Path, folder: Path, tmp_path: Path, change: dict, message: str) -> None:
    (tmp_path / "folder.npz").mkdir()
    arguments = {"model": "model.onnx", "inputs": ["clouds"], "out": "out.npz", **change}
    for name in ("model", "out"):
        arguments[name] = tmp_path / arguments[name]
    arguments["inputs"] = [tmp_path / name for name in arguments["inputs"]]
    with pytest.raises(InputError, match=message):
        embed(**arguments)


def test_a_result_that_is_not_finite_writes_nothing(tmp_path: Path, folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(  # the logarithm of a negative number
        [
            helper.make_node("ReduceMin", ["points", "axes"], ["least"], keepdims=0),
            helper.make_node("Log", ["least"], ["embedding"]),
        ],
        "log",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["b", "n", 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", 3])],
        [numpy_helper.from_array(np.array([1]), "axes")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "log.onnx"
    )
    with pytest.raises(CheckFailed, match="gave NaN or infinite values for 5 of 5 clouds"):
        embed(tmp_path / "log.onnx", [folder], out=tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def _command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "crosspoint", "embed", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command(model: Path, folder: Path, tmp_path: Path) -> None:
    done = _command(model, folder, "--out", tmp_path / "out.npz", "--json", tmp_path / "out.json", "--up", "y")
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 embeddings of 4 numbers" in done.stdout
    assert "onnxruntime on cpu" in done.stdout
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["schema"], result["embedded"]) == ("crosspoint.embed/1", 5)
    assert list(result) == [
        *(
            "schema",
            "model",
            "points",
            "dim",
            "embedded",
            "names",
            "skipped",
            "out",
            "seed",
            "seconds",
            "draws",
            "frame",
        )
    ]
    assert result["model"]["sha256"] == sha256(model)


def test_the_command_lists_what_it_skipped_and_exits_1(model: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.npy").write_bytes(b"rubbish")
    done = _command(model, folder, "--out", tmp_path / "out.npz", "--up", "y")
    assert done.returncode == 1
    assert "bad.npy" in done.stdout
    assert done.stderr == "crosspoint: 1 inputs were skipped; repair or remove them\n"
    assert len(read(tmp_path / "out.npz").names) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("{folder}/a.npy", "{folder}", "--out", "{out}", "--up", "y"),
        ("{model}", "{folder}/nothing.npy", "--out", "{out}"),
        ("{model}", "{model}", "--out", "{out}"),
        ("{model}", "{folder}", "--out", "{out}", "--device", "tpu"),
        ("{model}", "{folder}", "--out", "{out}", "--backend", "tensorrt"),
        ("{model}", "{folder}", "--out", "{out}.txt"),
        ("{model}", "{folder}", "--out", "{out}", "--points", "-3"),
    ],
)
def test_the_command_answers_rubbish_with_one_line(
    model: Path, folder: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = _command(*(text.format(model=model, folder=folder, out=tmp_path / "out.npz") for text in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith("crosspoint: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.npz").exists()
