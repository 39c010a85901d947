import base64
import html
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from markupsafe import Markup
from PIL import Image
from plyfile import PlyData, PlyElement

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.sets.datasets import load_classification
from crosspoint.eval.features import ModelInfo
from crosspoint.eval.fewshot import FewShotData, FewShotResult, FewShotTasks
from crosspoint.eval.metrics.statistics import Summary
from crosspoint.eval.svm import svm
from crosspoint.parity.parity import parity
from crosspoint.report.charts import line_chart, ticks
from crosspoint.report.embedded import classes_of
from crosspoint.report.html import render
from crosspoint.report.page import _about, report
from crosspoint.report.pictures import draw_cloud
from crosspoint.report.records import QuickstartStep, QuickstartSummary, RunConfig, TrainedOn
from crosspoint.report.scatter import place_labels
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, save
from crosspoint.runtime.options import Sampling

VOID = {"meta", "img"}
HOSTILE = "<script>alert(1)</script>\"'&"


class Reader(HTMLParser):
    """Checks that every element is closed in order; collects elements, attributes and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, text):
        self.text.append(" ".join(text.split()))


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    return reader


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def metrics(steps):
    names = ("loss", "loss_imid", "loss_cmid", "alignment", "uniformity", "spread", "objects_per_second")
    return "".join(json.dumps({"step": s, **{n: s + i for i, n in enumerate(names)}}) + "\n" for s in range(1, steps))


def write_modelnet(folder):
    """Noisy balls, sticks and plates, ten of each to train and four to test."""
    folder.mkdir(parents=True)
    stretch = np.array([[1.0, 1.0, 1.0], [0.3, 1.0, 0.3], [1.0, 0.3, 1.0]])
    for seed, (split, count) in enumerate((("train", 10), ("test", 4))):
        labels = np.tile(np.arange(3), count)
        points = np.random.default_rng(seed).standard_normal((3 * count, 32, 3)) * stretch[labels][:, None]
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file["data"], file["label"] = points.astype(np.float32), labels.astype(np.uint8)[:, None]
    (folder / "shape_names.txt").write_text("ball\nstick\nplate\n")
    return folder


def write_pairs(root):
    for i, name in enumerate(("ball", "stick")):
        write_ply(root / "ShapeNet" / name / "0.ply", np.random.default_rng(i).standard_normal((64, 3)))
        folder = root / "ShapeNetRendering" / name / "0" / "rendering"
        folder.mkdir(parents=True)
        Image.new("RGBA", (16, 16), (200, 10, 10, 255)).save(folder / "00.png")


def write_ply(path, points):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.array([tuple(p) for p in points], [(a, "<f4") for a in "xyz"])
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pointnet):
    """A folder of the quickstart's form, its results made by the real commands."""
    root = tmp_path_factory.mktemp("all") / "quick"
    data = write_modelnet(root / "shapes" / "modelnet40_ply_hdf5_2048")
    write_pairs(root / "shapes")
    for name in ("trained", "untrained"):
        result = svm(pointnet, data, sampling=Sampling(32, seeds=1), out=root / "results" / name)
        write(root / "results" / f"svm-{name}.json", result.to_json())
    compared = parity(pointnet, pointnet, data=data, sampling=Sampling(32))
    write(root / "results/parity.json", compared.to_json())
    embed(pointnet, [data], out=root / "embeddings.npz", sampling=Sampling(32))
    write(root / "run/metrics.jsonl", metrics(12))
    write(root / "run/config.json", {"recipe": {"k": 20}, "versions": {"torch": "9.9"}, "data": {"objects": 30}})
    steps = [{"name": "train", "seconds": 3.0, "status": "ran"}, {"name": "run", "seconds": 0, "status": "built only"}]
    write(root / "quickstart.json", {"schema": "crosspoint.quickstart/1", "seed": 4, "accuracy": {}, "steps": steps})
    return root


def test_page_shows_everything_and_loads_nothing(folder, tmp_path):
    result = report(folder, tmp_path / "page.html")
    assert result.sections == [
        "Headline",
        "Accuracy",
        "Training",
        "Map of the embeddings",
        "Sample shapes",
        "Parity",
        "Time",
        "Versions and hashes",
    ]
    assert [entry.what for entry in result.missing] == [
        "few-shot accuracy",
        "a turntable of a cloud with its parts, which takes data in ShapeNetPart's format",
        "the exported model",
    ]
    assert result.remarks == []
    assert result.bytes == (tmp_path / "page.html").stat().st_size < 3_000_000
    page = read(tmp_path / "page.html")
    text = " ".join(page.text)
    measured = json.loads((folder / "results/svm-trained.json").read_text())
    for rule in ("official", "clean"):
        assert f"{measured[rule]['accuracy']:.1%}" in text
    assert "torch 9.9" in text
    assert "built only" in text
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?:", (tmp_path / "page.html").read_text())


