"""Nearest neighbours among embeddings, against all distances computed one by one."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import small_models as small

from crosspoint.core.errors import InputError
from crosspoint.runtime import load_encoder
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, load, save
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.jobs.parts import PartOptions
from crosspoint.runtime.jobs.search import SearchOptions, distances, open_index, originals_of, search
from crosspoint.runtime.options import Reading, Sampling

Clouds = Callable[..., np.ndarray]
FILES = 9


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small.write_onnx(tmp_path / "model.onnx")


@pytest.fixture
def folder(tmp_path: Path, clouds: Clouds) -> Path:
    root = tmp_path / "clouds"
    (root / "sub").mkdir(parents=True)
    for i in range(FILES):
        np.save(root / ("sub" if i % 2 else ".") / f"{i}.npy", clouds(1, 40, i)[0])
    return root


@pytest.fixture
def index(model: Path, folder: Path, tmp_path: Path) -> Path:
    embed(model, [folder], out=tmp_path / "index.npz", sampling=Sampling(16))
    return tmp_path / "index.npz"


def expected(index: Path, name: str, metric: str) -> list[tuple[str, float]]:
    found = load(index)
    vectors = dict(zip(found.names, found.vectors.astype(np.float64), strict=True))
    a = vectors.pop(name)
    far = {
        other: 1 - a @ b / np.sqrt((a @ a) * (b @ b)) if metric == "cosine" else np.sqrt(((a - b) ** 2).sum())
        for other, b in vectors.items()
    }
    return sorted(far.items(), key=lambda pair: pair[1])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 3, 100])
def test_the_nearest_by_name(index: Path, metric: str, k: int) -> None:
    result = search("sub/3.npy", index, options=SearchOptions(k, metric))
    wanted = expected(index, "sub/3.npy", metric)[:k]
    assert [hit.name for hit in result.results] == [name for name, _ in wanted]
    np.testing.assert_allclose([hit.distance for hit in result.results], [far for _, far in wanted], atol=1e-12)
    assert [hit.rank for hit in result.results] == list(range(1, len(wanted) + 1))
    assert result.size == FILES


def test_a_file_is_embedded_as_the_index_was(index: Path, folder: Path, tmp_path: Path, model: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "4.npy").write_bytes((folder / "4.npy").read_bytes())  # the same content and seed draw the same points
    result = search(other / "4.npy", index, options=SearchOptions(2), model=model)
    assert result.results[0].name == "4.npy"
    assert result.results[0].distance < 1e-6
    assert result.results[1].name == expected(index, "4.npy", "cosine")[0][0]


def test_a_file_of_the_index_is_not_its_own_neighbour(index: Path, folder: Path) -> None:
    assert search(folder / "4.npy", index).results == search("4.npy", index).results


@pytest.mark.parametrize("form", ["parquet", "npz"])
def test_parts_give_what_one_file_gives(index: Path, model: Path, folder: Path, tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    embed(model, [folder], out=tmp_path / "parts", sampling=Sampling(16), parts=PartOptions(size=2, form=form))
    a, b = (search("4.npy", place, options=SearchOptions(5)).results for place in (tmp_path / "parts", index))
    assert [hit.name for hit in a] == [hit.name for hit in b]
    np.testing.assert_allclose([hit.distance for hit in a], [hit.distance for hit in b], rtol=1e-9)


def test_another_model_is_refused(index: Path, folder: Path, tmp_path: Path) -> None:
    other = small.write_onnx(tmp_path / "other.onnx", metadata='{"k": 2}')
    for query in (folder / "4.npy", tmp_path / "new.npy"):
        np.save(tmp_path / "new.npy", np.load(folder / "4.npy"))
        with pytest.raises(InputError, match=r"was made by another model than .*other\.onnx"):
            search(query, index, model=other)


def test_a_model_named_in_the_embeddings_is_not_opened(
    index: Path, model: Path, folder: Path, tmp_path: Path, clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the right file, which lies where it was, nor another that a file from elsewhere could name."""
    np.save(tmp_path / "new.npy", clouds(1, 40, 77)[0])
    assert load(index).about.model == str(model)
    embed(model, [folder], out=tmp_path / "parts", sampling=Sampling(16), parts=PartOptions(form="npz"))
    opened: list[object] = []

    def spy(path: object, *arguments: object, **options: object) -> object:
        opened.append(path)
        return load_encoder(path, *arguments, **options)

    monkeypatch.setattr("crosspoint.runtime.jobs.search.load_encoder", spy)
    for place in (index, tmp_path / "parts"):
        with pytest.raises(
            InputError, match=r"was not made by a released model, but by .*model\.onnx.*give it with --model"
        ):
            search(tmp_path / "new.npy", place)
    assert opened == []
    assert len(search(tmp_path / "new.npy", index, model=model).results) == 5
    assert opened == [model]


