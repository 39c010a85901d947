from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from crosspoint.data.shapes import CATEGORIES
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.library import checks, surface
from crosspoint.runtime.library.checks import Checks
from crosspoint.runtime.library.objects import Objects
from crosspoint.runtime.library.pairs import NearPairs


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A chair, two copies, two turned ones, and a table."""
    monkeypatch.setattr(surface, "SAMPLES", 1024)
    monkeypatch.setattr(surface, "PROBES", 64)
    chair, table = (CATEGORIES[name](np.random.default_rng(1)) for name in ("chair", "table"))
    turns = [Rotation.from_euler("y", angle, degrees=True).as_matrix() for angle in (50, 130)]
    made = {
        "chair": chair.vertices,
        "large": 10 * chair.vertices,
        "small": 0.1 * chair.vertices,
        **{f"turned-{i}": chair.vertices @ turn.T for i, turn in enumerate(turns)},
        "table": table.vertices,
    }
    for name, vertices in made.items():
        faces = table.faces if name == "table" else chair.faces
        trimesh.Trimesh(vertices, faces, process=False).export(tmp_path / f"{name}.ply")
    return [f"{name}.ply" for name in made]


def links(folder: Path, names: list[str], level: str) -> dict[tuple[str, str], str]:
    first, second = np.triu_indices(len(names), 1)
    every = NearPairs(first, second, np.full(len(first), 0.5))
    found = Checks(names, Objects(Originals(folder)), level=level, similar=None)
    order = np.arange(len(names))[::-1]
    linked = found.links(every, order=order).items()
    return {(names[i], names[j]): each.level for (i, j), each in linked}


def test_pairs_have_the_level_of_their_surfaces(tmp_path: Path, names: list[str]) -> None:
    copies, turned = names[:3], names[3:5]
    found = links(tmp_path, names, "same")
    expected = {(a, b): "copy" for i, a in enumerate(copies) for b in copies[i + 1 :]}
    expected |= {(a, b): "same" for a in copies for b in turned} | {(turned[0], turned[1]): "same"}
    assert found == expected
    assert links(tmp_path, names, "copy") == {pair: level for pair, level in expected.items() if level == "copy"}


def test_what_follows_from_other_pairs_is_not_registered_again(
    tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = []
    real = checks.register
    monkeypatch.setattr(checks, "register", lambda a, b, **limits: registered.append(1) or real(a, b, **limits))
    assert len(links(tmp_path, names, "same")) == 10
    assert len(registered) <= 5  # each turned chair onto one other, and the table onto one of them


def test_nothing_follows_from_pairs_that_are_too_far_apart() -> None:
    known = {"a": {"b": 0.001, "c": 0.03}, "b": {"a": 0.001, "d": 0.02}, "c": {"a": 0.03}, "d": {"b": 0.02}}
    assert checks._through(known, "b", "c") == pytest.approx(0.031)
    assert checks._through(known, "a", "d") == pytest.approx(0.021)
    assert checks._through(known, "c", "d") == np.inf
    assert checks._through(known, "x", "a") == np.inf
