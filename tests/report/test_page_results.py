"""What the page says of results, in its words."""

import html
import json
import re

import pytest
from report_folders import read, write

from crosspoint.eval.features import ModelInfo
from crosspoint.eval.fewshot import FewShotData, FewShotResult, FewShotTasks
from crosspoint.eval.metrics.statistics import Summary
from crosspoint.report.page import report


@pytest.mark.parametrize(("train", "expected"), [(9840, True), (9839, False)])
def test_the_papers_column_appears_for_its_own_data_alone(folder, tmp_path, train, expected):
    result = json.loads((folder / "results/svm-trained.json").read_text())
    result["data"] |= {"train": train, "test": 2468, "points": 1024}
    write(tmp_path / "svm-a.json", result)
    report(tmp_path)
    text = " ".join(read(tmp_path / "report.html").text)
    assert ("89.1%" in text) is expected  # PointNet, table 1
    assert ("not those of the paper" in text) is not expected


@pytest.mark.parametrize("executed", [True, False])
def test_engine_is_shown_as_the_manifest_says(tmp_path, executed):
    status = "executed, passed the parity gate" if executed else "built, not executed"
    engine = {"builder": "tensorrt-rtx", "version": "1", "targets": ["sm86"], "executed": executed, "status": status}
    values = {
        "schema": "crosspoint.manifest/1",
        "engine": engine,
        "profile": {"batch": [1, 8, 32], "points": None},
        "precision": {"asked": "fp32", "read_back": "fp32"},
        "inputs": {"points": ["batch", 512, 3]},
        "outputs": {"embedding": ["batch", 1024]},
    }
    write(tmp_path / "manifest.json", values)
    result = report(tmp_path)
    assert "What ran, and what was only built" in result.sections
    page = read(tmp_path / "report.html")
    text = " ".join(page.text)
    assert status in text
    assert ("has not been shown to be right" in text) is not executed
    assert "batch × 512 × 3" in text


def few_shot(tmp_path, row, *, backend="pytorch", train=40, test=20):
    """A result of `eval fewshot` on ModelNet40 with one kind of tasks."""
    model = ModelInfo("m.onnx", "0" * 64, "dgcnn", 2048, "fp32", backend, "cpu")
    data = FewShotData("data", "modelnet40", train, test, 512, 0, None)
    write(tmp_path / "f.json", FewShotResult(model, data, 15, 10, (row,)).to_json())


def test_fewshot_rows_are_shown(tmp_path):
    row = FewShotTasks(5, 10, "test split", Summary(0.8125, 0.03, None), [])
    few_shot(tmp_path, row, backend="onnxruntime")
    assert report(tmp_path).sections == ["Few-shot accuracy"]
    text = " ".join(read(tmp_path / "report.html").text)
    for expected in ("5-way 10-shot", "81.2%", "3.0%", "–", "ONNX Runtime on cpu, 10 tasks each, 512 points"):
        assert expected in text


@pytest.mark.parametrize(
    ("train", "source", "shots", "shown"),
    [
        (9840, "training split", 20, "94.9 ± 2.1"),
        (9840, "training split", 7, None),
        (9840, "test split", 20, None),
        (4000, "training split", 20, None),
    ],
)
def test_few_shot_tasks_of_the_paper_have_its_column(tmp_path, train, source, shots, shown):
    row = FewShotTasks(5, shots, source, Summary(0.9, 0.03, 0.01), [])
    few_shot(tmp_path, row, train=train, test=2468)
    report(tmp_path)
    text = " ".join(read(tmp_path / "report.html").text)
    assert ("The paper's tasks" in text) is (shown is not None)
    assert shown is None or shown in text


def words_of(path):
    return " ".join(" ".join(read(path).text).split())


def tiles_of(path):
    """The text of the headline's tiles."""
    text = path.read_text()
    cards = re.search(r'<div class="cards">(.*?)</section>', text, re.DOTALL)[1]
    return [
        " ".join(html.unescape(re.sub("<[^>]*>", " ", card)).split())
        for card in re.split('<div class="card[^"]*">', cards)[1:]
    ]


def test_tiles_have_one_number_each_and_say_what_it_is(folder, tmp_path):
    report(folder, tmp_path / "page.html")
    measured = json.loads((folder / "results/svm-trained.json").read_text())
    first, untrained, gain, parity_, *_ = tiles_of(tmp_path / "page.html")
    assert first.startswith(f"{measured['clean']['accuracy']:.1%} of held-out objects classified right by a linear SVM")
    assert f"({measured['data']['test']} objects; 95 % interval" in first
    assert untrained.endswith("the same with the encoder before training")
    assert gain == "+0.0 percentage points, trained minus untrained"
    assert parity_.startswith("passed parity")
    assert "official" not in first + untrained + gain


