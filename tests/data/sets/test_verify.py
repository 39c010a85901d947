import json
import os
import re

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.sets.pack import pack
from crosspoint.data.sets.verify import PUBLISHED, verify


def change(path, name, array):
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = array


def found(report):
    return {(row.set, row.part): (row.found, row.remark) for row in report.rows}


def only_problem(root):
    report = verify(root)
    assert len(report.problems) == 1, report.problems
    assert "\n" not in report.problems[0]
    return report.problems[0]


def test_whole_sets_have_no_problems(modelnet, parts, scanobjectnn, renders):
    report = verify(modelnet.parent)
    assert report.problems == []
    assert sorted(report.format.split(" + ")) == ["modelnet40", "scanobjectnn", "shapenetpart", "shapenetrender"]
    rows = found(report)
    assert rows[modelnet.name, "train"] == (
        "95 clouds of 64 points, 40 of 40 classes",
        "not the published count, 9,840",
    )
    assert rows[scanobjectnn.name, "test"][0] == "15 clouds of 64 points, 15 of 15 classes"
    assert rows[parts.name, "val"][0] == "16 clouds of 64 points, 16 of 16 classes, 16 of 50 parts"
    assert rows[renders.name, "pairs"][0] == "3 objects of 2 categories, 32 points, 1–3 views"
    assert rows[renders.name, "pictures"][0] == "6 of 12×12"


@pytest.mark.parametrize("row", [0, 255, 256, 300, 599])
def test_clouds_are_named_by_their_row_in_the_file(modelnet, row):
    """Also beyond the number that is read at once."""
    points = np.random.default_rng(0).standard_normal((600, 8, 3)).astype(np.float32)
    points[row, 3, 1] = np.nan
    path = modelnet / "ply_data_train0.h5"
    change(path, "data", points)
    change(path, "label", (np.arange(600) % 40).astype(np.uint8)[:, None])
    for other in modelnet.glob("ply_data_train[1-9].h5"):
        other.unlink()
    assert f"1 clouds have coordinates that are NaN or infinite: {row}" in "; ".join(verify(modelnet).problems)


def test_published_counts_are_said(modelnet, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "modelnet40", {"train": 95, "test": 2468})
    assert found(verify(modelnet))[modelnet.name, "train"][1] == "as published"


def test_absent_test_split_is_no_problem_for_classification(modelnet, parts):
    (modelnet / "ply_data_test0.h5").unlink()
    assert found(verify(modelnet))[modelnet.name, "test"] == ("absent", "hold out a part of train")
    assert verify(modelnet).problems == []
    (parts / "ply_data_test0.h5").unlink()
    assert only_problem(parts) == f"{parts}: has no test files"


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("data", np.zeros((50, 64, 4), np.float32), r"data is float32 \(50, 64, 4\)"),
        ("label", np.zeros((49, 1), np.uint8), r"label is uint8 \(49, 1\)"),
        ("label", np.full((50, 1), 77, np.uint8), "label has values from 77 to 77"),
        ("data", np.zeros((50, 64, 3), np.float32), r"50 clouds have all points equal: 0, 1, .* and 42 more"),
    ],
)
def test_wrong_arrays_are_listed(modelnet, name, array, message):
    path = modelnet / "ply_data_train0.h5"
    change(path, name, array)
    problem = only_problem(modelnet)
    assert problem.startswith(f"{path}: ")
    assert re.search(message, problem)


def test_single_bad_clouds_are_found(modelnet, parts):
    path = modelnet / "ply_data_train0.h5"
    with h5py.File(path, "r+") as file:
        file["data"][7, 3, 1] = np.nan
        file["data"][9, 0, 0] = np.inf
    assert only_problem(modelnet) == f"{path}: 2 clouds have coordinates that are NaN or infinite: 7, 9"
    path = parts / "ply_data_val0.h5"
    with h5py.File(path, "r+") as file:
        file["pid"][5, 60] = 0  # of an aeroplane, in an earphone
        file["pid"][6, 60] = 255
    assert only_problem(parts) == f"{path}: 2 clouds have parts of another category: 5, 6"


