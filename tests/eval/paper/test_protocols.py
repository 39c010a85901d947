"""The published protocols against literal references: which objects, points, rules and seeds make each number."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from crosspoint.data.points import normalise, sample_points
from crosspoint.data.sets.datasets import load_classification
from crosspoint.data.splits import HELD_OUT
from crosspoint.eval import fewshot as few_shot
from crosspoint.eval import partseg, robustness
from crosspoint.eval.fewshot import Labelled, TaskOptions, fewshot, run_task
from crosspoint.eval.image import fewshot as image_fewshot
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.linear import OFFICIAL_C
from crosspoint.eval.paper import protocols, published
from crosspoint.eval.paper.roles import ModelFacts
from crosspoint.eval.svm import svm
from crosspoint.models.weights import load_model
from crosspoint.parity.accuracy import SvmAccuracy
from crosspoint.parity.user_clouds import UserClouds
from crosspoint.runtime.options import RunOn, Sampling


def embedded(model, points):
    """Embeddings of stored clouds by the network alone."""
    with torch.inference_mode():
        return load_model(model)(torch.from_numpy(normalise(points))).numpy()


def test_the_published_constants():
    assert (protocols.SVM_POINTS, protocols.FEWSHOT_POINTS, partseg.POINTS) == (1024, 2048, 2048)
    assert (protocols.QUERIES, protocols.OFFICIAL_K) == (20, 5)
    assert published.SETTINGS == ((5, 10), (5, 20), (10, 10), (10, 20))
    assert OFFICIAL_C == {"modelnet40": 0.1, "scanobjectnn": 0.01}
    assert (image_fewshot.WAYS, image_fewshot.QUERIES, image_fewshot.OFFICIAL_C) == (5, 15, 1.0)
    assert linear.FOLDS == 5
    assert HELD_OUT == 0.2
    usual = protocols.StudyOptions()
    assert (usual.runs, usual.tasks, usual.sampling) == (10, 600, Sampling(None, 0, 3))


# ---- few-shot ----


def task_by_hand(support, query, ways, shots, queries, seed):
    """A task as it is defined: drawn classes, drawn objects, features standardised by the support alone."""
    rng = np.random.default_rng(seed)
    same = query is support
    enough = [
        label
        for label in sorted(set(support.labels.tolist()))
        if np.sum(support.labels == label) >= shots + (queries if same else 0)
        and np.sum(query.labels == label) >= queries
    ]
    learn, ask = [], []
    for label in rng.choice(enough, ways, replace=False):
        own = rng.permutation(np.flatnonzero(support.labels == label))
        learn += own[:shots].tolist()
        ask += (own[shots:] if same else rng.permutation(np.flatnonzero(query.labels == label)))[:queries].tolist()
    mean, spread = support.features[learn].mean(axis=0), support.features[learn].std(axis=0)
    spread[spread == 0] = 1
    classifier = SVC(kernel="linear", C=1).fit((support.features[learn] - mean) / spread, support.labels[learn])
    return float(np.mean(classifier.predict((query.features[ask] - mean) / spread) == query.labels[ask]))


def noisy(per_class, classes=8, dim=12, seed=0):
    """Features whose dimensions differ in scale a hundredfold, hard enough that no SVM is always right."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), per_class))
    scales = 10.0 ** rng.uniform(-1, 1, dim)
    centres = np.random.default_rng(9).standard_normal((classes, dim))
    features = scales * (centres[labels] + 1.5 * rng.standard_normal((len(labels), dim)))
    return Labelled(features.astype(np.float32), labels)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("ways", "shots", "queries"), [(2, 1, 3), (5, 4, 6), (8, 10, 20)])
def test_a_task_is_the_one_that_its_seed_says(same, ways, shots, queries):
    support = noisy(32)
    query = support if same else noisy(24, seed=1)
    found = [
        run_task(support, query, ways=ways, shots=shots, queries=queries, seed=(3, run)).accuracy for run in range(6)
    ]
    expected = [task_by_hand(support, query, ways, shots, queries, (3, run)) for run in range(6)]
    assert found == pytest.approx(expected)
    assert len(set(found)) > 1