def test_official_and_clean_are_explained_where_they_stand(folder, tmp_path):
    report(folder, tmp_path / "page.html")
    measured, words = json.loads((folder / "results/svm-trained.json").read_text()), words_of(tmp_path / "page.html")
    assert "the rule that this page calls clean : nothing was chosen by looking at the tested objects" in words
    assert (
        f"official , the paper's protocol: {measured['official']['rule']}. A fixed C suits features of one scale"
        in words
    )
    assert f"clean : {measured['clean']['rule']}." in words


MANIFEST = {
    "engine": {
        "builder": "tensorrt",
        "version": "10",
        "targets": [],
        "executed": False,
        "status": "built, not executed",
    },
    "profile": {"batch": [1, 8, 32], "points": None},
    "precision": {"asked": "fp32", "read_back": "fp32"},
    "inputs": {"points": ["batch", 512, 3]},
    "outputs": {"embedding": ["batch", 1024]},
}
GATE = {
    "tier": "fp32",
    "candidate": "onnxruntime on the CPU",
    "reference": "PyTorch in float64",
    "limits": {"relative_l2": 1e-4, "overlap": 0.99},
    "relative_l2_max": 3e-7,
    "relative_l2_own_graphs_max": 3e-7,
    "cosine_min": 1.0,
    "overlap_min": None,
    "cases": [],
}


def test_an_engine_that_was_only_built_is_no_headline(tmp_path):
    write(tmp_path / "manifest.json", MANIFEST)
    assert "Headline" not in report(tmp_path).sections
    write(tmp_path / "manifest.json", {**MANIFEST, "parity": GATE})
    report(tmp_path)
    assert tiles_of(tmp_path / "report.html") == [
        "passed the export's parity gate, onnxruntime on the CPU: largest relative L2 error 3.0e-07",
        "built, not executed TensorRT engine of the bundle "
        "No result of an evaluation lies in this folder; the commands at the end of the page add them.",
    ]


def test_without_results_the_headline_is_how_far_training_came(tmp_path):
    lines = [
        {"step": 1, "probe_accuracy": 0.5},
        {"step": 1125, "probe_accuracy": 0.6},
        {"step": 1126, "probe_accuracy": 0.755},
    ]
    write(tmp_path / "metrics.jsonl", "\n".join(map(json.dumps, lines)))
    report(tmp_path)
    steps, probe = tiles_of(tmp_path / "report.html")
    assert steps == "1,126 steps of training"
    assert probe.startswith(
        "75.5% of held-out objects right by the linear probe in the last measurement (the first: 50.0%)"
    )
    assert "No result of an evaluation lies in this folder" in probe


def test_near_ties_have_columns_and_the_limit_names_its_own(folder, tmp_path):
    values = json.loads((folder / "results/parity.json").read_text())
    values["numeric"][1] |= {
        "relative_l2_max": 1.9e-4,
        "over_limit": 1,
        "explained": 1,
        "relative_l2_unexplained": 3e-7,
    }
    write(tmp_path / "parity.json", values)
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    columns = re.findall(r'<th scope="col">([^<]*)', page)
    assert columns[:5] == ["clouds", "largest error", "over the limit", "near ties", "held to the limit"]
    row = page[page.index(f"<td>{values['numeric'][1]['clouds']}</td>") :]
    assert re.findall("<td>([^<]*)", row)[1:5] == ["1.9e-04", "1", "1", "3.0e-07"]
    assert "A near tie is a cloud in which two neighbours are almost equally far" in " ".join(page.split())


def test_the_small_svm_of_parity_says_that_it_is_not_the_accuracy(folder, tmp_path):
    report(folder, tmp_path / "page.html")
    values = json.loads((folder / "results/parity.json").read_text())
    task, clouds = values["task"], values["data"]["clouds"]
    words = words_of(tmp_path / "page.html")
    assert f"of {clouds - task['objects']} of these clouds and tested on the other {task['objects']}, has" in words
    assert "It only compares the two models" in words


def test_a_coarser_precision_has_no_near_ties(folder, tmp_path):
    values = json.loads((folder / "results/parity.json").read_text())
    for row in values["numeric"]:
        for name in ("over_limit", "explained", "relative_l2_unexplained"):
            del row[name]
    gate = {"tier": "fp16", "rule": "difference of linear-SVM accuracies", "limit": 0.002, "measured": 0.004}
    values |= {"gate": {**gate, "would_pass_at": 0.004, "passed": False}, "passed": False}
    write(tmp_path / "parity.json", values)
    report(tmp_path)
    words = words_of(tmp_path / "report.html")
    assert "near ties" not in words
    assert "difference of linear-SVM accuracies is 4.00e-03 (limit 0.002). It would pass at 4.0e-03." in words