def test_damaged_and_missing_files_are_listed(modelnet):
    path = modelnet / "ply_data_train1.h5"
    whole = path.read_bytes()
    for content in (b"", whole[:-100], whole[: len(whole) // 2] + bytes(900) + whole[len(whole) // 2 + 900 :]):
        path.write_bytes(content)
        assert only_problem(modelnet).startswith(f"{path}: is damaged or not an HDF5 file")
    path.rename(modelnet / "ply_data_train3.h5")
    (modelnet / "ply_data_train3.h5").write_bytes(whole)
    assert verify(modelnet).problems == [
        f"{modelnet}: ply_data_train1.h5 to ply_data_train2.h5 are missing",
    ]


def test_files_that_differ_in_points(modelnet):
    change(modelnet / "ply_data_train1.h5", "data", np.random.default_rng(0).normal(size=(45, 32, 3)))
    assert only_problem(modelnet) == f"{modelnet}: train files differ in points per cloud: [32, 64]"


def test_a_damaged_taxonomy_is_listed(parts):
    (parts / "taxonomy.json").write_text("{")
    assert only_problem(parts).startswith(f"{parts / 'taxonomy.json'}: ")


def test_pairs_that_do_not_fit_are_listed(renders):
    (renders / "ShapeNet/02691156/a1.ply").rename(renders / "ShapeNet/02691156/a9.ply")
    (renders / "ShapeNet/02691156/b2.ply").write_bytes(b"ply\nrubbish")
    pictures = renders / "ShapeNetRendering/03001627/c3/rendering"
    (pictures / "00.png").write_bytes((pictures / "00.png").read_bytes()[:-60])
    (renders / "ShapeNetRendering/02691156/b2/rendering/01.png").write_bytes(b"")
    report = verify(renders)
    expected = [
        f"{renders / 'ShapeNet/02691156/a9'}.ply: has no renderings",
        f"{renders / 'ShapeNetRendering/02691156/a1'}: has renderings but no cloud",
        f"{renders / 'ShapeNet/02691156/b2.ply'}: has no PLY header",
        f"{renders / 'ShapeNetRendering/02691156/b2/rendering/01.png'}: is damaged or not a PNG or JPEG picture",
        f"{pictures / '00.png'}: is damaged or not a PNG or JPEG picture",
    ]
    assert len(report.problems) == len(expected)
    for problem, start in zip(report.problems, expected, strict=True):
        assert problem.startswith(start)


def test_objects_without_pictures_are_listed(renders):
    picture = renders / "ShapeNetRendering/03001627/c3/rendering/00.png"
    picture.unlink()
    assert only_problem(renders) == f"{renders / 'ShapeNetRendering/03001627/c3'}: has no pictures"


def test_packed_folders(renders, tmp_path):
    pack(renders, tmp_path / "pack")
    assert verify(tmp_path / "pack").problems == []
    shard = next((tmp_path / "pack").glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert "SHA-256" in only_problem(tmp_path / "pack")


def test_no_set_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no data set found"):
        verify(tmp_path)
    with pytest.raises(InputError, match="cannot be listed"):
        verify(tmp_path / "nowhere")


def test_command(modelnet, tmp_path):
    arguments = ["data", "verify", str(modelnet), "--json", str(tmp_path / "result.json")]
    outcome = CliRunner().invoke(crosspoint, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "95 clouds of 64 points" in outcome.output
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["schema"] == "crosspoint.data-verify/1"
    assert result["format"] == "modelnet40"
    assert result["problems"] == []
    (modelnet / "ply_data_train0.h5").write_bytes(b"")
    outcome = CliRunner().invoke(crosspoint, arguments)
    assert isinstance(outcome.exception, CheckFailed)
    assert "wrong: " in outcome.output
    assert len(json.loads((tmp_path / "result.json").read_text())["problems"]) == 1


def test_a_number_in_a_name_costs_no_memory(modelnet):
    (modelnet / "ply_data_train1.h5").rename(modelnet / f"ply_data_train{10**18}.h5")
    assert verify(modelnet).problems == [
        f"{modelnet}: ply_data_train1.h5 to ply_data_train{10**18 - 1}.h5 are missing",
    ]


def test_what_is_no_file_is_listed(renders, modelnet):
    os.mkfifo(renders / "ShapeNetRendering/02691156/b2/rendering/09.png")
    (renders / "ShapeNet/02691156/a1.ply").unlink()
    (renders / "ShapeNet/02691156/a1.ply").symlink_to("/dev/zero")
    (modelnet / "ply_data_train1.h5").unlink()
    os.mkfifo(modelnet / "ply_data_train1.h5")
    for folder, count in ((renders, 2), (modelnet, 1)):
        problems = verify(folder).problems
        assert len(problems) == count
        assert all("is a pipe, a socket or a device" in problem for problem in problems)


def test_the_variant_without_background_is_not_compared_with_the_published_set(scanobjectnn):
    scanobjectnn = scanobjectnn.rename(scanobjectnn.parent / "main_split_nobg")
    assert {row.remark for row in verify(scanobjectnn).rows} == {"without background: not the published set"}
