"""An edge device without matplotlib embeds, searches and measures; what is to be drawn is refused in one line."""

import subprocess
import sys

import numpy as np
import pytest

from crosspoint.cli import crosspoint
from crosspoint.core.errors import MissingDependency

pytest.importorskip("onnxruntime")

BLOCKED = "import sys; sys.modules['matplotlib'] = None"  # as if it were not installed


@pytest.fixture
def clouds(tmp_path):
    """A folder of three clouds."""
    folder = tmp_path / "clouds"
    folder.mkdir()
    for i, points in enumerate(np.random.default_rng(0).normal(size=(3, 64, 3)).astype(np.float32)):
        np.save(folder / f"{i}.npy", points)
    return folder


def test_commands_without_a_picture_run(clouds, tmp_path):
    index = tmp_path / "e.npz"
    calls = [
        ["embed", clouds, "--model", "pointnet", "--out", index, "--backend", "onnxruntime"],
        ["search", clouds / "0.npy", "--in", index],
        ["bench", "pointnet", "--seconds", "0", "--points", "64", "--batch", "1", "--backend", "onnxruntime"],
    ]
    words = [list(map(str, call)) for call in calls]
    run = f"from crosspoint.cli import crosspoint\nfor call in {words}: crosspoint.main(call, standalone_mode=False)"
    done = subprocess.run([sys.executable, "-c", f"{BLOCKED}\n{run}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert index.is_file()


@pytest.mark.parametrize(
    "line",
    [
        "search CLOUD --in e.npz --out a.png",
        "bench pointnet --seconds 0 --out a.png",
        "diagnose pointnet pointnet --out a.png",
        "eval svm pointnet --data DATA --out a",
        "eval robustness pointnet --data DATA --out a",
        "eval partseg pointnet --data DATA --out a",
        "reproduce table1 --data DATA --out a",
        "data make-shapes --out shapes --sheet a.png",
    ],
)
def test_a_picture_is_refused_in_one_line_before_any_work(line, clouds, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.chdir(tmp_path)
    words = line.replace("CLOUD", str(clouds / "0.npy")).replace("DATA", str(clouds)).split()
    with pytest.raises(MissingDependency, match=r"^drawing a picture needs the package matplotlib .*\[plots\]'$"):
        crosspoint.main(words, standalone_mode=False)
    assert list(tmp_path.iterdir()) == [clouds]
