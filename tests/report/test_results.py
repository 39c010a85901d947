"""The report's sections about results of reproduce, robustness, parts, pictures and speed, made by real commands."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from crosspoint.cli import crosspoint
from crosspoint.eval.fewshot import FewShotResult
from crosspoint.eval.image.fewshot import ImageFewShotResult
from crosspoint.eval.paper import published
from crosspoint.eval.paper.results import ReproduceResult
from crosspoint.eval.partseg import PartSegResult
from crosspoint.eval.robustness import RobustnessResult
from crosspoint.eval.svm import SvmResult
from crosspoint.models import DGCNNSegmenter, PointNet
from crosspoint.models.image import ImageEncoder
from crosspoint.models.weights import save_model
from crosspoint.report.charts import Curve, line_kind, share_chart
from crosspoint.report.page import report
from crosspoint.runtime.bench.bench import BenchResult

HOSTILE = "<script>alert(1)</script>\"'&"
TITLES = {
    "reproduce": "The paper's tables and figures",
    "robustness": "Robustness",
    "partseg": "Part segmentation",
    "image-fewshot": "Few-shot accuracy with pictures",
    "bench": "Speed",
    "svm": "Accuracy",
    "fewshot": "Few-shot accuracy",
}
CLASSES = {
    "reproduce": ReproduceResult,
    "robustness": RobustnessResult,
    "partseg": PartSegResult,
    "image-fewshot": ImageFewShotResult,
    "bench": BenchResult,
    "svm": SvmResult,
    "fewshot": FewShotResult,
}


class Reader(HTMLParser):
    """Collects elements with their attributes, and text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.pieces = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.pieces)

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_data(self, text):
        self.pieces.append(" ".join(text.split()))


def shown(folder):
    """The sections of a folder's report, and the page."""
    result = report(folder)
    assert result.remarks == []
    return result.sections, Reader(folder / "report.html")


def alone(tmp_path, results, kind, change=None):
    """A folder with one result, after a change of it."""
    values = json.loads((results / f"{kind}.json").read_text())
    if change is not None:
        change(values)
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / f"{kind}.json").write_text(json.dumps(values))
    return values


@pytest.fixture(scope="module")
def results(tmp_path_factory, pointnet, part_set, writers):
    """Results of each kind, with a comparison wherever there can be one."""
    root = tmp_path_factory.mktemp("results")
    torch.manual_seed(1)
    made = {
        "other": PointNet(),
        "a": DGCNNSegmenter(5, 2, k=4),
        "b": DGCNNSegmenter(5, 2, k=4),
        "image": ImageEncoder(18),
    }
    files = {name: root / "models" / f"{name}.safetensors" for name in made}
    (root / "models").mkdir()
    for name, model in made.items():
        save_model(model.eval(), files[name])
    data, small = writers["modelnet40"](root / "sets"), ("--points", "32")
    pictures = writers["cifar-fs"](root / "sets" / "cifar-fs", (5, 5, 5), per_class=16, size=16, noise=90)
    other = ("--against", files["other"])
    lines = {
        "svm": ("eval", "svm", pointnet, "--data", data, *small, "--seeds", 1, *other),
        "fewshot": (
            "eval",
            "fewshot",
            pointnet,
            "--data",
            data,
            *small,
            *other,
            *["--ways", "2", "--shots", "2", "--queries", "3"],
        ),
        "robustness": (
            *("eval", "robustness", pointnet, files["other"], "--data", data, *small, "--against", pointnet),
            *("--corruption", "rotation", "--corruption", "fewer"),
        ),
        "partseg": (
            *("eval", "partseg", files["a"], "--data", part_set, *small, "--seeds", 2, "--against", files["b"]),
            *("--out", root / "partseg"),
        ),
        "image-fewshot": (
            *("eval", "image-fewshot", files["image"], "--data", pictures, "--tasks", 3, "--method", "frozen"),
            *("--shots", 1, "--rfs", "size=16", "--against", files["image"]),
        ),
        "bench": ("bench", pointnet, *small, "--batch", 2, "--threads", 1, "--seconds", 0, "--device", "cpu"),
        "reproduce": ("reproduce", "table1", "--data", data, "--model", pointnet, *small, "--out", root / "made"),
    }
    for kind, line in lines.items():
        words = [str(word) for word in (*line, "--json", root / f"{kind}.json")]
        done = CliRunner().invoke(crosspoint, words)
        assert done.exit_code == 0, done.output
    return root


