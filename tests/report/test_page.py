"""The page as a whole: complete, harmless, the same each time, and what of a folder is not shown."""

import base64
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from report_folders import metrics, read, write

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.sets.datasets import load_classification
from crosspoint.report.page import _about, report
from crosspoint.report.records import QuickstartSummary, RunConfig, TrainedOn
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, save

HOSTILE = "<script>alert(1)</script>\"'&"


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


def test_without_jinja_the_reason_is_one_line():
    code = "import sys; sys.modules['jinja2'] = None; import crosspoint.report"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith(
        "crosspoint.core.errors.MissingDependency: the report needs the package jinja2"
    )


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
