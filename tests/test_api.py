"""The public API: names that hold in any order of imports, and files as well as arrays."""

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from click.testing import CliRunner

import crosspoint
from crosspoint.cli import crosspoint as cli

PACKAGES = ("", ".runtime", ".models", ".train", ".export", ".eval", ".parity", ".data", ".evaluate")


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import crosspoint.export.bundle, crosspoint; assert callable(crosspoint.export)",
        "import crosspoint; crosspoint.export.__call__; import crosspoint.export.bundle; crosspoint.export.__call__",
        "import crosspoint.parity.limits, crosspoint; crosspoint.parity.__call__",
        "from crosspoint.export import bundle; assert bundle.__name__ == 'crosspoint.export.bundle'",
        "from crosspoint.train import train; from crosspoint import train as same; assert train is same",
    ],
)
def test_a_function_wins_over_the_package_of_its_name(code):
    run(code)


def test_importing_the_package_imports_nothing_heavy():
    run("import sys, crosspoint; assert not {'numpy', 'torch', 'sklearn'} & set(sys.modules)")


def test_what_needs_torch_says_so_where_it_is_missing():
    run(
        "import sys; sys.modules['torch'] = None\n"
        "import crosspoint\n"
        "try: crosspoint.train\n"
        "except crosspoint.core.errors.MissingDependency as error: assert '[train]' in str(error)\n"
        "else: raise AssertionError"
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_all_names_are_there(package):
    module = import_module(f"crosspoint{package}")
    if package in (".eval", ".parity"):
        assert all(import_module(f"crosspoint{package}.{name}") for name in module.__all__)
    else:
        assert all(getattr(module, name) is not None for name in module.__all__)


def test_files_give_what_the_command_gives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, points in (("a", 1100), ("b", 30), ("c", 1100), ("d", 40)):
        np.save(f"{name}.npy", rng.normal(size=(points, 3)).astype(np.float32))
    files = ["a.npy", "b.npy", "c.npy", "d.npy"]
    assert CliRunner().invoke(cli, ["embed", "pointnet", *files, "--seed", "3"]).exit_code == 0
    with crosspoint.load("pointnet") as encoder, np.load("embeddings.npz") as command:
        np.testing.assert_array_equal(encoder.embed(files, seed=3), command["embeddings"])
        np.testing.assert_array_equal(encoder.embed("d.npy", seed=3), command["embeddings"][3:])
        assert repr(encoder).startswith("<OnnxEncoder pointnet: ")
        assert repr(encoder).endswith(f"fp32, onnxruntime on cpu, {encoder.specification.path}>")