@pytest.mark.parametrize("kind", CLASSES)
def test_a_result_of_a_command_is_read_with_every_entry(results, kind):
    values = json.loads((results / f"{kind}.json").read_text())
    assert json.loads(json.dumps(CLASSES[kind].from_json(values).to_json())) == values


def percents(values):
    return [f"{value:.1%}" for value in values]


def paired(rows):
    """What a comparison's row says."""
    return [
        word
        for row in rows
        for word in (
            f"{row['reference_accuracy']:.2%}",
            f"{row['candidate_accuracy']:.2%}",
            f"{100 * row['difference']:+.2f}".replace("-", "−"),
            f"{row['equal_predictions']:.2%}",
            f"{row['mcnemar_p']:.2g}",
        )
    ]


def expected_of(kind, values):
    """The numbers of a result as the page writes them."""
    if kind == "svm":
        return paired(values["against"][rule] for rule in ("official", "clean"))
    if kind == "fewshot":
        return paired(row["against"] for row in values["tasks"])
    if kind == "robustness":
        rows = [row for curve in values["curves"] for row in curve["rows"]]
        return percents(row["accuracy"] for row in rows) + paired(row["against"] for row in rows if "against" in row)
    if kind == "partseg":
        against = values["against"]
        return [
            *percents(values[rule][name] for rule in ("official", "clean") for name in ("instance_miou", "class_miou")),
            *percents(row[rule] for row in values["per_category"] for rule in ("official", "clean")),
            f"{against['equal_labels']:.4%}",
            f"{against['differing_points']:,} of {against['points']['objects']:,}",
            f"{against['instance_miou']['reference']:.2%}",
            f"{against['instance_miou']['candidate']:.2%}",
            f"± {100 * values['clean']['std']:.1f} over 2 choices of points",
        ]
    if kind == "image-fewshot":
        cells = [row[rule] for row in values["rows"] for rule in ("official", "clean")]
        return percents(cell["mean"] for cell in cells) + paired(cell["against"] for cell in cells)
    if kind == "bench":
        (row,) = values["rows"]
        times = [f"{row[f'p{q}_ms']:.2f}" for q in (50, 90, 99)]
        rate, floor = f"{row['clouds_per_second']:,.1f}", f"{row['floor']['call_ms']:.2f}"
        return [*times, rate, floor, row["engine"], row["precision"], values["processor"]]
    cells = [row[rule] for row in values["rows"] for rule in ("official", "clean")]
    return ["89.1", *(f"{cell['mean']:.1f}" for cell in cells), *values["notes"], *values["rules"].values()]


@pytest.mark.parametrize("kind", TITLES)
def test_a_section_shows_the_numbers_of_its_result(tmp_path, results, kind):
    values = alone(tmp_path, results, kind)
    sections, page = shown(tmp_path)
    assert sections[-1] == TITLES[kind]
    for words in expected_of(kind, values):
        assert words in page.text


