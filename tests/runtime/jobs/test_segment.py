"""Labels of points: every point gets one, of its own category, and the file holds it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from plyfile import PlyData

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.sets.taxonomy import Taxonomy
from crosspoint.runtime.jobs.segment import find_taxonomy, label_points
from crosspoint.runtime.load import load_encoder

torch = pytest.importorskip("torch")

TAXONOMY = Taxonomy(("Mushroom", "Dumbbell"), ("cap", "stem", "ball", "bar", "ring"), ((0, 1), (2, 3, 4)))
FILE = {
    "categories": TAXONOMY.categories,
    "parts": TAXONOMY.parts,
    "category_parts": {"Mushroom": [0, 1], "Dumbbell": [2, 3, 4]},
}


class BySide:
    """Prefers part 0 of all; of the second category it prefers 2 to the left of the middle and 3 to the right."""

    def __init__(self):
        self.sizes = []

    def segment(self, points, category):
        self.sizes.append(points.shape[1])
        assert (category == [0, 1]).all()
        x = points[..., 0]
        return np.stack([9 + 0 * x, 0 * x, -x, x, 0 * x - 5], axis=-1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from crosspoint.models.segmentation import DGCNNSegmenter
    from crosspoint.models.weights import save_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "segmenter.safetensors"
    save_model(DGCNNSegmenter(5, 2, k=4), path, recipe={"taxonomy": FILE})
    return path


@pytest.fixture
def cloud(tmp_path):
    points = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32) * 40 + 7
    np.save(tmp_path / "cloud.npy", points)
    return tmp_path / "cloud.npy"


def run(*arguments, code=0):
    outcome = CliRunner().invoke(crosspoint, ["segment", *map(str, arguments)])
    if code == 2:
        raise outcome.exception
    assert outcome.exit_code == code, outcome.output
    return outcome.output


@pytest.mark.parametrize("count", [64, 65, 128, 1001])
def test_every_point_of_a_large_cloud_is_labelled_from_subsets_of_the_model_s_size(count):
    rng = np.random.default_rng(count)
    cloud = rng.normal(size=(count, 3)).astype(np.float32) * 0.01
    cloud[:, 0] += np.where(np.arange(count) % 2 == 0, 5, -5)
    encoder = BySide()
    labels = label_points(encoder, cloud, taxonomy=TAXONOMY, category=1, size=64)
    assert (labels == np.where(cloud[:, 0] < 0, 2, 3)).all()
    assert set(encoder.sizes) == {64}


def test_the_file_has_all_points_with_parts_of_the_category(weights, cloud, tmp_path):
    out = tmp_path / "labelled.ply"
    run(weights, cloud, "--category", "dumbbell", "--out", out, "--points", 64, "--json", tmp_path / "a.json")
    file = PlyData.read(out)
    rows = file["vertex"]
    np.testing.assert_array_equal(np.stack([rows[axis] for axis in "xyz"], axis=1), np.load(cloud))
    assert set(rows["label"]) <= {2, 3, 4}
    assert file.comments == ["crosspoint segment 2 ball", "crosspoint segment 3 bar", "crosspoint segment 4 ring"]
    (entry,) = json.loads((tmp_path / "a.json").read_text())["objects"]
    found = {part["label"]: part["share"] for part in entry["parts"]}
    assert found == {label: pytest.approx(np.mean(rows["label"] == label)) for label in (2, 3, 4)}
    colours = {tuple(int(rows[c][i]) for c in ("red", "green", "blue")) for i in range(100)}
    assert len(colours) == len(set(rows["label"]))


def test_an_earlier_file_is_replaced(weights, cloud, tmp_path):
    for _ in range(2):
        run(weights, cloud, "--category", "mushroom", "--out", tmp_path / "labelled.ply")


def test_a_folder_has_a_file_for_each_cloud_and_what_is_unreadable_is_skipped(weights, cloud, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.npy").write_bytes(cloud.read_bytes())
    (tmp_path / "in" / "b.npy").write_bytes(b"no array")
    assert "b.npy" in run(weights, tmp_path / "in", "--category", "Mushroom", "--out", tmp_path / "out", code=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.npy.ply"]


def test_an_unknown_category_is_refused_with_those_that_are_known(weights, cloud, tmp_path):
    with pytest.raises(InputError, match="no category 'chair'; give one of Mushroom, Dumbbell"):
        run(weights, cloud, "--category", "chair", "--out", tmp_path / "a.ply", code=2)


def test_an_encoder_is_refused(cloud, tmp_path):
    with pytest.raises(InputError, match="is not a part segmenter"):
        run("pointnet", cloud, "--category", "chair", "--out", tmp_path / "a.ply", code=2)


def test_names_that_are_nowhere_are_asked_for(tmp_path):
    from crosspoint.models.segmentation import DGCNNSegmenter
    from crosspoint.models.weights import save_model

    save_model(DGCNNSegmenter(5, 2, k=4), tmp_path / "segmenter.safetensors")
    with load_encoder(tmp_path / "segmenter.safetensors") as encoder:
        with pytest.raises(InputError, match="does not name its 2 categories and 5 parts; give --data"):
            find_taxonomy(encoder.specification)
        (tmp_path / "taxonomy.json").write_text(json.dumps(FILE))
        assert find_taxonomy(encoder.specification, tmp_path) == TAXONOMY


def test_a_labelled_cloud_lies_as_it_was_stored(weights, cloud, tmp_path):
    run(weights, cloud, "--category", "dumbbell", "--points", 64, "--up", "z", "--out", tmp_path / "out.ply")
    rows = PlyData.read(tmp_path / "out.ply")["vertex"]
    np.testing.assert_array_equal(np.stack([rows[axis] for axis in "xyz"], axis=1), np.load(cloud))
