"""Folders as people have them: scans beside poses, licences and files of other programs."""

import gzip
import json

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.files import find_files, read_points
from crosspoint.data.io.folders import Patterns, search_folder
from crosspoint.data.reading import Reading
from crosspoint.data.sources import find_sources, read_ahead

POINTS = np.round(np.random.default_rng(0).normal(size=(40, 3)), 3)
XYZ = "".join(f"{x} {y} {z}\n" for x, y, z in POINTS.tolist())
BESIDE = {
    "poses.txt": "1 0 0 0 0 1 0 0 0 0 1 0.5\n" * 9,
    "trajectory.txt": "".join(f"{1700000000 + i}.5 0 0 {i} 0 0 0 1\n" for i in range(9)),
    "calib.txt": "P0: 7.1e+02 0.0 6.1e+02\nTr: 1 0 0\n",
    "labels.csv": "id,label,split\n0,1,0\n1,2,1\n",
    "LICENSE.txt": "MIT License\n\nPermission is hereby granted, free of charge\n",
    "times.txt": "0.1\n0.2\n0.3\n",
    "files.txt": "a.ply\nb.ply\n",
    "README.md": "# Scans",
    "a.docx": "x",
    "Makefile": "all:",
}


@pytest.fixture
def folder(tmp_path):
    for name, content in {**BESIDE, "scan.txt": XYZ, "sub/more.csv": "x,y,z\n" + XYZ.replace(" ", ",")}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_texts_that_are_no_points_are_neither_clouds_nor_failures(folder, capfd):
    loaded = list(read_ahead(find_sources([folder], None, seed=0), 8))
    assert [row.source.name for row in loaded] == ["scan.txt", "sub/more.csv"]
    assert not any(isinstance(row.clouds, InputError) for row in loaded)
    line = capfd.readouterr().err.splitlines()[0]  # the axis that is assumed may be said after it
    assert line.startswith(f"{folder}: 10 files passed over: 6 .txt, ")
    assert sorted(line.partition(": 10 files passed over: ")[2].split(", ")) == sorted(
        ["6 .txt", "1 .csv", "1 .md", "1 .docx", "1 without a suffix"]
    )


@pytest.mark.parametrize("name", ["poses.txt", "trajectory.txt", "calib.txt", "labels.csv", "LICENSE.txt", "times.txt"])
def test_the_same_texts_are_refused_where_they_are_given(name, folder):
    with pytest.raises(InputError, match=rf"{name}: "):
        read_points(folder / name, None, seed=0)


def test_a_cloud_that_is_damaged_is_still_a_failure(folder):
    (folder / "scan.txt").write_text(XYZ + "0 0\n")
    (folder / "empty.txt").touch()
    bad = [
        row.source.name
        for row in read_ahead(find_sources([folder], None, seed=0), 8)
        if isinstance(row.clouds, InputError)
    ]
    assert bad == ["empty.txt", "scan.txt"]


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        (["*.csv"], [], ["sub/more.csv"]),
        ([], ["sub/*"], ["scan.txt"]),
        (["scan*", "sub/*"], ["*.txt"], ["sub/more.csv"]),
        (["*.csv", "*.txt"], [], ["scan.txt", "sub/more.csv"]),
    ],
)
def test_patterns_choose_files_by_name_and_by_path(include, exclude, names, folder):
    patterns = Patterns(tuple(include), tuple(exclude))
    assert [
        source.name
        for source in find_sources(
            [folder], None, seed=0, reading=Reading(include=patterns.include, exclude=patterns.exclude)
        )
    ] == names


def test_text_is_read_by_the_columns_that_the_user_names(tmp_path):
    (tmp_path / "scan.csv").write_text("a,b,c,d\n" + "".join(f"{i},{i},{i % 7},{i % 5}\n" for i in range(20)))
    (tmp_path / "labels.csv").write_text("name,label\nchair,3\n")
    (tmp_path / "whole.xyz").write_text(XYZ)
    for columns, names in (
        (None, ["whole.xyz"]),
        ("b,c,d", ["scan.csv", "whole.xyz"]),
        ("2,3,4", ["scan.csv", "whole.xyz"]),
    ):
        found = find_sources([tmp_path], None, seed=0, reading=Reading(columns=columns))
        assert [source.name for source in found] == names


def test_patterns_that_allow_nothing_are_an_error(folder):
    with pytest.raises(InputError, match="holds no file that can be read"):
        find_files([folder], Patterns(include=("*.ply",)))


def test_files_excluded_by_a_pattern_are_not_counted(folder):
    assert search_folder(folder, Patterns(exclude=("*.txt", "*.csv"))).summary().startswith("3 files passed over: ")
    (folder / "only").mkdir()
    (folder / "only/scan.xyz").write_text(XYZ)
    assert search_folder(folder / "only").summary() == ""


def test_the_buffer_of_a_gltf_is_no_scan(tmp_path):
    rows = np.ones((9, 4), "<f4").tobytes()
    for name in ("mesh.bin", "scan.bin", "broken.bin"):
        (tmp_path / name).write_bytes(rows)
    (tmp_path / "scene.gltf").write_text(json.dumps({"buffers": [{"uri": "mesh.bin", "byteLength": 144}]}))
    (tmp_path / "broken.gltf").write_text("{")
    found = search_folder(tmp_path)
    assert sorted(path.name for path in found.files) == ["broken.gltf", "scan.bin", "scene.gltf"]
    assert found.summary() == "2 files passed over: 2 .bin"


@pytest.mark.parametrize("suffix", ["xyz", "txt", "pts", "csv", "ply", "pcd", "off", "obj", "stl"])
def test_compressed_files_are_read_as_the_plain_ones(suffix, tmp_path):
    head = (
        "ply\nformat ascii 1.0\nelement vertex 40\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    content = {
        "ply": head + XYZ,
        "pcd": f"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 40\nHEIGHT 1\nPOINTS 40\nDATA ascii\n{XYZ}",
        "off": f"OFF\n40 1 0\n{XYZ}3 0 1 2\n",
        "obj": "".join(f"v {row}\n" for row in XYZ.splitlines()) + "f 1 2 3\n",
        "stl": f"solid a\n{facet}endsolid a\n",
        "csv": "x,y,z\n" + XYZ.replace(" ", ","),
    }.get(suffix, XYZ)
    (tmp_path / f"scan.{suffix}").write_text(content)
    (tmp_path / f"scan.{suffix}.gz").write_bytes(
        gzip.compress(content[:90].encode()) + gzip.compress(content[90:].encode())
    )
    plain, packed = find_files([tmp_path])
    found = [read_points(path, None, seed=0) for path in (plain, packed)]
    assert found[0].shape == found[1].shape
    if suffix not in ("off", "obj", "stl"):  # of which points are drawn by the file's name
        np.testing.assert_array_equal(*found)


def test_compressed_files_that_are_damaged_or_far_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("crosspoint.core.reading.SMALL", 10**6)
    packed = gzip.compress(XYZ.encode())
    for content, message in (
        (packed[:-20], "cut off|damaged"),
        (XYZ.encode(), "damaged"),
        (gzip.compress(b""), "is empty"),
        (b"", "is empty"),
        (gzip.compress(b"0 0 0\n" * 400_000), "inflates to more than 1 MB"),
    ):
        (tmp_path / "a.xyz.gz").write_bytes(content)
        with pytest.raises(InputError, match=rf"a\.xyz\.gz: .*({message})"):
            read_points(tmp_path / "a.xyz.gz", None, seed=0)