@pytest.mark.parametrize("kind", TITLES)
def test_strings_of_a_result_are_escaped(tmp_path, results, kind):
    def corrupt(value):
        """Every string that is not looked up."""
        if isinstance(value, dict):
            kept = ("schema", "format", "corruption", "frame")
            return {name: entry if name in kept else corrupt(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [corrupt(entry) for entry in value]
        return HOSTILE if isinstance(value, str) else value

    values = corrupt(json.loads((results / f"{kind}.json").read_text()))
    (tmp_path / f"{kind}.json").write_text(json.dumps(values))
    sections, page = shown(tmp_path)
    assert sections[-1] == TITLES[kind]
    assert [name for name, _ in page.tags].count("script") == 1
    assert HOSTILE in page.text


@pytest.mark.parametrize("kind", ["reproduce", "robustness", "partseg", "image-fewshot", "bench", "fewshot"])
def test_a_damaged_result_is_left_out_and_takes_no_other_with_it(tmp_path, results, kind):
    values = alone(tmp_path, results, kind)
    (tmp_path / "broken.json").write_text(json.dumps({"schema": f"crosspoint.{kind}/1", "rows": 3, "data": []}))
    result = report(tmp_path)
    assert result.sections[-1] == TITLES[kind]
    (remark,) = result.remarks
    assert "broken.json is left out" in remark
    text = Reader(tmp_path / "report.html").text
    assert all(words in text for words in expected_of(kind, values))
    assert remark in text


def test_sections_without_results_do_not_name_them(tmp_path, results):
    alone(tmp_path, results, "bench")
    named = " ".join(entry.command for entry in report(tmp_path).missing)
    assert not re.search("reproduce|robustness|partseg|image-fewshot|bench", named)


def test_a_segmenter_and_a_bundle_name_what_is_still_to_be_measured(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n')
    (run / "segmenter.safetensors").write_bytes(b"")
    (run / "config.json").write_text('{"data": {"objects": 205}}')
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    named = [entry.command for entry in report(tmp_path).missing]
    assert "trained on 205 objects with labelled parts" in Reader(tmp_path / "report.html").text
    assert not re.search("svm|fewshot|embed|parity", " ".join(named))  # those are not for segmenters
    assert f"crosspoint eval partseg {run} --data DATA --json {tmp_path}/results/partseg.json" in named
    assert f"crosspoint bench {tmp_path}/bundle --json {tmp_path}/results/bench.json" in named


def test_parts_and_speed_are_in_the_headline(tmp_path, results):
    miou = alone(tmp_path, results, "partseg")["clean"]["instance_miou"]
    rate = alone(tmp_path, results, "bench")["rows"][0]["clouds_per_second"]
    sections, page = shown(tmp_path)
    assert sections[0] == "Headline"
    cards = " ".join(page.text[: page.text.index("Part segmentation")].split())
    assert f"{miou:.1%} mean IoU of the parts of" in cards
    assert f"{rate:,.0f} clouds a second: " in cards


def test_a_reproduction_written_twice_is_shown_once_and_says_what_it_is_not(tmp_path, results):
    values = alone(tmp_path, results, "reproduce")
    alone(tmp_path / "made", results, "reproduce")
    _, page = shown(tmp_path)
    assert page.text.count(values["title"]) == 1
    assert "not the published set, so these numbers are not the paper's" in page.pieces


def test_the_published_set_is_called_so(tmp_path, results):
    alone(tmp_path, results, "reproduce", lambda values: values["data"][0].update(published=True))
    _, page = shown(tmp_path)
    assert "by counts and names the published data" in page.text
    assert "not the published set, so these numbers are not the paper's" not in page.pieces


def test_spread_says_what_it_is_over(tmp_path, results):
    cell = {"mean": 50.25, "std": 1.5, "standard_error": 0.5, "over": "9 models", "interval": None, "values": []}
    alone(tmp_path, results, "reproduce", lambda values: values["rows"][0].update(clean=cell, official=None))
    _, page = shown(tmp_path)
    assert "50.2 ± 1.5" in page.text
    assert "± over 9 models" in page.text


def test_figure_4_brings_its_picture(tmp_path, results):
    alone(tmp_path, results, "reproduce", lambda values: values.update(target="figure4", title="Figure 4"))
    assert "img" not in [name for name, _ in shown(tmp_path)[1].tags]
    Image.new("RGB", (40, 20)).save(tmp_path / "reproduce.png")
    assert [attributes["alt"] for name, attributes in shown(tmp_path)[1].tags if name == "img"] == ["Figure 4"]


def test_pictures_of_parts_are_shown_and_broken_ones_are_not(results, tmp_path):
    alone(tmp_path, results, "partseg")
    (tmp_path / "partseg.png").write_bytes((results / "partseg" / "partseg.png").read_bytes())
    (tmp_path / "partseg_worst.png").write_bytes(b"\x89PNG nothing")
    images = [attributes["alt"] for name, attributes in shown(tmp_path)[1].tags if name == "img"]
    assert images == ["Predictions beside the truth, of each category the object with the median IoU"]


@pytest.mark.parametrize("known", [True, False])
def test_papers_numbers_stand_beside_its_own_data_alone(tmp_path, results, known):
    data = {"test": 2874, "categories": 16, "parts": 50} if known else {}
    alone(tmp_path, results, "partseg", lambda values: values["data"].update(data))
    alone(tmp_path, results, "image-fewshot", lambda values: values["data"].update(published=known))
    text = shown(tmp_path)[1].text
    assert (f"{published.PARTS['pretrained'].value} % from a pretrained backbone" in text) is known
    assert ("24.1 ± 0.5" in text) is known  # Table 7: frozen, 1-shot
    assert text.count("not those of the paper") + text.count("not CIFAR-FS") == (0 if known else 2)


def test_what_could_not_be_run_is_named_with_its_reason(tmp_path, results):
    failure = {"model": "run/encoder.plan", "backend": "tensorrt", "device": "cuda", "reason": "no GPU is visible"}

    def corrupt(values):
        values["not_run"] = [failure]
        values["rows"][0] |= {"memory_bytes": None, "floor": None, "gflops": None}

    alone(tmp_path, results, "bench", corrupt)
    text = shown(tmp_path)[1].text
    for words in ("What could not be run", "run/encoder.plan", "TensorRT", "no GPU is visible"):
        assert words in text


def test_curves_lie_at_evenly_spaced_severities_and_within_their_bands():
    places, values = np.array([0.0, 1.0, 3.0]), np.array([0.9, 0.5, 0.1])
    curve = Curve(places, values, values - 0.1, values + 0.1, line_kind(0))
    drawn = share_chart("Noise", ["0", "0.01", "0.05", "0.5"], curves=[curve])
    x, y = np.array([pair.split(",") for pair in re.search(r'<polyline points="([^"]+)"', drawn)[1].split()], float).T
    np.testing.assert_allclose((x[2] - x[1]) / (x[1] - x[0]), 2, atol=0.01)
    np.testing.assert_allclose(y[1] - y[0], y[2] - y[1], atol=0.11)
    assert y[0] < y[2], "the larger is higher"
    band = np.array([pair.split(",") for pair in re.search(r'<polygon points="([^"]+)"', drawn)[1].split()], float)
    assert band[:3, 0].tolist() == band[:2:-1, 0].tolist() == x.tolist()
    assert (band[:3, 1] > y).all()
    assert (band[:2:-1, 1] < y).all()
    labels = [(label, float(at)) for at, label in re.findall(r'x="([\d.]+)"[^>]*text-anchor="middle">([^<]+)<', drawn)]
    assert [label for label, _ in labels] == ["0", "0.01", "0.05", "0.5"]
    assert [at for _, at in labels][::3] == [x[0], x[2]]


def test_models_whose_paths_end_alike_are_told_apart_and_equal_curves_are_one(tmp_path, results):
    def rename(values):
        curves = [curve for curve in values["curves"] if curve["corruption"] == "rotation"][:2]
        for curve, folder in zip(curves, "ab", strict=True):
            curve["model"] |= {"path": f"/{folder}/run/encoder.safetensors", "backend": "pytorch"}
        values["curves"] = [*curves, curves[0]]

    alone(tmp_path, results, "robustness", rename)
    _, page = shown(tmp_path)
    lines = [attributes["class"] for name, attributes in page.tags if name == "polyline"]
    assert lines == ["s0", "s1"]
    for folder in "ab":
        assert f"/{folder}/run/encoder.safetensors (PyTorch, fp32)" in page.pieces


def test_colours_of_lines_repeat_dashed():
    assert len({line_kind(number) for number in range(12)}) == 12
