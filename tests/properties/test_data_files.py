"""Clouds, pairs, packs, splits and taxonomies come back from their files as they were."""

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from crosspoint.commands.common import write_result
from crosspoint.data.io.clouds import read_clouds
from crosspoint.data.io.formats.ply import write_points
from crosspoint.data.points import normalise
from crosspoint.data.rendering.render import Settings, render
from crosspoint.data.sets.datasets import PairedRenders, load_classification, load_parts
from crosspoint.data.sets.pack import PackedRenders, pack
from crosspoint.data.sets.verify import verify
from crosspoint.data.shapes.make_shapes import ShapesSettings, categories_of, make_shapes, part_taxonomy

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
WORDS = TEXTS.filter(lambda word: word.split() == [word])
FILE_NAMES = st.one_of(
    TEXTS.map(lambda name: name.replace("/", "∕")),
    st.sampled_from(["a b", " a ", "a\nb", "a\tb", "\x1b[31m", "#0", "-x", "~", "%20", "a.ply", "名前", "é", "é"]),
).filter(lambda name: not name.startswith(".") and 0 < len(os.fsencode(name)) < 100)

# for examples that take seconds each; made smaller, they would take minutes
FEW = settings(max_examples=settings().max_examples // 10, phases=[Phase.generate])


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 50), st.just(3)), elements=FLOATS), FILE_NAMES)
def test_points_of_a_ply_file_come_back_bit_for_bit(points, name):
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, f"{name}.ply")
        write_points(path, points)
        found = read_clouds(path)
    np.testing.assert_array_equal(found.view(np.uint32), points[None].view(np.uint32))


@st.composite
def pairs(draw):
    """Objects by category and name: points `(N, 3)` and pictures `(V, H, W, 4)`."""
    keys = draw(st.lists(st.tuples(FILE_NAMES, FILE_NAMES), min_size=1, max_size=4, unique=True))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return {
        key: (
            rng.standard_normal((draw(st.integers(1, 30)), 3)).astype(np.float32),
            rng.integers(0, 256, (draw(st.integers(1, 3)), *size, 4), np.uint8),
        )
        for key in keys
    }


def write_pairs(root, objects):
    for (category, name), (points, pictures) in objects.items():
        write_points(root / "ShapeNet" / category / f"{name}.ply", points)
        folder = root / "ShapeNetRendering" / category / name / "rendering"
        folder.mkdir(parents=True)
        for view, rgba in enumerate(pictures):
            Image.fromarray(rgba).save(folder / f"{view:02d}.png")


@given(objects=pairs(), shard=st.sampled_from([1, 300, 10**4]))
def test_packed_objects_are_the_loose_ones(objects, shard):
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr("crosspoint.data.sets.pack.MEGABYTE", shard)  # so that a few objects fill a shard
        write_pairs(Path(place, "loose"), objects)
        result = pack(Path(place, "loose"), Path(place, "pack"), shard_mb=1)
        packed, loose = PackedRenders(Path(place, "pack")), PairedRenders(Path(place, "loose"))
        assert packed.verify() == []
        assert result.objects == len(objects)
        assert packed.keys == loose.keys == sorted("/".join(key) for key in objects)
        for i, key in enumerate(packed.keys):
            points, pictures = objects[tuple(key.split("/"))]
            for source in (packed, loose):
                np.testing.assert_array_equal(source.points(i), points)
                assert source.views(i) == len(pictures)
                for view, picture in enumerate(pictures):
                    np.testing.assert_array_equal(source.image(i, view), picture)


@given(objects=pairs(), lost=st.booleans())
def test_the_json_of_a_verification_is_the_report(objects, lost):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "set")
        write_pairs(root, objects)
        if lost:
            category, name = next(iter(objects))
            (root / "ShapeNet" / category / f"{name}.ply").unlink()
        report = verify(root)
        assert bool(report.problems) == lost
        write_result(Path(place, "a.json"), "data-verify", result=asdict(report))
        values = json.loads(Path(place, "a.json").read_text(encoding="utf-8"))
    assert (values["schema"], values["format"]) == ("crosspoint.data-verify/1", report.format)
    assert values["problems"] == report.problems
    assert [tuple(row.values()) for row in values["rows"]] == [
        (row.set, row.part, row.found, row.remark) for row in report.rows
    ]


