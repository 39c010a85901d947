"""The command line as a whole: it starts light, knows every command, and ends mistakes in one line."""

import errno
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import asdict

import click
import numpy as np
import pytest
from click.testing import CliRunner

from crosspoint import cli
from crosspoint.cli import crosspoint
from crosspoint.commands import common, embed, export, finetune, library, search, train
from crosspoint.commands.eval import evaluate
from crosspoint.commands.labels import fit
from crosspoint.core.system.interrupt import Terminated
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


@pytest.mark.parametrize("name", ["cloud.npy", "cloud.ply"])
def test_embedding_a_file_imports_no_package_that_it_does_not_use(tmp_path, name):
    points = np.random.default_rng(0).normal(size=(64, 3)).astype("<f4")
    np.save(tmp_path / "cloud.npy", points)
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 64\n{}end_header\n"
    columns = "".join(f"property float {axis}\n" for axis in "xyz")
    (tmp_path / "cloud.ply").write_bytes(header.format(columns).encode() + points.tobytes())
    unused = {*HEAVY, "pyarrow", "plyfile", "psutil", "multiprocessing", "tempfile"} - {"numpy", "onnxruntime"}
    assert imported(tmp_path, "embed", "pointnet", name) & unused == set()


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["data", "list"]])
def test_commands_that_run_no_model_import_no_network_and_no_runtime(tmp_path, arguments):
    unused = {*HEAVY, "importlib.metadata", "urllib.request", "ssl", "email"} - {"numpy", "rich"}
    assert imported(tmp_path, *arguments) & unused == set()


def imported(folder, *arguments):
    """The modules that a command has imported when it ends."""
    code = """
import sys
from crosspoint.cli import crosspoint
crosspoint.main(sys.argv[1:], standalone_mode=False)
print(*sys.modules, sep="\\n", file=sys.stderr)
"""
    run = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


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
        "duplicates",
        "select",
        "fit",
        "predict",
        "segment",
        "eval classify",
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


def command_of(path):
    command = crosspoint
    for name in path:
        command = command.commands[name]
    return command


@pytest.fixture
def run_toy(monkeypatch):
    """Runs a function as a command of `crosspoint`; gives the exit code."""

    def run_as_command(function):
        monkeypatch.setitem(crosspoint.commands, "toy", click.Command("toy", callback=function))
        monkeypatch.setattr(sys, "argv", ["crosspoint", "toy"])
        with pytest.raises(SystemExit) as exit_of:
            cli.main()
        return exit_of.value.code

    return run_as_command


def test_a_command_that_is_asked_to_end_says_so_and_exits_as_a_shell_does(run_toy, capsys):
    def ended():
        raise Terminated(signal.SIGTERM)

    assert run_toy(ended) == 128 + signal.SIGTERM == 143
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "crosspoint: terminated\n")
    assert "143 ended by SIGTERM" in CliRunner().invoke(crosspoint, ["--help"]).output


@pytest.mark.parametrize(("error", "seen"), [(OSError(errno.ENOSPC, "full"), 0), (OSError(errno.EIO, "broken"), 1)])
def test_what_ends_a_thread_is_said_unless_a_full_disk_does_that_itself(run_toy, monkeypatch, error, seen):
    def broken():
        raise error

    def starts_a_thread():
        thread = threading.Thread(target=broken)
        thread.start()
        thread.join()

    said = []
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # which main replaces
    monkeypatch.setattr(threading, "__excepthook__", said.append)
    assert run_toy(starts_a_thread) == 0
    assert len(said) == seen


