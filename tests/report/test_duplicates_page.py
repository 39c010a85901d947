import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.report import duplicates_page
from crosspoint.report.duplicates_page import write_page
from crosspoint.runtime.library.checks import Duplicate
from crosspoint.runtime.library.duplicates import DuplicateGroup, DuplicatesResult


def result_of(folder: Path, *groups: DuplicateGroup, unread: int = 0) -> DuplicatesResult:
    return DuplicatesResult(
        library=[str(folder)],
        base=str(folder),
        level="same",
        within=0.1,
        copy_within=0.002,
        same_within=0.05,
        model_sha256="0" * 64,
        draws=1,
        size=9,
        pairs=4,
        unchecked=0,
        groups=groups,
        skipped=(),
        out=None,
        seconds=1.0,
        unread=unread,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "things").mkdir()
    for name in ("a", "b"):
        np.save(tmp_path / "things" / f"{name}.npy", np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32))
    return tmp_path / "things"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.html"


PAIR = DuplicateGroup("a.npy", (Duplicate("b.npy", "copy", 0.0, 0.0), Duplicate("gone.npy", "same", 0.02, 0.011)))


def test_objects_of_a_group_stand_side_by_side_with_their_pictures(folder: Path, page: Path) -> None:
    write_page(result_of(folder, PAIR), page)
    text = page.read_text()
    (members,) = re.findall(r'<div class="members">.*?</figure>\s*</div>', text, re.DOTALL)
    assert re.findall(r'class="badge \w+">(\w+)</span>\s*<bdi title="[\w.]+">([\w.]+)', members) == [
        ("kept", "a.npy"),
        ("copy", "b.npy"),
        ("same", "gone.npy"),
    ]
    assert members.count("data:image/png") == 2
    assert members.count("no picture") == 1
    assert "distance 0.0200, surface 0.0110" in members


def test_the_page_needs_no_other_file(folder: Path, page: Path) -> None:
    write_page(result_of(folder, PAIR), page)
    text = page.read_text()
    assert set(re.findall(r'(?:src|href)="([a-z]+:)', text)) == {"data:"}
    assert "default-src 'none'" in text


def test_a_name_is_no_markup(folder: Path, page: Path) -> None:
    evil = "<script>alert(1)</script>.npy"
    write_page(result_of(folder, DuplicateGroup(evil, (Duplicate(evil, "copy", 0.0, 0.0),))), page)
    assert "<script>alert" not in page.read_text()


def test_a_name_cannot_turn_the_direction_of_writing(folder: Path, page: Path) -> None:
    turned = "\u202eylp.live"
    write_page(result_of(folder, DuplicateGroup(turned, (Duplicate(turned, "copy", 0.0, 0.0),))), page)
    assert "\u202e" not in page.read_text()


def test_a_name_leads_to_no_file_outside_the_folder(folder: Path, page: Path) -> None:
    np.save(folder.parent / "secret.npy", np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32))
    outside = DuplicateGroup("../secret.npy", (Duplicate(str(folder.parent / "secret.npy"), "copy", 0.0, 0.0),))
    write_page(result_of(folder, outside), page)
    assert "data:image/png" not in page.read_text()


def test_more_groups_and_objects_than_a_page_shows_are_counted(
    folder: Path, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates_page, "GROUPS", 2)
    monkeypatch.setattr(duplicates_page, "MEMBERS", 2)
    write_page(result_of(folder, PAIR, PAIR, PAIR), page)
    text = page.read_text()
    assert text.count('class="members"') == 2
    assert "1 more groups are in the CSV" in text
    assert "1 more are in the CSV" in text


def test_no_duplicates_and_objects_that_were_not_read_are_said(folder: Path, page: Path) -> None:
    write_page(result_of(folder, unread=3), page)
    text = page.read_text()
    assert "No duplicates were found." in text
    assert "3 objects could not be checked" in text


def test_a_page_of_someone_else_is_not_replaced(folder: Path, page: Path) -> None:
    page.write_text("<html>mine</html>")
    with pytest.raises(InputError, match="--page"):
        write_page(result_of(folder, PAIR), page)
    assert page.read_text() == "<html>mine</html>"


def test_a_page_has_the_suffix_of_a_page(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--page .*\.pdf has an unknown suffix; give a name that ends in \.html$"):
        write_page(result_of(folder), folder.parent / "page.pdf")


def test_text_is_drawn_by_the_columns_that_were_named(folder: Path, page: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4))
    np.savetxt(folder / "t.csv", rows, delimiter=",", header="time,east,north,height", comments="")
    group = DuplicateGroup("t.csv", (Duplicate("t.csv", "copy", 0.0, 0.0),))
    for columns, pictures in ((None, 0), ("east,north,height", 2)):
        write_page(replace(result_of(folder, group), columns=columns), page)
        assert page.read_text().count("data:image/png") == pictures