@given(
    classes=st.lists(WORDS, min_size=1, max_size=5, unique=True),
    parts=st.lists(st.integers(1, 3), min_size=5, max_size=5),
    count=st.integers(1, 6),
    points=st.integers(1, 9),
    kinds=st.tuples(
        *(st.sampled_from(kinds) for kinds in (["f4", "f8", "f2"], ["u1", "i4", "i8"], ["u1", "i4", "i8"]))
    ),
    column=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_labelled_clouds_their_classes_and_parts_come_back(classes, parts, count, points, kinds, column, seed):
    rng = np.random.default_rng(seed)
    ends = np.cumsum([0, *parts[: len(classes)]])
    numbers = [[*range(a, b)] for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    data = rng.standard_normal((count, points, 3)).astype(kinds[0])
    label = rng.integers(0, len(classes), count).astype(kinds[1])
    pid = np.stack([rng.choice(numbers[c], points) for c in label.tolist()]).astype(kinds[2])
    taxonomy = {
        "categories": classes,
        "parts": [f"{name}/{i}" for name, own in zip(classes, numbers, strict=True) for i in range(len(own))],
        "category_parts": dict(zip(classes, numbers, strict=True)),
    }
    with tempfile.TemporaryDirectory() as place:
        for folder in (Path(place, "classes"), Path(place, "parts")):
            folder.mkdir()
            for split in ("train", "test"):
                with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
                    file["data"], file["label"] = data, label[:, None] if column else label
                    if folder.name == "parts":
                        file["pid"] = pid
        Path(place, "classes", "shape_names.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        Path(place, "parts", "taxonomy.json").write_text(json.dumps(taxonomy), encoding="utf-8")
        plain, parted = load_classification(Path(place, "classes"), None), load_parts(Path(place, "parts"), None)
    assert plain.class_names == parted.taxonomy.categories == tuple(classes)
    assert parted.taxonomy.parts == tuple(taxonomy["parts"])
    assert parted.taxonomy.category_parts == tuple(map(tuple, numbers))
    for clouds in (plain.train, plain.test, parted.train, parted.test):
        np.testing.assert_array_equal(clouds.points, data.astype(np.float32))
        np.testing.assert_array_equal(clouds.labels, label)
    np.testing.assert_array_equal(parted.test.parts, pid)


@settings(FEW)
@given(points=st.integers(2, 40), seed=st.integers(0, 2**31))
def test_made_shapes_are_read_as_they_were_made(points, seed):
    pytest.importorskip("embreex")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "shapes")
        made = make_shapes(root, ShapesSettings(1, seed, views=1, size=8, points=points), jobs=1)
        renders, taxonomy = PairedRenders(root), part_taxonomy(categories_of(1))
        plain, parted = load_classification(root, None), load_parts(root, None)
        assert verify(root).problems == []
        loose = {key: renders.points(i) for i, key in enumerate(renders.keys)}
        assert {renders.image(i, 0).shape for i in range(len(renders))} == {(8, 8, 4)}
    assert plain.class_names == parted.taxonomy.categories == tuple(made.categories)
    assert parted.taxonomy.parts == tuple(taxonomy["parts"])
    assert sorted(loose) == sorted(f"{name}/00000" for name in made.categories)
    for split in (plain.train, parted.train):
        assert sorted(split.labels.tolist()) == [*range(len(made.categories))]
        for cloud, label in zip(split.points, split.labels, strict=True):
            np.testing.assert_array_equal(cloud, normalise(loose[f"{plain.class_names[label]}/00000"]))
    for split in (parted.train, parted.val, parted.test):
        for label, pid in zip(split.labels, split.parts, strict=True):
            assert set(pid.tolist()) <= set(parted.taxonomy.category_parts[label])


@settings(FEW)
@given(category=FILE_NAMES, name=FILE_NAMES, views=st.integers(1, 3), points=st.integers(1, 50))
def test_rendered_pairs_are_found_under_the_names_of_their_meshes(category, name, views, points):
    pytest.importorskip("embreex")
    mesh = "OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "meshes", category, f"{name}.off")
        file.parent.mkdir(parents=True)
        file.write_text(mesh)
        settings = Settings(views=views, size=16, points=points)
        result = render([Path(place, "meshes")], Path(place, "out"), settings=settings, jobs=1)
        assert (result.rendered, result.skipped) == (1, ())
        pairs = PairedRenders(Path(place, "out"))
        cloud = pairs.points(0)
        assert (pairs.keys, pairs.views(0), cloud.shape) == ([f"{category}/{name}"], views, (points, 3))
        assert all(pairs.image(0, view)[..., 3].any() for view in range(views))
        # of the tetrahedron's faces: in it, and on one of its four planes
        planes = np.concatenate([cloud, 1 - cloud.sum(axis=1, keepdims=True)], axis=1)  # (N, 4)
        assert planes.min() > -1e-6
        assert np.abs(planes).min(axis=1).max() < 1e-6
        kept = render([Path(place, "meshes")], Path(place, "out"), settings=settings, jobs=1)
        assert (kept.rendered, kept.kept) == (0, 1)