def test_features_are_standardised_by_the_support_of_the_task_alone():
    """Objects that are in no task would drag a scaler that was fitted on all of them."""
    support = noisy(6)
    far = Labelled(
        np.concatenate([support.features, np.full((1, support.features.shape[1]), 1e4, np.float32)]),
        np.append(support.labels, 99),
    )
    for run in range(5):
        clean, dragged = (
            run_task(data, data, ways=5, shots=2, queries=4, seed=(run,)).predicted for data in (support, far)
        )
        np.testing.assert_array_equal(clean, dragged)


def test_every_run_is_another_task_of_its_seed_way_shot_and_number(modelnet, pointnet):
    result = fewshot(
        pointnet, modelnet, tasks=TaskOptions((2, 3), shots=(1, 4), queries=5, runs=4), sampling=Sampling(32, 7)
    )
    whole = load_classification(modelnet, None)
    parts = {"training split": whole.train, "test split": whole.test}
    data = {name: Labelled(embedded(pointnet, part.points[:, :32]), part.labels) for name, part in parts.items()}
    for row in result.tasks:
        way, shot = row.ways, row.shots
        query = data[row.queries_from]
        expected = [task_by_hand(data["training split"], query, way, shot, 5, (7, way, shot, run)) for run in range(4)]
        assert row.accuracies == pytest.approx(expected)
        assert row.summary.mean == pytest.approx(sum(expected) / 4)
        assert row.summary.std == pytest.approx(np.std(expected, ddof=1))
    assert max(len(set(row.accuracies)) for row in result.tasks) > 1


def test_usual_few_shot_is_the_published_one(monkeypatch, modelnet, pointnet):
    asked = []

    def task(support, query, *, ways, shots, queries, seed):
        asked.append((ways, shots, queries))
        return few_shot.TaskAnswers(query.labels[:2], query.labels[:2])

    monkeypatch.setattr(few_shot, "run_task", task)
    monkeypatch.setattr(few_shot, "_check_data", lambda *_: None)
    fewshot(pointnet, modelnet, sampling=Sampling(32), tasks=TaskOptions(queries_from=("training split",)))
    assert asked == [(ways, shots, 20) for ways in (5, 10) for shots in (10, 20) for _ in range(10)]


# ---- the tables ----


class Recorder:
    """Stands for a protocol: keeps what it was asked for, and answers with what the test says."""

    def __init__(self, answer):
        self.calls, self._answer = [], answer

    def __call__(self, *given, **named):
        self.calls.append((given, named))
        return self._answer(*given, **named)


@pytest.fixture
def study(tmp_path, writers, pointnet, monkeypatch):
    """A study of one model that says that it is a DGCNN, on ModelNet40 with many stored points."""
    root = writers["modelnet40"](tmp_path, per_class=42, stored=2100, test=21)
    monkeypatch.setattr(protocols.published, "SETTINGS", ((2, 10), (3, 20)))
    model = Path(pointnet)
    facts = {model: ModelFacts({"architecture": "dgcnn", "k": 20}, {}, None)}
    return protocols.Study({"dgcnn": [model]}, facts, [("modelnet40", root)], protocols.StudyOptions(), tmp_path)


def test_few_shot_rules_draw_from_their_own_split_with_their_own_neighbours(study, monkeypatch):
    answers = {("training split",): 0.25, ("test split",): 0.75}
    recorder = Recorder(
        lambda *_, tasks, **__: SimpleNamespace(tasks=[SimpleNamespace(accuracies=[answers[tasks.queries_from]] * 2)])
    )
    monkeypatch.setattr(protocols, "fewshot", recorder)
    rows = protocols.few(study)
    assert [(row.official.summary.mean, row.clean.summary.mean) for row in rows] == [(25, 75), (25, 75)]
    ((model,),), ((_, root),) = study.models.values(), study.sets
    for (given, named), (setting, k) in zip(
        recorder.calls, [(s, k) for s in ((2, 10), (3, 20)) for k in (5, None)], strict=True
    ):
        assert given == (model, root)
        source = ("training split",) if k == 5 else ("test split",)
        assert named["tasks"] == TaskOptions((setting[0],), (setting[1],), 20, 10, source)
        assert (named["sampling"].points, named["sampling"].seed) == (2048, 0)
        assert named["run_on"] == RunOn("cpu", None, None)
        assert named["k"] == k, "the official code looks at five neighbours here"