def test_map_has_a_dot_and_a_cloud_for_each_embedding_in_its_class_colour(folder, tmp_path):
    report(folder, tmp_path / "page.html")
    page = read(tmp_path / "page.html")
    dots = [attributes for name, attributes in page.tags if name == "circle"]
    data = load_classification(folder / "shapes", None)
    assert len(dots) == len(data.train.labels) + len(data.test.labels)
    expected = [data.class_names[i] for i in (*data.train.labels, *data.test.labels)]
    assert [dot["aria-label"] for dot in dots] == expected
    assert len({dot["fill"] for dot in dots}) == len(set(expected)) == 3
    svg = next(attributes for name, attributes in page.tags if "data-clouds" in attributes)
    packed = np.frombuffer(base64.b64decode(svg["data-clouds"]), np.uint8).reshape(len(dots), -1, 3)
    assert packed.shape[1] == int(svg["data-points"])
    first = packed[0] / 127.5 - 1
    cloud = data.train.points[0] - data.train.points[0].mean(axis=0)
    cloud = cloud / np.linalg.norm(cloud, axis=1).max()
    distance = np.linalg.norm(first[:, None] - cloud[None], axis=2).min(axis=1)
    assert distance.max() < 0.01


def test_same_folder_gives_the_same_bytes(folder, tmp_path):
    for name in ("a.html", "b.html"):
        report(folder, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_training_run_alone_names_the_commands_for_the_rest(folder, tmp_path):
    result = report(folder / "run", tmp_path / "page.html")
    assert result.sections == ["Headline", "Training", "Versions and hashes"]
    commands = [entry.command for entry in result.missing]
    assert any(command.startswith(f"crosspoint export {folder / 'run'} ") for command in commands)
    for command in commands:
        words = command.split()[1:]
        group = crosspoint
        while hasattr(group, "commands"):
            group = group.commands[words.pop(0)]
        known = {option for parameter in group.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
    assert "Not here" in " ".join(read(tmp_path / "page.html").text)


def test_strings_of_files_are_escaped(tmp_path, folder):
    run = tmp_path / "run"
    write(run / "metrics.jsonl", metrics(5))
    write(run / "config.json", {"recipe": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}, "device": HOSTILE})
    steps = [{"name": HOSTILE, "seconds": 1, "status": HOSTILE}]
    write(run / "quickstart.json", {"schema": "crosspoint.quickstart/1", "steps": steps, "seed": HOSTILE})
    embeddings = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    names = [f"{HOSTILE}{i % 2}/cloud{i}" for i in range(8)]
    save(run / "e.npz", Embeddings(embeddings, names, HOSTILE, FileAbout(HOSTILE, 16, False, 0, HOSTILE)))
    result = json.loads((folder / "results/svm-trained.json").read_text())
    result["model"]["backend"] = result["official"]["rule"] = result["per_class"][0]["class"] = HOSTILE
    write(run / "svm-x.json", result)
    result = report(run)
    assert result.remarks == []
    page = read(run / "report.html")
    assert [name for name, _ in page.tags].count("script") == 1
    assert " ".join(page.text).count("<script>alert(1)</script>") >= 7


def test_damaged_pieces_are_left_out_with_a_remark(tmp_path):
    write(tmp_path / "metrics.jsonl", metrics(4) + '{"step": 5, "lo')
    write(tmp_path / "manifest.json", '{"files": ')
    write(tmp_path / "results/svm-a.json", {"schema": "crosspoint.svm/1", "official": 3})
    write(tmp_path / "results/parity.json", {"schema": "crosspoint.parity/1", "passed": True, "gate": []})
    write(tmp_path / "results/list.json", [1, 2])
    write(tmp_path / "results/deep.json", "[" * 100_000)
    (tmp_path / "embeddings.npz").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes/ply_data_train0.h5").write_bytes(b"no")
    result = report(tmp_path)
    assert result.sections == ["Headline", "Training", "Versions and hashes"]  # these say: the manifest is damaged
    remarks = "\n".join(result.remarks)
    for name in ("manifest.json", "deep.json", "embeddings.npz", "ply_data_train0"):
        assert name in remarks
    for name in ("svm-a.json", "parity.json"):
        assert remarks.count(f"results/{name} is left out: it is not as crosspoint writes it") == 1
    read(tmp_path / "report.html")


def test_embeddings_with_a_changed_byte_are_left_out(tmp_path):
    write(tmp_path / "metrics.jsonl", metrics(4))
    save(
        tmp_path / "e.npz",
        Embeddings(
            np.ones((8, 4), np.float32), [f"a/{i}" for i in range(8)], "0" * 64, FileAbout("m", 16, False, 0, "/")
        ),
    )
    assert report(tmp_path).remarks == []
    content = bytearray((tmp_path / "e.npz").read_bytes())
    content[200] ^= 1
    (tmp_path / "e.npz").write_bytes(content)
    (remark,) = report(tmp_path).remarks
    assert "e.npz: is damaged or not a file of embeddings" in remark


@pytest.mark.parametrize("line", ['{"step": 1' + "0" * 400 + "}", '{"step": NaN}', '{"step": true}', "7", "\x00"])
def test_lines_that_are_no_steps_are_passed_over(tmp_path, line):
    write(tmp_path / "metrics.jsonl", metrics(4) + line + "\n")
    assert report(tmp_path).sections == ["Headline", "Training"]


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


def test_folder_with_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        report(tmp_path)
    with pytest.raises(InputError, match="cannot be listed"):
        report(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_out_that_is_a_folder_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        report(folder, tmp_path)


def test_command_writes_page_and_json(folder, tmp_path):
    arguments = ["report", str(folder / "run"), "--out", str(tmp_path / "p.html"), "--json", str(tmp_path / "r.json")]
    done = CliRunner().invoke(crosspoint, arguments)
    assert done.exit_code == 0
    assert "add it with: crosspoint export" in done.output
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["schema"] == "crosspoint.report/1"
    assert result["bytes"] == (tmp_path / "p.html").stat().st_size


def test_templates_escape_text_and_keep_markup():
    assert render("named", name="<i>", content=Markup("<b>1</b>")) == "<h3>&lt;i&gt;</h3>\n<b>1</b>"


def test_no_bar_is_longer_than_its_place():
    assert "width:100.0%" in render("steps", steps=[QuickstartStep("train", 7.0, "ran")], longest=1.0, total=7.0)


def test_without_jinja_the_reason_is_one_line():
    code = "import sys; sys.modules['jinja2'] = None; import crosspoint.report"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith(
        "crosspoint.core.errors.MissingDependency: the report needs the package jinja2"
    )


@pytest.mark.parametrize(
    ("ends", "whole", "expected"),
    [
        ((0.0, 1.0), False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ((-3.7, -3.2), False, [-3.7, -3.6, -3.5, -3.4, -3.3, -3.2]),
        ((1, 1125), True, [500, 1000]),
        ((0, 3), True, [0, 1, 2, 3]),
        ((2, 2), True, [2]),
    ],
)
def test_ticks_are_round_numbers_within_the_ends(ends, whole, expected):
    np.testing.assert_allclose(ticks(*ends, whole=whole), expected, atol=1e-12)


def test_line_chart_places_values_by_their_axes():
    step, values = np.array([0.0, 5.0, 10.0]), np.array([0.0, 1.0, 2.0])
    drawn = line_chart("x", "", step=step, series={"a": values})
    points = re.search(r'<polyline points="([^"]+)"', drawn)[1]
    x, y = np.array([pair.split(",") for pair in points.split()], float).T
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], atol=0.11)
    np.testing.assert_allclose(np.diff(y), np.diff(y)[0], atol=0.11)
    assert x[0] < x[-1]
    assert y[0] > y[-1]  # larger is higher


def test_constant_line_is_drawn():
    drawn = line_chart("x", "", step=np.array([3.0]), series={"a": np.array([2.0])})
    assert "nan" not in drawn
    assert "polyline" in drawn


def test_the_line_below_the_title_names_the_objects_and_the_seed(tmp_path):
    def about(segments, objects, seed):
        known = RunConfig(data=TrainedOn(objects))
        return _about(SimpleNamespace(summary=QuickstartSummary(seed=seed), config=known, segments=segments))[1:]

    assert about(False, 40, 7) == ["trained on 40 objects without labels", "seed 7"]
    assert about(True, 0, 0) == ["trained on 0 objects with labelled parts", "seed 0"]
    assert about(False, None, None) == []


@pytest.mark.parametrize("segments", [True, False])
def test_a_segmenter_lacks_no_section_of_encoders(segments, tmp_path):
    write(tmp_path / "metrics.jsonl", metrics(3))
    if segments:
        write(tmp_path / "segmenter.safetensors", "")
    lacking = {missing.what for missing in report(tmp_path, tmp_path / "page.html").missing}
    of_encoders = {
        "accuracy of a linear SVM",
        "few-shot accuracy",
        "a map of the embeddings",
        "sample shapes",
        "parity of the exported model",
    }
    assert lacking & of_encoders == (set() if segments else of_encoders)
    assert ("mIoU" in lacking) == segments
    assert {"the exported model", "time of each step"} <= lacking


def test_labels_are_pushed_apart_within_the_box():
    rng = np.random.default_rng(0)
    at = place_labels(rng.normal([500, 380], 40, (40, 2)), [80.0] * 40, height=17, box=(1000, 760))
    gap = np.abs(at[:, None] - at[None])
    overlap = (gap[..., 0] < 79) & (gap[..., 1] < 16)
    assert overlap.sum() == 40  # each with itself
    assert ((at >= [40, 8.5]) & (at <= [960, 751.5])).all()


def test_drawn_cloud_is_seen_upright():
    points = np.zeros((50, 3), np.float32)
    points[:, 1] = np.linspace(0, 1, 50)
    alpha = np.asarray(Image.open(io.BytesIO(draw_cloud(points, 100))))[..., 3]
    assert alpha[:45].any()
    assert not alpha[60:].any()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cup/a.off", "set/hat/b.off"], ["cup", "hat"]),
        (["a.off", "b.off"], None),
        (["x/a.off", "x/b.off"], None),
        (["train/000000", "cup/a.off"], None),
        (["train/000000"], None),
    ],
)
def test_classes_by_name(names, expected):
    assert classes_of(names, None) == expected