def test_a_released_model_is_found_by_its_hash(folder: Path, tmp_path: Path, clouds: Clouds) -> None:
    embed("pointnet", [folder], out=tmp_path / "index.npz", sampling=Sampling(16))
    np.save(tmp_path / "new.npy", np.load(folder / "4.npy"))
    (hit,) = search(tmp_path / "new.npy", tmp_path / "index.npz", options=SearchOptions(1)).results
    assert hit.name in load(tmp_path / "index.npz").names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "sub/33.npy"}, r"neither a file nor a name in .*; similar names: sub/3\.npy"),
        ({"options": SearchOptions(0)}, "--k is 0"),
        ({"options": SearchOptions(metric="manhattan")}, "unknown metric 'manhattan'; give cosine or euclidean"),
        ({"out": "picture.doc"}, r"picture\.doc has an unknown suffix"),
        ({"index": "nothing.npz"}, r"nothing\.npz does not exist"),
        ({"index": "clouds"}, r"clouds holds no job\.json"),
        ({"query": "many.npy"}, "holds 2 clouds; give a file with one"),
    ],
)
def test_what_cannot_be_searched(index: Path, tmp_path: Path, clouds: Clouds, change: dict, message: str) -> None:
    np.save(tmp_path / "many.npy", clouds(2, 20))
    arguments = {"query": "4.npy", "index": "index.npz", **change}
    if arguments["query"] == "many.npy":
        arguments["query"] = str(tmp_path / "many.npy")
    arguments["index"] = tmp_path / arguments["index"]
    with pytest.raises(InputError, match=message):
        search(**arguments)


def test_the_picture_shows_every_neighbour(index: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    search("4.npy", index, options=SearchOptions(5), out=tmp_path / "five.png")
    search("4.npy", index, options=SearchOptions(8), out=tmp_path / "eight.png")
    with image.open(tmp_path / "five.png") as five, image.open(tmp_path / "eight.png") as eight:
        assert eight.width == five.width
        assert eight.height > 1.8 * five.height
        step = (five.width - 12) // 6
        pixels = np.asarray(five.convert("RGB"))
    for i in range(6):  # something is drawn in each tile
        tile = pixels[12:232, 12 + i * step : 232 + i * step]
        assert 0.005 < (tile.min(axis=2) < 250).mean() < 0.9


def test_the_picture_leaves_empty_what_is_gone(index: Path, folder: Path, tmp_path: Path) -> None:
    for path in folder.rglob("*.npy"):
        path.unlink()
    assert search("4.npy", index, out=tmp_path / "picture.png").results
    assert (tmp_path / "picture.png").is_file()


def test_the_command(index: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crosspoint", "search", "4.npy", "--in", index, "--json", tmp_path / "out.json"]
    done = subprocess.run([*map(str, command), "--k", "2"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "out.json").read_text())
    assert (result["schema"], len(result["results"])) == ("crosspoint.search/1", 2)
    assert list(result) == [
        "schema",
        "query",
        "index",
        "metric",
        "model_sha256",
        "size",
        "results",
        "out",
        "index_frame",
    ]
    assert list(result["results"][0]) == ["rank", "name", "distance"]
    assert result["results"][0]["name"] in done.stdout


def test_the_query_is_the_encoders_own_embedding(index: Path, model: Path, tmp_path: Path, clouds: Clouds) -> None:
    from crosspoint.data.points import normalise

    np.save(tmp_path / "new.npy", clouds(1, 16, 50)[0])
    with load_encoder(model) as encoder:
        a = encoder.embed(normalise(clouds(1, 16, 50)))[0].astype(np.float64)
    found = load(index)
    far = [float(np.sqrt(((a - b) ** 2).sum())) for b in found.vectors.astype(np.float64)]
    hit = search(tmp_path / "new.npy", index, options=SearchOptions(1, "euclidean"), model=model).results[0]
    assert hit.name == found.names[int(np.argmin(far))]
    assert hit.distance == pytest.approx(min(far), abs=1e-5)


def exact(a: np.ndarray, b: np.ndarray, metric: str) -> Fraction | float:
    """In rational numbers: of float32 vectors, without any rounding but the last."""
    pairs = [(Fraction(float(x)), Fraction(float(y))) for x, y in zip(a, b, strict=True)]
    if metric == "euclidean":
        return float(sum((x - y) ** 2 for x, y in pairs)) ** 0.5
    dot, one, two = (
        float(sum(f(x, y) for x, y in pairs)) for f in (lambda x, y: x * y, lambda x, y: x * x, lambda x, y: y * y)
    )
    # 1 - dot / sqrt(one two) = (one two - dot²) / (sqrt(one two) (sqrt(one two) + dot)), with an exact numerator
    numerator = sum(x * x for x, _ in pairs) * sum(y * y for _, y in pairs) - sum(x * y for x, y in pairs) ** 2
    root = (one * two) ** 0.5
    return float(numerator) / (root * (root + dot))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("step", [1e-6, 1e-3, 1.0])
def test_near_distances_keep_their_digits(metric: str, step: float) -> None:
    """Far from the origin, where sums of squares cancel."""
    rng = np.random.default_rng(3)
    a = (100 + rng.standard_normal(64)).astype(np.float32)
    rows = (a + step * 100 * rng.standard_normal((5, 64))).astype(np.float32)
    wanted = [exact(a, row, metric) for row in rows]
    np.testing.assert_allclose(distances(a, rows, metric=metric), wanted, rtol=1e-9)


def test_a_zero_vector_has_no_direction() -> None:
    rows = np.array([[0, 0], [1, 0], [-2, 0], [0, 3]], np.float32)
    np.testing.assert_array_equal(distances(rows[0], rows, metric="cosine"), np.ones(4))
    np.testing.assert_allclose(distances(rows[1], rows, metric="cosine"), [1, 0, 2, 1], atol=1e-15)


def written(path: Path, vectors: np.ndarray, names: list[str]) -> Path:
    about = FileAbout("m", None, at_most=False, seed=0, base="/nowhere")
    save(path, Embeddings(vectors.astype(np.float32), names, "0" * 64, about))
    return path


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_distances_come_by_name(tmp_path: Path, metric: str) -> None:
    """More equals than are asked for, in any order: the first names, always."""
    names = [f"{i:04d}" for i in np.random.default_rng(0).permutation(9000)]
    vectors = np.tile([[3.0, 4.0]], (9000, 1))
    vectors[names.index("0007")] = [1, -1]
    index = written(tmp_path / "a.npz", vectors, names)
    found = search("0003", index, options=SearchOptions(6, metric)).results
    assert [hit.name for hit in found] == ["0000", "0001", "0002", "0004", "0005", "0006"]
    assert {hit.distance for hit in found} == {0.0}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "0"},
        {"seed": -1},
        {"draws": 0},
        {"draws": 10**9},
        {"draws": "2"},
        {"points": [1]},
        {"points": 0},
        {"points": 10**12},
        {"base": None},
        {"model": 5},
        {"at_most": None},
        {"columns": 5},
    ],
)
def test_what_embeddings_say_of_themselves_is_checked(tmp_path: Path, change: dict) -> None:
    path = written(tmp_path / "a.npz", np.eye(2), ["a", "b"])
    one = load(path)
    save(path, Embeddings(one.vectors, one.names, one.model_sha256, replace(one.about, **change)))
    with pytest.raises(InputError, match=r"a\.npz: is damaged or not .*embeddings.* embed again"):
        search("a", path)


