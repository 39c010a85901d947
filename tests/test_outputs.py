"""No command replaces what is not its own, and every one says so in one line before the work."""

import json
import os
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.core.files import write_json
from crosspoint.core.workspaces import fresh_path
from crosspoint.quickstart import quickstart

USED = {
    "reproduce": ["table1"],
    "doctor": ["--self-test"],
    "import": ["x", "--k", "1", "--out", "x.safetensors"],
    "select": ["x", "--keep", "1"],
}


def commands(group=crosspoint, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


def find(name):
    command = crosspoint
    for word in name.split():
        command = command.commands[word]
    return command


def needed(command):
    """Arguments that a command asks for; none of the files is there, so that the work could not begin."""
    found = []
    for parameter in command.params:
        if parameter.required and isinstance(parameter, click.Argument):
            found.append("nothing")
        elif parameter.required:
            found += [parameter.opts[0], "nothing.safetensors" if parameter.name == "out" else "nothing"]
    return found


def run(*arguments):
    """What a command says when it refuses."""
    outcome = CliRunner().invoke(crosspoint, [*map(str, arguments)])
    if not isinstance(outcome.exception, InputError):
        raise AssertionError(f"{arguments} ended with {outcome.exception!r}: {outcome.output}")
    assert "\n" not in str(outcome.exception)
    return str(outcome.exception)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with things that nobody wants to lose."""
    monkeypatch.chdir(tmp_path)
    Path("package.json").write_text('{"name": "my web app"}')
    Path("notes.txt").write_text("mine")
    Path("folder").mkdir()
    Path("folder/notes.txt").write_text("mine")
    Path("link").symlink_to("notes.txt")
    Path("folder_link").symlink_to("folder")
    os.mkfifo("pipe")
    return tmp_path


@pytest.fixture
def untouched(place):
    """Makes sure that at the end everything is as it was."""

    def state():
        return {
            path: path.lstat()[:7] if path.is_dir() or not path.is_file() else (path.lstat()[:7], path.read_bytes())
            for path in place.rglob("*")
            if not path.is_dir() or path.is_symlink()
        }

    before = state()
    yield place
    assert state() == before


@pytest.mark.parametrize("to", ["/dev/null", "package.json", "notes.txt", "folder", "link", "pipe", ".", "/proc/a"])
@pytest.mark.parametrize("name", list(commands()))
def test_json_goes_nowhere_where_something_else_is(untouched, name, to):
    arguments = USED.get(name) or needed(find(name))
    assert "--json" in run(*name.split(), *arguments, "--json", to)


def test_json_on_standard_output_stands_alone(monkeypatch):
    for to in ("-", "/dev/stdout"):
        outcome = CliRunner().invoke(crosspoint, ["data", "list", "--json", to], catch_exceptions=False)
        assert json.loads(outcome.stdout)["schema"] == "crosspoint.data-list/1"
        assert "ModelNet40" in outcome.stderr


def test_an_earlier_result_is_replaced(place):
    write_json(Path("a.json"), {"schema": "crosspoint.data-list/1", "old": True})
    outcome = CliRunner().invoke(crosspoint, ["data", "list", "--json", "a.json"], catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "old" not in json.loads(Path("a.json").read_text())


REPLACED = {
    "export": ["export", "nothing.safetensors", "--out"],
    "make-shapes": ["data", "make-shapes", "--out"],
    "pack": ["data", "pack", "nothing", "--out"],
    "triton": ["export", "nothing.safetensors", "--out", "new", "--triton"],
}
INTO = {
    "embed parts": ["embed", "nothing.onnx", "nothing", "--out"],
    "train": ["train", "--data", "nothing", "--device", "cpu", "--out"],
    "finetune": ["finetune", "partseg", "--data", "nothing", "--device", "cpu", "--out"],
    "quickstart": ["quickstart", "--out"],
}
FILES = {
    "embed": (["embed", "nothing.onnx", "nothing", "--out"], ".npz"),
    "embed npy": (["embed", "nothing.onnx", "nothing", "--out"], ".npy"),
    "search": (["search", "nothing", "--in", "nothing.npz", "--out"], ".png"),
    "duplicates": (["duplicates", "nothing", "--out"], ".csv"),
    "duplicates page": (["duplicates", "nothing", "--page"], ".html"),
    "select": (["select", "nothing", "--keep", "3", "--out"], ".csv"),
    "predict": (["predict", "nothing", "nothing", "--out"], ".csv"),
    "segment": (["segment", "nothing", "nothing", "--category", "chair", "--out"], ".ply"),
    "bench": (["bench", "nothing", "--out"], ".png"),
    "diagnose": (["diagnose", "nothing", "nothing", "--out"], ".png"),
    "report": (["report", "nothing", "--out"], ".html"),
    "import": (["import", "nothing.pth", "--k", "1", "--out"], ".safetensors"),
    "sheet": (["data", "make-shapes", "--out", "new", "--sheet"], ".png"),
}


@pytest.mark.parametrize("to", ["folder", "folder_link", "notes.txt", "/dev/null", "/", "/proc/a", ".", "notes.txt/a"])
@pytest.mark.parametrize("arguments", {**REPLACED, **INTO}.values(), ids={**REPLACED, **INTO})
def test_a_folder_that_is_something_else_is_refused(untouched, arguments, to):
    if to in ("folder", ".") and ("--triton" in arguments or "embed" in arguments):
        return  # a repository holds other models too; a folder of parts is looked at when the job is known
    said = run(*arguments, f"{to}/" if arguments[0] == "embed" and to == "notes.txt" else to)
    assert "nothing" not in said, "the place is looked at before the input"


@pytest.mark.parametrize(("arguments", "kind"), FILES.values(), ids=FILES)
def test_a_file_that_is_something_else_is_refused(untouched, arguments, kind):
    for name in ("foreign", "to_file"):
        path = untouched / f"{name}{kind}"
        path.symlink_to("notes.txt") if name == "to_file" else path.write_text("mine")
    try:
        for to in (f"foreign{kind}", f"to_file{kind}", f"notes.txt/a{kind}", f"/proc/a{kind}"):
            said = run(*arguments, to)
            assert "exists and is not" in said or "symbolic link" in said or "cannot write" in said, said
        assert (untouched / f"foreign{kind}").read_text() == "mine"
        assert (untouched / f"to_file{kind}").readlink() == Path("notes.txt")
    finally:
        for name in ("foreign", "to_file"):
            (untouched / f"{name}{kind}").unlink()


EVALUATIONS = {
    "svm": (["eval", "svm", "nothing", "--data", "nothing"], "confusion.png"),
    "robustness": (["eval", "robustness", "nothing", "--data", "nothing"], "robustness.png"),
    "partseg": (["eval", "partseg", "nothing", "--data", "nothing"], "partseg_worst.png"),
    "table": (["reproduce", "table1", "--data", "nothing"], "table1.md"),
}


@pytest.mark.parametrize(("arguments", "picture"), EVALUATIONS.values(), ids=EVALUATIONS)
def test_an_evaluation_s_folder_and_pictures_are_looked_at_before(untouched, arguments, picture):
    for to in ("notes.txt", "folder_link", "/dev/null", "/proc/a"):
        assert "nothing" not in run(*arguments, "--out", to)
    Path("folder", picture).write_text("mine")
    try:
        assert f"{picture} exists and is not" in run(*arguments, "--out", "folder")
    finally:
        Path("folder", picture).unlink()


@pytest.mark.parametrize("name", ["svm", "fewshot", "robustness", "image-fewshot"])
def test_a_cache_is_a_folder(untouched, name):
    assert "--cache" in run("eval", name, "nothing", "--data", "nothing", "--cache", "notes.txt")


def test_embeddings_are_never_written_over_or_into_what_is_embedded(untouched):
    scans = untouched / "scans"
    scans.mkdir()
    np.save(scans / "scan.npy", np.zeros((40, 3), np.float32))
    np.savez(scans / "scan.npz", points=np.zeros((40, 3), np.float32))
    before = {path: path.read_bytes() for path in scans.iterdir()}
    for kind in ("npy", "npz"):
        assert "is also an input" in run("embed", f"scans/scan.{kind}", "--out", f"scans/scan.{kind}")
    for to in ("scans", "scans/parts/", "scans/new.npz"):
        assert "input" in run("embed", "scans", "--out", to)
    assert {path: path.read_bytes() for path in scans.iterdir()} == before
    for path in before:
        path.unlink()


@pytest.mark.parametrize(
    "manifest",
    [
        '{"name": "my web app", "icons": []}',
        '{"schema": "crosspoint.manifest/1"}',
        '{"schema": "crosspoint.parity/1", "files": {}}',
        "[]",
        "{",
        '{"schema": "crosspoint.manifest/1", "files": {}}',
    ],
)
@pytest.mark.parametrize("command", ["export", "build"])
def test_a_bundle_is_replaced_only_if_it_is_one_and_nothing_else(untouched, command, manifest):
    folder = untouched / "web"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest)
    (folder / "index.html").write_text("mine")
    arguments = ["build", "web"] if command == "build" else ["export", "nothing.safetensors", "--out", "web"]
    said = run(*arguments)
    assert "web" in said
    assert "nothing.safetensors" not in said
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "manifest.json"]
    assert (folder / "manifest.json").read_text() == manifest
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "settings",
    [
        '{"colour": "red"}',
        '{"schema": "crosspoint.make-shapes/1"}',
        '{"schema": "crosspoint.make-shapes/1", "per_class": 1, "views": 1}',
        '{"schema": "crosspoint.make-shapes/1", "per_class": 1e300, "views": null}',
    ],
)
def test_shapes_are_replaced_only_if_they_were_made_here_and_nothing_else(untouched, settings):
    folder = untouched / "shapes"
    folder.mkdir()
    (folder / "shapes.json").write_text(settings)
    (folder / "drawing.svg").write_text("mine")
    assert "shapes" in run("data", "make-shapes", "--out", "shapes")
    assert (folder / "drawing.svg").read_text() == "mine"
    for path in folder.iterdir():
        path.unlink()


def test_a_sheet_inside_the_shapes_is_refused(untouched):
    assert "--sheet" in run("data", "make-shapes", "--out", "new", "--sheet", "new/sheet.png")


def test_a_triton_model_of_others_is_not_replaced(untouched):
    model = untouched / "models" / "new"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text('name: "new"')
    assert "this package did not write" in run("export", "nothing.safetensors", "--out", "new", "--triton", "models")
    (model / "config.pbtxt").write_text("crosspoint_model_sha256")
    (model / "1" / "labels.txt").write_text("mine")
    assert "labels.txt was not written" in run("export", "nothing.safetensors", "--out", "new", "--triton", "models")
    for path in (model / "1" / "labels.txt", model / "config.pbtxt"):
        path.unlink()


def test_renderings_and_packs_are_not_written_into_their_source(untouched):
    meshes = untouched / "meshes"
    meshes.mkdir()
    (meshes / "a.off").write_text("OFF")
    pytest.importorskip("embreex")
    for to in ("meshes", "meshes/out"):
        assert "input" in run("data", "render", "meshes", "--out", to)
        assert "input" in run("data", "pack", "meshes", "--out", to)
    for to in ("folder", "folder_link", "notes.txt"):
        assert "meshes" not in run("data", "render", "meshes", "--out", to)
    (meshes / "a.off").unlink()


def test_a_report_is_not_written_over_what_it_shows(untouched):
    results = untouched / "results"
    results.mkdir()
    write_json(results / "svm.json", {"schema": "crosspoint.svm/1"})
    assert "is not a .html file" in run("report", "results", "--out", "results/svm.json")
    (results / "report.html").write_text("<html>mine</html>")
    assert "is not a .html file" in run("report", "results")
    for path in results.iterdir():
        path.unlink()


def test_resuming_a_run_removes_nothing_but_its_own_temporary_files(tmp_path):
    pytest.importorskip("torch")
    from crosspoint.train.engine.run_folder import tidy

    kept = [".git/config", ".gitignore", ".config.json.x1", "checkpoints/.notes/a", "checkpoints/step-00000001.pt"]
    for name in kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for folder in (tmp_path, tmp_path / "checkpoints"):
        (fresh_path(folder) / "new").mkdir(parents=True)
    tidy(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(found) == sorted(kept)
    assert not list(tmp_path.rglob(".crosspoint-*"))


class Begun(Exception):
    """Of the first step of the quickstart, instead of its work."""


def begin_quickstart(out, monkeypatch):
    def first_step(*_, **__):
        raise Begun

    monkeypatch.setattr("crosspoint.data.shapes.make_shapes.make_shapes", first_step)
    quickstart(out, seed=3)


def test_an_interrupted_quickstart_is_gone_on_with_and_nothing_else_is(tmp_path, monkeypatch):
    with pytest.raises(Begun):
        begin_quickstart(tmp_path / "out", monkeypatch)
    (tmp_path / "out" / "run").mkdir()
    with pytest.raises(Begun):
        begin_quickstart(tmp_path / "out", monkeypatch)
    for content in (
        {"schema": "crosspoint.quickstart/1", "seed": 4, "finished": False},
        {"schema": "crosspoint.quickstart/1", "seed": 3, "finished": True},
        {"schema": "crosspoint.svm/1", "seed": 3, "finished": False},
        [],
    ):
        write_json(tmp_path / "out" / "quickstart.json", content)
        with pytest.raises(InputError, match="exists and is not empty"):
            begin_quickstart(tmp_path / "out", monkeypatch)
