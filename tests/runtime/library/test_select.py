import csv
from pathlib import Path

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import TABLES
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, save
from crosspoint.runtime.library.select import COLUMNS, SelectResult, k_centre, select


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(1 - a @ b / np.sqrt((a @ a) * (b @ b)))


def by_loop(vectors: np.ndarray, keep: int) -> list[int]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = [int(np.argmax(unit @ unit.mean(axis=0)))]
    while len(chosen) < keep:
        gaps = [-1 if i in chosen else min(cosine(unit[i], unit[j]) for j in chosen) for i in range(len(unit))]
        chosen.append(int(np.argmax(gaps)))
    return chosen


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(40, 6))


@pytest.fixture
def file(tmp_path: Path, vectors: np.ndarray) -> Path:
    about = FileAbout("m", None, at_most=False, seed=0, base="/nowhere")
    names = [f"{i:02d}.npy" for i in range(40)]
    save(tmp_path / "e.npz", Embeddings(vectors.astype(np.float32), names, "0" * 64, about))
    return tmp_path / "e.npz"


def test_each_is_the_farthest_from_those_before_it(vectors: np.ndarray) -> None:
    chosen, distances, nearest, radius = k_centre(vectors.astype(np.float32), 12)
    assert chosen == by_loop(vectors, 12)
    for rank in range(1, 12):
        far = min(cosine(vectors[chosen[rank]], vectors[item]) for item in chosen[:rank])
        assert distances[rank] == pytest.approx(far, abs=1e-5)
    table = np.array([[cosine(one, vectors[item]) for item in chosen] for one in vectors])
    np.testing.assert_array_equal(nearest, table.argmin(axis=1))
    assert radius == pytest.approx(table.min(axis=1).max(), abs=1e-5)


def test_equal_objects_are_each_chosen_once() -> None:
    chosen, _, _, radius = k_centre(np.ones((4, 3), np.float32), 9)
    assert sorted(chosen) == [0, 1, 2, 3]
    assert radius == 0


def test_a_choice_begins_with_every_smaller_one(file: Path) -> None:
    many = select(file, 20).selected
    assert [one.name for one in select(file, 5).selected] == [one.name for one in many[:5]]


def test_every_object_is_covered_once_and_the_csv_says_what_the_result_does(file: Path, tmp_path: Path) -> None:
    result = select(file, 5, out=tmp_path / "s.csv")
    assert sum(one.covers for one in result.selected) == result.size == 40
    with (tmp_path / "s.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [(row["rank"], row["name"], row["covers"]) for row in rows] == [
        (str(one.rank), one.name, str(one.covers)) for one in result.selected
    ]
    assert SelectResult.from_json(result.to_json()) == result
    select(file, 5, out=tmp_path / "s.csv")  # its own file is replaced
    assert ",".join(COLUMNS).encode() in TABLES


def test_a_file_of_someone_else_is_not_replaced(file: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("name,price\nchair,3\n")
    with pytest.raises(InputError, match=r"exists and is not a \.csv file that crosspoint wrote"):
        select(file, 5, out=tmp_path / "notes.csv")


def test_nothing_to_keep_is_one_line(file: Path) -> None:
    with pytest.raises(InputError, match="--keep is 0; give 1 or more"):
        select(file, 0)
