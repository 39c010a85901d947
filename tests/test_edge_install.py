"""An edge device with the base dependencies and the extra `cpu` alone runs models; other commands name their extra."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_models import write_classifier

from crosspoint.core.errors import DISTRIBUTIONS
from crosspoint.runtime.backends.kernels import LIBRARY

pytest.importorskip("onnxruntime")

ABSENT = {
    *("torch", "torchvision", "tensorboard", "sklearn", "scipy", "joblib", "matplotlib", "PIL", "h5py", "jinja2"),
    *("markupsafe", "embreex", "laspy", "lazrs", "pye57", "rosbags", "pyarrow", "cryptography", "ray", "cuda"),
    *("tensorrt", "tensorrt_rtx", "triton", "onnx", "ml_dtypes"),
}
RUN = f"""
import sys

class Installed:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in {ABSENT!r}
        return None if absent else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Installed, sys.meta_path)
import crosspoint.runtime
from crosspoint.cli import crosspoint, main
from crosspoint.core.errors import CrosspointError

for line in sys.argv[1:]:
    try:
        crosspoint.main(line.split(), standalone_mode=False)
    except CrosspointError as error:
        print(f"refused: {{line}}: {{error}}")
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with clouds, a classifier and embeddings' future place."""
    (tmp_path / "clouds").mkdir()
    for i, points in enumerate(np.random.default_rng(0).normal(size=(3, 64, 3)).astype(np.float32)):
        np.save(tmp_path / "clouds" / f"{i}.npy", points)
    write_classifier(tmp_path / "classifier.onnx", ("chair", "table"))
    (tmp_path / "mesh.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n")
    (tmp_path / "set.h5").write_bytes(b"")
    return tmp_path


def run(folder, *lines):
    done = subprocess.run([sys.executable, "-c", RUN, *lines], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_run_without_any_other_extra(folder):
    printed = run(
        folder,
        "embed pointnet clouds mesh.obj --out e.npz",
        "embed dgcnn clouds/0.npy --out one.npz",
        "search clouds/0.npy --in e.npz",
        "select e.npz --keep 2",
        "predict classifier.onnx clouds",
        "bench pointnet --seconds 0 --points 64 --batch 1 --backend onnxruntime",
        "parity pointnet pointnet --data clouds --points 64",
        "models",
        "data list",
    )
    assert "refused" not in printed
    assert (folder / "one.npz").is_file()


@pytest.mark.skipif(not LIBRARY.is_file(), reason="the CPU operators are not compiled")
@pytest.mark.parametrize("name", ["dgcnn", "pointnet"])
def test_the_cpu_operators_need_no_other_package(folder, name):
    assert "crosspoint operators" in run(folder, f"embed {name} clouds --json -")


REFUSED = {
    "eval svm pointnet --data set": "eval",
    "eval fewshot pointnet --data set": "eval",
    "eval robustness pointnet --data set": "eval",
    "duplicates e.npz": "eval",
    "embed clouds --objects": "objects",
    "data objects clouds/0.npy --out o": "objects",
    "data make-shapes --out s": "render",
    "data render clouds --out s": "render",
    "report run": "report",
    "reproduce table1 --data set --out o": "plots",
    "train --data clouds --out o": "train",
    "export pointnet --out o": "train",
    "fit clouds --out o": "train",
    "quickstart": "train",
}


def test_other_commands_name_the_extra_that_they_need_before_any_work(folder):
    before = {*folder.rglob("*")}
    printed = run(folder, *REFUSED).splitlines()
    found = [
        re.match(r"refused: (.*): [^:]* needs the package [\w-]+ \(it is not installed\): .*\[(\w+)\]'?$", line)
        for line in printed
    ]
    assert dict(match.groups() for match in found if match) == REFUSED, printed
    assert {*folder.rglob("*")} == before


def test_what_an_extra_is_needed_for_is_in_an_extra_alone():
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()  # read by hand: Python 3.10 has no tomllib
    base = re.findall(r'^    "([\w-]+)', project.partition("dependencies = [")[2].partition("]")[0], re.MULTILINE)
    assert not set(base) & {DISTRIBUTIONS.get(name, name) for name in ABSENT}
