import numpy as np
import pytest

from crosspoint.data.shapes import CATEGORIES, FIRST, variation
from crosspoint.data.shapes.make_shapes import Item, categories_of, draw
from crosspoint.data.shapes.variation import CLUTTER, CLUTTERED, varied

SEEDS = range(16)
MORE = [name for name in CATEGORIES if name not in FIRST]
MODELNET = (
    "airplane bathtub bed bench bookshelf bottle bowl car chair cone cup curtain desk door dresser flower_pot "
    "glass_box "
    "guitar keyboard lamp laptop mantel monitor night_stand person piano plant radio range_hood sink sofa stairs stool "
    "table tent toilet tv_stand vase wardrobe xbox"
)


def is_closed(faces: np.ndarray) -> bool:
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forwards = sorted(map(tuple, edges.tolist()))
    return forwards == sorted((b, a) for a, b in forwards)


def objects(name: str) -> list:
    return [categories_of(2)[name](np.random.default_rng(seed)) for seed in SEEDS]


def test_every_name_of_modelnet40_is_in_the_second_edition() -> None:
    assert set(MODELNET.split()) <= set(categories_of(2))
    assert len(MORE) >= 20


def test_the_first_edition_is_as_the_categories_draw() -> None:
    assert tuple(categories_of(1)) == FIRST
    item = Item("chair", "train", 3)
    np.testing.assert_array_equal(draw(item, 0).faces, draw(item._replace(edition=1), 0).faces)
    assert categories_of(1)["chair"] is CATEGORIES["chair"]


@pytest.mark.parametrize("name", CATEGORIES)
def test_varied_objects_are_closed_and_stand_at_unit_size(name: str) -> None:
    for shape in objects(name)[:6]:
        assert is_closed(shape.faces)
        low, high = shape.vertices.min(axis=0), shape.vertices.max(axis=0)
        assert (high - low).max() == pytest.approx(1)
        assert low[1] == pytest.approx(0, abs=1e-12)


def test_varied_objects_differ_from_the_plain_ones() -> None:
    for seed, shape in zip(SEEDS, objects("chair"), strict=True):
        plain = CATEGORIES["chair"](np.random.default_rng(seed))
        size, own = (np.ptp(each.vertices, axis=0) for each in (plain, shape))
        assert np.abs(size / size.max() - own / own.max()).max() > 1e-3


@pytest.mark.parametrize("name", CLUTTERED)
def test_things_stand_on_some_of_the_furniture(name: str) -> None:
    with_things = 0
    for shape in objects(name):
        label = shape.part_names.index(CLUTTER)
        with_things += label in shape.face_parts
    assert 0 < with_things < len(SEEDS)


def test_things_stand_at_the_height_of_a_top(monkeypatch: pytest.MonkeyPatch) -> None:
    for change in ("_lose_a_part", "_change_proportions", "_dent"):
        monkeypatch.setattr(variation, change, lambda rng, build: None)
    table = varied(CATEGORIES["table"], clutter=True)
    found = 0
    for seed in SEEDS:
        shape = table(np.random.default_rng(seed))
        things = shape.vertices[np.unique(shape.faces[shape.face_parts == shape.part_names.index(CLUTTER)])]
        top = shape.vertices[np.unique(shape.faces[shape.face_parts == shape.part_names.index("top")])]
        if len(things):
            found += 1
            assert things[:, 1].min() == pytest.approx(top[:, 1].max(), abs=1e-9)
            assert (top.min(axis=0)[[0, 2]] - 0.15 < things.min(axis=0)[[0, 2]]).all()
            assert (top.max(axis=0)[[0, 2]] + 0.15 > things.max(axis=0)[[0, 2]]).all()
    assert found


def test_half_of_the_guitars_lie() -> None:
    tall = [np.ptp(shape.vertices[:, 1]) for shape in objects("guitar")]
    assert 0.2 < np.mean(np.array(tall) < 0.5) < 0.8


def test_a_part_of_many_solids_loses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for change in ("_change_proportions", "_dent"):
        monkeypatch.setattr(variation, change, lambda rng, build: None)
    name = "ladder"
    lost = [
        len(varied(CATEGORIES[name], clutter=False)(np.random.default_rng(seed)).faces)
        - len(CATEGORIES[name](np.random.default_rng(seed)).faces)
        for seed in range(40)
    ]
    assert max(lost) == 0
    assert 0.05 < np.mean(np.array(lost) < 0) < 0.45


def test_an_object_follows_from_its_generator() -> None:
    one, other = (categories_of(2)["desk"](np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(one.vertices, other.vertices)