def test_a_name_that_is_no_text_does_not_end_a_command(run_toy, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    assert run_toy(lambda: print("a\udcff.npy")) == 0
    out.flush()
    assert out.buffer.getvalue() == b"a\\udcff.npy\n"


def test_what_is_known_of_a_data_set_is_listed():
    said = CliRunner().invoke(crosspoint, ["data", "list"]).output
    for known in SETS:
        words = [str(value) for name, value in asdict(known).items() if name != "name"]
        assert known.name in said
        assert all(word.split()[0] in said for word in words if word)
        assert f"name      {known.name}" not in said


@pytest.mark.parametrize("path", [path for path in commands() if path not in GROUPS])
def test_every_command_writes_json(path):
    assert any("--json" in parameter.opts for parameter in command_of(path).params)


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_help_ends_with_an_example(path):
    shown = CliRunner().invoke(crosspoint, [*path, "--help"]).output
    assert shown.endswith(f"\nExample:\n  {command_of(path).example}\n")


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_an_example_is_a_valid_call_of_its_command(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    called = []
    for other in commands():
        if other not in GROUPS:
            monkeypatch.setattr(command_of(other), "callback", lambda other=other, **_: called.append(other))
    program, *arguments = shlex.split(command_of(path).example)
    assert program == "crosspoint"
    crosspoint.main(arguments, standalone_mode=False)
    assert [found[: len(path)] for found in called] == [path]


def choices_of(path, option):
    (found,) = [parameter for parameter in command_of(path).params if option in parameter.opts]
    return tuple(found.type.choices)


def test_values_of_options_are_those_of_the_code_behind_them():
    from crosspoint.classify.heads import HEADS
    from crosspoint.data.frames import UPS
    from crosspoint.eval.image.fewshot import METHODS
    from crosspoint.eval.robustness import CORRUPTIONS
    from crosspoint.export.engine.builder import BUILDERS
    from crosspoint.runtime.jobs.parts import FORMATS
    from crosspoint.runtime.jobs.search import METRICS
    from crosspoint.runtime.library.limits import LEVELS
    from crosspoint.runtime.load import BACKENDS
    from crosspoint.train.partseg.recipes import RECIPES as PART_RECIPES
    from crosspoint.train.pretrain.recipes import CHOICES, RECIPES

    assert common.BACKENDS == BACKENDS
    assert common.UPS == UPS
    assert tuple(RECIPES) == common.RECIPES
    assert tuple(PART_RECIPES) == finetune.RECIPES
    assert (CHOICES["objective"], CHOICES["negatives"]) == (train.OBJECTIVES, train.NEGATIVES)
    assert CHOICES["precision"] == train.PRECISIONS
    assert (*BUILDERS, "device") == export.BUILDERS
    assert (embed.FORMATS, search.METRICS, library.LEVELS) == (FORMATS, METRICS, LEVELS)
    assert ("auto", *HEADS) == fit.HEADS
    assert (METHODS, tuple(CORRUPTIONS)) == (evaluate.METHODS, evaluate.CORRUPTIONS)


@pytest.mark.parametrize(
    ("path", "option"),
    [
        (("train",), "--recipe"),
        (("train",), "--objective"),
        (("train",), "--negatives"),
        (("train",), "--precision"),
        (("finetune", "partseg"), "--recipe"),
        (("export",), "--precision"),
        (("export",), "--builder"),
        (("embed",), "--format"),
        (("search",), "--metric"),
        (("eval", "robustness"), "--corruption"),
        (("eval", "image-fewshot"), "--method"),
        (("reproduce",), "--recipe"),
        *[
            (path, "--backend")
            for path in commands()
            if "--backend" in {o for p in command_of(path).params for o in p.opts}
        ],
    ],
)
def test_shell_completion_offers_the_values_of_an_option(path, option):
    words = shlex.join(["crosspoint", *path, option])
    environment = {**os.environ, "_CROSSPOINT_COMPLETE": "bash_complete"}
    environment |= {"COMP_WORDS": f"{words} ", "COMP_CWORD": str(len(path) + 2)}
    code = "import sys; sys.argv = ['crosspoint']; from crosspoint.cli import main; main()"
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert shown.stdout.splitlines() == [f"plain,{value}" for value in choices_of(path, option)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trian",), "No such command 'trian'"),
        (("export", "run", "--out", "bundle", "--precision", "fp17"), "'fp17' is not one of 'fp32', 'fp16'"),
        (("export", "run", "--out", "bundle", "--precission", "fp16"), "No such option"),
        (("reproduce",), "Missing argument"),
        (("--quiet", "--verbose", "data", "list"), "--quiet and --verbose exclude each other"),
    ],
)
def test_a_wrong_call_is_one_line_that_names_the_help(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert " --help" in done.stderr


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option):
    assert CliRunner().invoke(crosspoint, [option]).output.startswith("crosspoint, version ")


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("cloud.npy", np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32))
    np.save("bad.npy", np.zeros(3, np.float32))


def test_quiet_shows_results_and_errors_but_no_tables(cloud):
    usual = CliRunner().invoke(crosspoint, ["embed", "pointnet", "cloud.npy", "bad.npy"])
    quiet = CliRunner().invoke(crosspoint, ["--quiet", "embed", "pointnet", "cloud.npy", "bad.npy"])
    assert "embeddings.npz: 1 embedding of" in quiet.output
    assert "Skipped" in usual.output
    assert "Skipped" not in quiet.output
    assert str(quiet.exception).startswith("1 inputs were skipped")


def test_verbose_says_on_standard_error_what_was_done_with_file_and_seconds(cloud):
    shown = CliRunner().invoke(crosspoint, ["--verbose", "embed", "pointnet", "cloud.npy"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("\n") == 1
    for action in (r"open \S*pointnet.onnx on cpu", "read cloud.npy", r"write embeddings.npz"):
        assert re.search(rf"^crosspoint: {action}: \d+\.\d\d s$", shown.stderr, re.MULTILINE), shown.stderr


def test_a_command_is_not_verbose_after_one_that_was(cloud):
    CliRunner().invoke(crosspoint, ["--verbose", "embed", "pointnet", "cloud.npy"])
    assert CliRunner().invoke(crosspoint, ["embed", "pointnet", "cloud.npy", "--up", "y"]).stderr == ""


def test_quickstart_refuses_a_folder_in_use(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = run("quickstart", "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_command_that_has_ended_is_not_ended_again(monkeypatch):
    kept = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "_run", lambda: 0)
    try:
        with pytest.raises(SystemExit):
            cli.main()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, kept)


def failing(error):
    def command(**_):
        raise error

    return command


def test_an_error_of_the_system_that_names_no_file_keeps_its_trace(monkeypatch):
    error = OSError(errno.EIO, "broken")
    monkeypatch.setattr(crosspoint, "main", failing(error))
    with pytest.raises(OSError, match="broken") as raised:
        cli._run()
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "a file: No space left on device; free space, then try again",
        ),
        (OSError(errno.ENAMETOOLONG, "too long", "x"), "x: too long; check the path and its permissions"),
    ],
)
def test_an_error_of_the_system_that_names_a_file_or_a_full_disk_is_one_line(monkeypatch, capsys, error, message):
    monkeypatch.setattr(crosspoint, "main", failing(error))
    assert cli._run() == 2
    assert capsys.readouterr().err == f"crosspoint: {message}\n"


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_default_is_shown_in_the_help(path):
    for parameter in command_of(path).params:
        if isinstance(parameter, click.Option) and not parameter.is_flag and not parameter.required:
            default = parameter.to_info_dict()["default"]
            if isinstance(default, str | int | float | list | tuple) and default not in ("", (), []):
                assert parameter.show_default, f"--{parameter.name} does not show {default!r}"