def test_names_lead_to_no_file_outside_their_folder(tmp_path: Path, clouds: Clouds) -> None:
    inside, outside = tmp_path / "in" / "a.npy", tmp_path / "b.npy"
    inside.parent.mkdir()
    for path in (inside, outside):
        np.save(path, clouds(1)[0])
    originals = Originals(inside.parent)
    assert originals.path("a.npy") == inside
    for name in ("../b.npy", str(outside), "x/../../b.npy", "nothing.npy", "a\0.npy", "n" * 5000):
        assert originals.path(name) is None


@pytest.fixture
def table(tmp_path: Path, clouds: Clouds) -> Path:
    """A folder of text whose coordinates stand in columns that the user has to name."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for i in range(3):
        rows = np.column_stack((np.full(40, 7.0), clouds(1, 40, i)[0]))
        np.savetxt(folder / f"{i}.csv", rows, delimiter=",", header="time,px,py,pz", comments="")
    return folder


@pytest.mark.parametrize("out", ["index.npz", "parts/"])
def test_embeddings_keep_the_columns_that_the_user_named(model: Path, table: Path, tmp_path: Path, out: str) -> None:
    form = PartOptions(form="npz") if out.endswith("/") else PartOptions()
    named = Reading("px,py,pz")
    embed(model, [table], out=f"{tmp_path}/{out}", sampling=Sampling(16), parts=form, reading=named)
    index = open_index(tmp_path / out)
    assert index.columns == "px,py,pz"
    found = originals_of(index).points(table / "1.csv")[0]
    np.testing.assert_allclose(found, np.loadtxt(table / "1.csv", delimiter=",", skiprows=1)[:, 1:], atol=1e-6)
    query = tmp_path / "query.csv"
    query.write_bytes((table / "2.csv").read_bytes())
    assert search(query, tmp_path / out, model=model).results[0].name == "2.csv"


def test_embeddings_of_earlier_versions_name_no_columns(index: Path) -> None:
    assert "columns" not in json.loads(str(np.load(index)["about"]))
    assert open_index(index).columns is None
