"""Embeddings come back from every form of file as they were, for any names that file systems take."""

import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from crosspoint.data.points import normalise
from crosspoint.report.read import read_pieces
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, load, save
from crosspoint.runtime.jobs.parts import PartOptions, load_parts
from crosspoint.runtime.jobs.search import SearchOptions, search

pytest.importorskip("pyarrow")
pytest.importorskip("onnxruntime")
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
WEIGHT = np.array([[1, 0, 0, 2], [0, 1, 0, -1], [0, 0, 1, 0.5]], np.float32)  # (3, 4)


def usable(name):
    return not name.startswith(".") and 0 < len(os.fsencode(name)) < 100


def is_text(name):
    """Whether a path's bytes are UTF-8."""
    return name == name.encode("utf-8", "ignore").decode("utf-8")


# whatever a file may be called, also where its bytes are no UTF-8
FILE_NAMES = st.one_of(
    TEXTS.map(lambda name: name.replace("/", "∕")),
    st.binary(max_size=20).map(lambda name: os.fsdecode(name.replace(b"/", b"").replace(b"\0", b""))),
    st.sampled_from(["a b", " a ", "a\nb", "a\tb", "\x1b[31m", "#0", "a#1", "-x", "~", "%20", "a,b", "名前", "é", "é"]),
).filter(usable)


@st.composite
def embeddings(draw):
    names = draw(st.lists(TEXTS, max_size=5))
    vectors = draw(arrays.arrays(np.float32, (len(names), draw(st.integers(1, 9))), elements=FLOATS))
    about = draw(st.builds(FileAbout, TEXTS, st.none() | st.integers(), st.booleans(), st.integers(), TEXTS))
    return Embeddings(vectors, names, draw(st.text("0123456789abcdef", min_size=64, max_size=64)), about)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def model(folder):
    """`embedding = max over points of (points @ W)`."""
    nodes = [
        helper.make_node("MatMul", ["points", "weight"], ["mapped"]),
        helper.make_node("ReduceMax", ["mapped"], ["embedding"], axes=[1], keepdims=0),
    ]
    given_, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("points", ["batch", "points", 3]), ("embedding", ["batch", 4]))
    )
    graph = helper.make_graph(nodes, "small", [given_], [made], [numpy_helper.from_array(WEIGHT, "weight")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    return folder / "model.onnx"


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@given(made=embeddings())
def test_what_is_saved_is_loaded(folder, suffix, made):
    path = folder / f"one{suffix}"
    save(path, made)
    found = load(path)
    assert found.vectors.dtype == np.float32
    np.testing.assert_array_equal(found.vectors.view(np.uint32), made.vectors.view(np.uint32))
    assert (found.names, found.model_sha256, found.about) == (made.names, made.model_sha256, made.about)
    before = path.read_bytes()
    save(path, found)
    assert path.read_bytes() == before


@given(made=embeddings())
def test_vectors_alone_are_a_numpy_file(folder, made):
    save(folder / "one.npy", made)
    found = np.load(folder / "one.npy", allow_pickle=False)
    np.testing.assert_array_equal(found.view(np.uint32), made.vectors.view(np.uint32))


@given(made=embeddings())
def test_the_report_reads_what_was_saved(made):
    with tempfile.TemporaryDirectory() as place:
        save(Path(place, "embeddings.npz"), made)
        pieces = read_pieces(Path(place))
    assert pieces.remarks == []
    assert (pieces.embeddings.names, pieces.embeddings.sha256) == (made.names, made.model_sha256)
    np.testing.assert_array_equal(pieces.embeddings.values, made.vectors)


@given(
    names=st.lists(FILE_NAMES, min_size=1, max_size=6, unique=True),
    inside=st.none() | FILE_NAMES,
    sizes=st.lists(st.integers(1, 9), min_size=6, max_size=6),
    part=st.integers(1, 7),
    seed=st.integers(0, 2**32),
)
@example(
    names=[os.fsdecode(b"\xff"), os.fsdecode(b"\xfe"), "a"], inside=os.fsdecode(b"\xff"), sizes=[3] * 6, part=2, seed=0
)
def test_files_of_any_name_are_embedded_in_one_order_into_every_form(model, names, inside, sizes, part, seed):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        root, clouds = Path(place, "in"), {}
        for name, size in zip(names, sizes, strict=False):
            path = Path(root, *([inside] if inside else []), f"{name}.npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            clouds[path] = rng.standard_normal((size, 3)).astype(np.float32)
            np.save(path, clouds[path])
        expected = np.stack([(normalise(clouds[path]) @ WEIGHT).max(axis=0) for path in sorted(clouds)])
        forms = {"npz": "all.npz", "parquet": "all.parquet"}
        found = {}
        for form, out in forms.items():
            result = embed(model, [root], out=Path(place, out))
            assert (result.embedded, result.skipped) == (len(clouds), ())
            found[form] = [load(Path(place, out))]
            embed(model, [root], out=Path(place, f"parts-{form}"), parts=PartOptions(size=part, form=form))
            found[f"parts of {form}"] = [*load_parts(Path(place, f"parts-{form}"))]
        places = [path.relative_to(root).as_posix() for path in sorted(clouds)]
        for form, pieces in found.items():
            shown = [name for piece in pieces for name in piece.names]
            for name, own in zip(shown, places, strict=True):
                assert name == own or not is_text(own), form
                assert is_text(name), form
            vectors = np.concatenate([piece.vectors for piece in pieces])
            np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-6, err_msg=form)
            np.testing.assert_array_equal(vectors, found["npz"][0].vectors, err_msg=form)
            assert max(len(piece.names) for piece in pieces) <= (part if form.startswith("parts") else len(places))


@given(
    names=st.lists(TEXTS.filter(bool), min_size=1, max_size=8, unique=True),
    metric=st.sampled_from(["cosine", "euclidean"]),
    k=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_neighbours_found_are_those_of_a_sort(folder, names, metric, k, seed):
    vectors = np.random.default_rng(seed).standard_normal((len(names), 5)).astype(np.float32)
    about = FileAbout("m.onnx", None, at_most=False, seed=0, base=str(folder))
    save(folder / "index.npz", Embeddings(vectors, names, "0" * 64, about))
    result = search(names[0], folder / "index.npz", options=SearchOptions(k, metric))
    exact = vectors.astype(np.float64)
    if metric == "cosine":
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        far = 1 - exact @ exact[0]
    else:
        far = np.linalg.norm(exact - exact[0], axis=1)
    order = sorted(range(1, len(names)), key=lambda i: far[i])[:k]
    assert [row.name for row in result.results] == [names[i] for i in order]
    np.testing.assert_allclose([row.distance for row in result.results], far[order], atol=1e-9)
    assert (result.size, [row.rank for row in result.results]) == (len(names), [*range(1, len(order) + 1)])
