import csv
from pathlib import Path

import numpy as np
import pytest
import small_models as small
import trimesh

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import TABLES
from crosspoint.data.frames import to_y_up
from crosspoint.data.io.formats.ply import write_points
from crosspoint.data.shapes import CATEGORIES
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.library import surface
from crosspoint.runtime.library.duplicates import COLUMNS, DuplicatesOptions, DuplicatesResult, duplicates
from crosspoint.runtime.options import Reading, Sampling

FEW = Sampling(64)
EVERY = DuplicatesOptions(within=2.0)  # every pair is looked at: the small model's distances mean nothing
COPY = DuplicatesOptions("copy", 2.0)


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "SAMPLES", 1024)
    monkeypatch.setattr(surface, "PROBES", 64)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small.write_onnx(tmp_path / "model.onnx")


def write(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.Trimesh(vertices, faces, process=False).export(path)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A chair with copies and likenesses, and three other things."""
    root = tmp_path / "library"
    chair = CATEGORIES["chair"](np.random.default_rng(1))
    write(root / "chair.ply", chair.vertices, chair.faces)
    (root / "copies").mkdir()
    (root / "copies" / "again.ply").write_bytes((root / "chair.ply").read_bytes())
    write(root / "copies" / "mm.stl", 1000 * chair.vertices, chair.faces)
    write(root / "copies" / "divided.ply", *trimesh.remesh.subdivide(chair.vertices, chair.faces))
    write(root / "turned.ply", chair.turned(140).vertices, chair.faces)
    write(root / "mirrored.ply", chair.vertices * [1, 1, -1], chair.faces)
    for name in ("mug", "table", "guitar"):
        other = CATEGORIES[name](np.random.default_rng(1))
        write(root / f"{name}.ply", other.vertices, other.faces)
    return root


COPIES = {"chair.ply", "copies/again.ply", "copies/mm.stl", "copies/divided.ply"}


def names_of(result: DuplicatesResult) -> list[set[str]]:
    return [{each.kept, *(one.name for one in each.duplicates)} for each in result.groups]


def test_copies_are_found_in_any_unit_and_division_and_nothing_else(model: Path, library: Path) -> None:
    result = duplicates([library], COPY, model=model, sampling=FEW)
    assert names_of(result) == [COPIES]
    assert {one.level for one in result.groups[0].duplicates} == {"copy"}
    assert (result.size, result.unchecked) == (9, 0)


def test_the_same_shape_is_found_turned_and_mirrored(model: Path, library: Path) -> None:
    result = duplicates([library], EVERY, model=model, sampling=FEW)
    assert names_of(result) == [{*COPIES, "turned.ply", "mirrored.ply"}]
    assert {one.level for one in result.groups[0].duplicates} == {"copy", "same"}


def test_what_is_similar_is_told_by_the_embedding_alone(model: Path, library: Path) -> None:
    result = duplicates([library], DuplicatesOptions("similar", 2.0), model=model, sampling=FEW)
    assert len(names_of(result)[0]) == 9


def test_equal_content_is_at_distance_0(model: Path, library: Path) -> None:
    result = duplicates([library], DuplicatesOptions("copy", 0.0), model=model, sampling=FEW)
    assert names_of(result) == [{"chair.ply", "copies/again.ply"}]
    (one,) = result.groups[0].duplicates
    assert (one.distance, one.surface) == (0, 0)


def test_embeddings_give_what_their_folder_gives(model: Path, library: Path, tmp_path: Path) -> None:
    embed(model, [library], out=tmp_path / "e.npz", sampling=FEW)
    assert (
        duplicates([tmp_path / "e.npz"], EVERY).groups == duplicates([library], EVERY, model=model, sampling=FEW).groups
    )


def test_options_of_points_are_refused_for_embeddings(model: Path, library: Path, tmp_path: Path) -> None:
    embed(model, [library], out=tmp_path / "e.npz", sampling=FEW)
    with pytest.raises(InputError, match=r"--points, .*--up, .*--exclude are for folders"):
        duplicates([tmp_path / "e.npz"], EVERY, sampling=FEW)


def test_what_cannot_be_looked_at_is_no_copy_and_is_counted(model: Path, library: Path, tmp_path: Path) -> None:
    embed(model, [library], out=tmp_path / "e.npz", sampling=FEW)
    library.rename(tmp_path / "moved")
    result = duplicates([tmp_path / "e.npz"], EVERY)
    assert (result.groups, result.unchecked, result.unread) == ((), result.pairs, result.size)
    found = duplicates([tmp_path / "e.npz"], EVERY, files=tmp_path / "moved")
    assert names_of(found) == [{*COPIES, "turned.ply", "mirrored.ply"}]


def test_clouds_of_one_file_are_compared_one_by_one(model: Path, tmp_path: Path) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 80, 3)).astype(np.float32)
    (tmp_path / "clouds").mkdir()
    np.save(tmp_path / "clouds" / "many.npy", np.stack([a, b, a]))
    np.save(tmp_path / "clouds" / "one.npy", 10 * b[::-1])
    result = duplicates([tmp_path / "clouds"], COPY, model=model, sampling=FEW)
    assert names_of(result) == [{"many.npy#0", "many.npy#2"}, {"many.npy#1", "one.npy"}]


def test_the_csv_holds_the_groups_the_kept_one_first(model: Path, library: Path, tmp_path: Path) -> None:
    for _ in range(2):  # its own file is replaced
        result = duplicates([library], EVERY, model=model, out=tmp_path / "groups.csv", sampling=FEW)
    with (tmp_path / "groups.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    (each,) = result.groups
    assert [(row["group"], row["name"], row["level"]) for row in rows] == [
        ("1", each.kept, "kept"),
        *(("1", one.name, one.level) for one in each.duplicates),
    ]
    assert ",".join(COLUMNS).encode() in TABLES
    assert DuplicatesResult.from_json(result.to_json()) == result


def test_what_cannot_be_read_is_skipped_and_listed(model: Path, library: Path) -> None:
    (library / "bad.ply").write_bytes(b"rubbish")
    assert [bad.file for bad in duplicates([library], EVERY, model=model, sampling=FEW).skipped] == ["bad.ply"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "equal"}, "unknown level 'equal'; known are copy, same, similar"),
        ({"within": -1.0}, "--within is -1.0; give a cosine distance"),
        ({"within": float("nan")}, "--within is nan; give a cosine distance"),
        ({"level": "similar", "within": None}, "there are no limits of distance for .*; give --within DISTANCE"),
        ({"library": []}, "no inputs were given"),
        ({"library": ["nowhere"]}, "nowhere"),
        ({"library": ["nowhere.npz"]}, r"nowhere\.npz does not exist"),
        ({"library": ["a.npz", "b.npz"]}, "embeddings were given with other inputs"),
    ],
)
def test_mistakes_are_one_line(model: Path, library: Path, options: dict[str, object], message: str) -> None:
    given = {"library": [library], "model": model, "sampling": FEW, "level": "same", "within": 2.0, **options}
    with pytest.raises(InputError, match=message) as found:
        duplicates(given.pop("library"), DuplicatesOptions(given.pop("level"), given.pop("within")), **given)
    assert "\n" not in str(found.value)


def test_objects_are_compared_as_they_stand_in_their_own_formats(model: Path, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    (tmp_path / "clouds").mkdir()
    write_points(tmp_path / "clouds" / "y.ply", to_y_up(points, "z"))
    np.pad(points, [(0, 0), (0, 1)]).astype("<f4").tofile(tmp_path / "clouds" / "z.bin")
    result = duplicates([tmp_path / "clouds"], COPY, model=model, sampling=FEW)
    assert names_of(result) == [{"y.ply", "z.bin"}]


def test_a_tipped_copy_is_the_same_without_limits_of_the_model(model: Path, library: Path) -> None:
    chair = CATEGORIES["chair"](np.random.default_rng(1))
    write(library / "tipped.ply", to_y_up(chair.vertices, "z"), chair.faces)
    result = duplicates([library], DuplicatesOptions("same"), model=model, sampling=FEW)
    assert names_of(result) == [{*COPIES, "turned.ply", "mirrored.ply", "tipped.ply"}]


def test_text_is_compared_by_the_columns_that_the_user_named(model: Path, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(80, 3))
    (tmp_path / "clouds").mkdir()
    for name, time in (("a", 1.0), ("b", 2.0)):
        rows = np.column_stack((np.full(80, time), points))
        np.savetxt(tmp_path / "clouds" / f"{name}.csv", rows, delimiter=",", header="t,px,py,pz", comments="")
    named = Reading("px,py,pz")
    result = duplicates([tmp_path / "clouds"], COPY, model=model, sampling=FEW, reading=named)
    assert (names_of(result), result.columns) == ([{"a.csv", "b.csv"}], "px,py,pz")


@pytest.mark.parametrize("name", ["groups.txt", "groups", "groups.CSV.gz"])
def test_a_table_has_the_suffix_of_a_table(model: Path, library: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"--out .* has an unknown suffix; give a name that ends in \.csv$"):
        duplicates([library], EVERY, model=model, out=tmp_path / name)