def test_linear_tables_use_the_first_1024_points_and_three_choices(study, monkeypatch):
    result = SimpleNamespace(
        data=SimpleNamespace(test_from="the test split"),
        official=SimpleNamespace(accuracy=0.25, interval=(0.2, 0.3)),
        clean=SimpleNamespace(runs=[SimpleNamespace(accuracy=a) for a in (0.5, 0.7)], interval=(0.4, 0.8)),
    )
    recorder = Recorder(lambda *_, **__: result)
    monkeypatch.setattr(protocols, "svm", recorder)
    (row,) = protocols.linear(study, published.LINEAR, names=published.BACKBONES)
    ((_, named),) = recorder.calls
    assert named["sampling"] == Sampling(1024, 0, 3)
    assert row.official.summary.mean == pytest.approx(25)
    assert row.official.interval == pytest.approx([20, 30])
    assert row.clean.summary.mean == pytest.approx(60)
    assert row.clean.values == [pytest.approx([50, 70])]
    assert row.paper.value == 91.2


def test_a_table_holds_the_numbers_of_its_protocol(study, modelnet):
    study.sets = [("modelnet40", modelnet)]
    study.options = protocols.StudyOptions(Sampling(32, 5, 2))
    (row,) = protocols.linear(study, published.LINEAR, names=published.BACKBONES)
    ((model,),) = study.models.values()
    alone = svm(model, modelnet, sampling=Sampling(32, 5, 2))
    assert row.official.summary.mean == pytest.approx(100 * alone.official.accuracy)
    assert row.clean.summary.mean == pytest.approx(100 * alone.clean.accuracy)
    assert row.clean.summary.std == pytest.approx(100 * alone.clean.std)


# ---- the linear SVM ----


def test_clean_is_a_grid_search_on_drawn_points_with_folds_of_the_same_seed(modelnet, pointnet):
    whole = load_classification(modelnet, None)
    result = svm(pointnet, modelnet, sampling=Sampling(16, 5, 2)).clean
    right = 0
    for number, run in enumerate(result.runs):
        drawn = []
        for part in (whole.train, whole.test):
            rng = np.random.default_rng(5 + number)
            drawn.append(embedded(pointnet, np.stack([sample_points(cloud, 16, rng=rng) for cloud in part.points])))
        folds = StratifiedKFold(5, shuffle=True, random_state=5 + number)
        grid = {"C": linear.grid(drawn[0])}
        search = GridSearchCV(SVC(kernel="linear"), grid, cv=folds).fit(drawn[0], whole.train.labels)
        expected = search.cv_results_["mean_test_score"]
        np.testing.assert_allclose([tried.accuracy for tried in run.cross_validation], expected, atol=1e-12)
        assert run.c == search.best_params_["C"]
        assert run.accuracy == pytest.approx(search.score(drawn[1], whole.test.labels))
        right += round(run.accuracy * 15)
    assert result.accuracy == pytest.approx(right / 30)


def wilson_by_hand(p, n, z=1.959963984540054):
    """Both solutions of (p − q)² = z² q (1 − q) / n, which is what the score interval is."""
    roots = np.roots([1 + z**2 / n, -(2 * p + z**2 / n), p**2])
    return sorted(float(root) for root in roots)


