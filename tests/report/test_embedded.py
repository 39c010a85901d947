"""Embeddings of every form that `crosspoint embed` writes, each shown whole."""

import sys

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.report import embedded
from crosspoint.report.embedded import classes_of, find_embeddings, read_embedded
from crosspoint.report.page import report
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.parts import PartOptions
from crosspoint.runtime.options import Sampling

FORMS = ("all.npz", "all.parquet", "all.npy", "parts of npz", "parts of parquet")
CLOUDS = 60


@pytest.fixture(scope="module")
def forms(tmp_path_factory, pointnet, writers):
    """A folder for each form, with the embeddings of the same clouds; a part has 5 of them."""
    pytest.importorskip("pyarrow")
    root = tmp_path_factory.mktemp("forms")
    data = writers["modelnet40"](root / "set")
    for form in FORMS:
        (root / form).mkdir()
        if form.startswith("parts"):
            embed(
                pointnet,
                [data],
                out=root / form / "embeddings",
                sampling=Sampling(32),
                parts=PartOptions(size=5, form=form.split()[-1]),
            )
        else:
            embed(pointnet, [data], out=root / form / form, sampling=Sampling(32))
    return root


def found_in(folder):
    places = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    (path,) = find_embeddings(places)
    return read_embedded(path)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_whole(forms, form):
    found, whole = found_in(forms / form), found_in(forms / "all.npz")
    assert found.total == len(found.values) == CLOUDS
    np.testing.assert_array_equal(found.values, whole.values)
    named = form != "all.npy"  # which holds the numbers alone
    assert (found.names, found.sha256) == ((whole.names, whole.sha256) if named else (None, None))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_its_dots_on_the_page(forms, form, tmp_path):
    result = report(forms / form, tmp_path / "page.html")
    assert result.remarks == []
    assert "Map of the embeddings" in result.sections
    page = (tmp_path / "page.html").read_text()
    assert page.count("<circle ") == CLOUDS
    assert f"t-SNE of {CLOUDS} embeddings in {'embeddings' if form.startswith('parts') else form};" in page


def test_a_folder_of_parts_can_be_the_report_s_own(forms, tmp_path):
    result = report(forms / "parts of npz" / "embeddings", tmp_path / "page.html")
    assert "Map of the embeddings" in result.sections
    assert result.remarks == []


@pytest.mark.parametrize("form", FORMS)
def test_of_very_many_the_same_are_kept_from_first_to_last(forms, form, monkeypatch):
    whole = found_in(forms / "all.npz")
    monkeypatch.setattr(embedded, "MOST", 10)
    found = found_in(forms / form)
    rows = [int(np.flatnonzero((whole.values == row).all(axis=1))[0]) for row in found.values]
    assert found.total == CLOUDS
    assert len(set(rows)) == 10
    assert rows == sorted(rows)
    assert rows[-1] >= 5, "not the first part alone"
    assert found.names is None or found.names == [whole.names[row] for row in rows]


def test_a_job_that_is_not_finished_is_left_out_with_a_remark(forms, pointnet, tmp_path):
    embed(
        pointnet,
        [forms / "set" / "modelnet40_ply_hdf5_2048"],
        out=tmp_path / "job",
        sampling=Sampling(32),
        parts=PartOptions(size=5, form="npz"),
    )
    sorted((tmp_path / "job").glob("part-*"))[-1].unlink()
    with pytest.raises(InputError, match="is not finished: 1 of 12 parts"):
        found_in(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2}\n')
    result = report(tmp_path)
    assert "Map of the embeddings" not in result.sections
    (remark,) = result.remarks
    assert remark.startswith("job is not finished: 1 of 12 parts")


@pytest.mark.parametrize("array", [np.ones((50, 3), np.float32), np.ones((50, 64)), np.ones(50, np.float32)])
def test_arrays_of_something_else_are_passed_over(tmp_path, array):
    np.save(tmp_path / "cloud.npy", array)
    np.savez(tmp_path / "arrays.npz", array=array)
    assert [read_embedded(path) for path in find_embeddings([tmp_path])] == [None, None]


def test_vectors_that_are_not_finite_are_refused(tmp_path):
    np.save(tmp_path / "e.npy", np.full((8, 64), np.inf, np.float32))
    with pytest.raises(InputError, match="not all of its numbers are finite"):
        read_embedded(tmp_path / "e.npy")


def test_without_pyarrow_the_parquet_file_is_left_out_with_a_remark(forms, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2}\n')
    (tmp_path / "e.parquet").write_bytes((forms / "all.parquet" / "all.parquet").read_bytes())
    (remark,) = report(tmp_path).remarks
    assert "needs the package pyarrow" in remark


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cup/a.off", "set/hat/b.off"], ["cup", "hat"]),
        (["a.off", "b.off"], None),
        (["x/a.off", "x/b.off"], None),
        (["train/000000", "cup/a.off"], None),
        (["train/000000"], None),
    ],
)
def test_classes_by_name(names, expected):
    assert classes_of(names, None) == expected
