"""The command line as a whole: it starts light, knows every command, and ends mistakes in one line."""

import errno
import io
import signal
import subprocess
import sys
import threading
from dataclasses import asdict

import click
import pytest
from click.testing import CliRunner

from crosspoint import cli
from crosspoint.cli import crosspoint
from crosspoint.core.interrupt import Terminated
from crosspoint.data.sets.catalogue import SETS

HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "trimesh", "h5py", "rich", "onnx", "onnxruntime", "numpy", "PIL")


def commands(group=crosspoint, path=()):
    yield path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "crosspoint", *arguments], capture_output=True, text=True, check=False)


def test_no_help_imports_anything_heavy():
    calls = [[*path, "--help"] for path in commands()]
    code = f"""
import sys
from crosspoint.cli import crosspoint
for call in {calls!r}:
    crosspoint.main(call, standalone_mode=False)
found = [name for name in {HEAVY!r} if name in sys.modules]
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == len(calls)


GROUPS = {(), ("data",), ("eval",), ("finetune",)}


def test_commands_of_the_contract_are_there():
    paths = {" ".join(path) for path in commands()}
    assert {
        "quickstart",
        "data list",
        "data verify",
        "data make-shapes",
        "data render",
        "data pack",
        "train",
        "finetune partseg",
        "import",
        "export",
        "build",
        "embed",
        "search",
        "eval svm",
        "eval fewshot",
        "eval partseg",
        "eval robustness",
        "eval image-fewshot",
        "reproduce",
        "parity",
        "diagnose",
        "doctor",
        "report",
    } <= paths


@pytest.mark.parametrize("path", [path for path in commands() if path not in GROUPS])
def test_every_command_writes_json(path):
    command = crosspoint
    for name in path:
        command = command.commands[name]
    assert any("--json" in parameter.opts for parameter in command.params)


def test_a_command_that_is_asked_to_end_says_so_and_exits_as_a_shell_does(monkeypatch, capsys):
    def ended():
        raise Terminated(signal.SIGTERM)

    monkeypatch.setattr(cli, "_run", ended)
    with pytest.raises(SystemExit) as exit_of:
        cli.main()
    assert exit_of.value.code == 128 + signal.SIGTERM == 143
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "crosspoint: terminated\n")


@pytest.mark.parametrize(("error", "seen"), [(OSError(errno.ENOSPC, "full"), 0), (OSError(errno.EIO, "broken"), 1)])
def test_what_ends_a_thread_is_said_unless_a_full_disk_does_that_itself(monkeypatch, error, seen):
    said = []
    monkeypatch.setattr(threading, "__excepthook__", said.append)
    cli._of_thread(threading.ExceptHookArgs((type(error), error, None, None)))
    assert len(said) == seen


def test_a_name_that_is_no_text_does_not_end_a_command(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(cli, "_run", lambda: print("a\udcff.npy") or 0)
    with pytest.raises(SystemExit) as exit_of:
        cli.main()
    out.flush()
    assert (exit_of.value.code, out.buffer.getvalue()) == (0, b"a\\udcff.npy\n")


def test_what_is_known_of_a_data_set_is_listed():
    said = CliRunner().invoke(crosspoint, ["data", "list"]).output
    for known in SETS:
        words = [str(value) for name, value in asdict(known).items() if name != "name"]
        assert known.name in said
        assert all(word.split()[0] in said for word in words if word)
        assert f"name      {known.name}" not in said


def test_version_and_unknown_command():
    assert run("--version").stdout.startswith("crosspoint, version ")
    done = run("trian")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_quickstart_refuses_a_folder_in_use(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = run("quickstart", "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "mine.txt").read_text() == "mine"