def test_intervals_are_for_the_objects_of_one_run(modelnet, pointnet):
    """Three choices of the same objects' points are not three times as many objects."""
    result = svm(pointnet, modelnet, sampling=Sampling(16, seeds=3))
    assert 0 < result.clean.accuracy < 1
    for rule in (result.official, result.clean):
        assert rule.interval == pytest.approx(wilson_by_hand(rule.accuracy, 15))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_deviation_over_folds_is_that_of_a_sample(seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 15)
    features = (rng.standard_normal((4, 6))[labels] + 1.5 * rng.standard_normal((60, 6))).astype(np.float32)
    _, tried = linear.choose_c(features, labels, products=linear.gram(features), seed=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    search = GridSearchCV(SVC(kernel="linear"), {"C": linear.grid(features)}, cv=folds).fit(features, labels)
    scores = np.stack([search.cv_results_[f"split{fold}_test_score"] for fold in range(5)])  # (folds, C)
    np.testing.assert_allclose([row.std for row in tried], scores.std(axis=0, ddof=1), atol=1e-12)


def test_task_parity_fits_each_side_on_its_own_features():
    """The candidate's features turn the other way round, which an SVM that saw the reference's would get wrong."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 30)
    first = (3 * rng.standard_normal((3, 5))[labels] + rng.standard_normal((90, 5))).astype(np.float32)
    mixed = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0].astype(np.float32)
    second = (first @ mixed)[:, ::-1] * np.array([1, 5, 0.2, 3, 1], np.float32) + rng.standard_normal((90, 5))
    probe = UserClouds(np.zeros((90, 4, 3), np.float32), labels, 60, "made", [])
    accuracy = SvmAccuracy(first, probe, seed=0)
    found = accuracy.compare_features(second.astype(np.float32))
    for features, key in ((first, "reference_accuracy"), (second.astype(np.float32), "candidate_accuracy")):
        classifier = SVC(kernel="linear", C=accuracy.c).fit(features[:60], labels[:60])
        assert getattr(found, key) == pytest.approx(classifier.score(features[60:], labels[60:]))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(SVC(kernel="linear"), {"C": linear.grid(first[:60])}, cv=folds).fit(first[:60], labels[:60])
    assert accuracy.c == search.best_params_["C"]


# ---- robustness ----


@pytest.mark.parametrize("name", robustness.CORRUPTIONS)
def test_corrupted_clouds_are_centred_and_scaled_again(name):
    clouds = np.random.default_rng(0).standard_normal((4, 60, 3)).astype(np.float32) + 5
    for severity in robustness.CORRUPTIONS[name].severities:
        corrupted = robustness.corrupt_all(clouds, name, severity=severity, seed=0)
        np.testing.assert_allclose(corrupted.mean(axis=1), 0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(corrupted, axis=2).max(axis=1), 1, atol=1e-6)


def test_a_corruption_is_applied_to_the_normalised_cloud():
    """Noise is in radii: a cloud a hundred times as large gets the same."""
    clouds = np.random.default_rng(0).standard_normal((3, 60, 3)).astype(np.float32)
    small, large = (robustness.corrupt_all(scale * clouds, "noise", severity=0.05, seed=0) for scale in (1, 128))
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_corruptions_depend_on_the_seed_and_on_the_cloud():
    clouds = np.repeat(np.random.default_rng(0).standard_normal((1, 60, 3)), 2, axis=0).astype(np.float32)
    first, other = (robustness.corrupt_all(clouds, "noise", severity=0.05, seed=seed) for seed in (0, 1))
    assert np.abs(first - other).max() > 1e-3
    assert np.abs(first[0] - first[1]).max() > 1e-3


def test_the_machine_of_the_curves_is_fitted_on_intact_first_points(modelnet, pointnet):
    result = robustness.robustness([pointnet], modelnet, corruptions=("noise",), sampling=Sampling(24, 3))
    whole = load_classification(modelnet, None)
    train = embedded(pointnet, whole.train.points[:, :24])
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    search = GridSearchCV(SVC(kernel="linear"), {"C": linear.grid(train)}, cv=folds).fit(train, whole.train.labels)
    for row in result.curves[0].rows:
        clouds = robustness.corrupt_all(whole.test.points[:, :24], "noise", severity=row.severity, seed=3)
        assert row.accuracy == pytest.approx(search.score(embedded(pointnet, clouds), whole.test.labels))
        assert row.interval == pytest.approx(wilson_by_hand(row.accuracy, 15), abs=1e-7)
