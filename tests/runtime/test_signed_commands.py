"""Every command that opens a bundle refuses one that the key does not cover, and runs one that it does."""

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from crosspoint.cli import main
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.manifest import sign_bundle
from crosspoint.runtime.options import Sampling
from crosspoint.runtime.signing import VARIABLE, read_signing_key, write_key_pair

COMMANDS = {
    "embed": "embed BUNDLE DATA --out OUT/e.npz",
    "embed a job": "embed BUNDLE DATA --out OUT/job",
    "bench": "bench BUNDLE --seconds 0 --points 16 --batch 3",
    "search": "search CLOUD --in INDEX --model BUNDLE --up y",
    "svm": "eval svm BUNDLE --data DATA --points 16",
    "svm, against": "eval svm pointnet --against BUNDLE --data DATA --points 16",
    "fewshot": "eval fewshot BUNDLE --data DATA --points 16 --ways 2 --shots 2 --queries 2 --runs 2",
    "robustness": "eval robustness BUNDLE --data DATA --points 16 --corruption rotation",
    "partseg": "eval partseg BUNDLE --data PARTS --points 16",
    "parity, reference": "parity BUNDLE pointnet --data DATA --points 16",
    "parity, candidate": "parity pointnet BUNDLE --data DATA --points 16",
    "diagnose, reference": "diagnose BUNDLE pointnet --points 16",
    "diagnose, candidate": "diagnose pointnet BUNDLE --points 16",
    "reproduce": "reproduce table1 --model dgcnn=BUNDLE --data DATA --out OUT/r",
    "report": "report BUNDLE --out OUT/report.html",
    "build": "build BUNDLE",
}
RUN = ("embed", "embed a job", "bench", "search", "svm", "report")  # what the small model is large enough for


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes in ModelNet40's format, of four clouds to train on and two to test on."""
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    folder.mkdir()
    for split, count in (("train", 8), ("test", 4)):
        labels = np.arange(count) % 2
        points = np.random.default_rng(count).standard_normal((count, 16, 3)) * (1 + labels[:, None, None])
        with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
            file["data"], file["label"] = points.astype(np.float32), labels.astype(np.uint8)[:, None]
    (folder / "shape_names.txt").write_text("near\nfar\n")
    return folder


@pytest.fixture
def run(
    bundle: Path,
    data: Path,
    tmp_path: Path,
    write_parts: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:
    """Runs a line of COMMANDS; gives the exit code and the last line of what it said."""
    monkeypatch.delenv(VARIABLE, raising=False)
    for name in ("fleet", "other"):
        write_key_pair(tmp_path / name)
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32))
    places = {"BUNDLE": bundle, "DATA": data, "OUT": tmp_path, "CLOUD": tmp_path / "cloud.npy"}

    def run(line: str, *options: str, key_file: Path | None = None) -> tuple[int, str]:
        if "INDEX" in line:
            embed(bundle, [data], out=tmp_path / "index.npz", sampling=Sampling(16))
        if "PARTS" in line:
            places["PARTS"] = write_parts(tmp_path / "parts")
        if key_file is not None:
            monkeypatch.setenv(VARIABLE, str(key_file))
        words = {**places, "INDEX": tmp_path / "index.npz"}
        arguments = [re.sub("[A-Z]{3,}", lambda found: str(words[found[0]]), word) for word in line.split()]
        monkeypatch.setattr("sys.argv", ["crosspoint", *arguments, *options])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr().err.splitlines()
        return int(stop.value.code or 0), said[-1] if said and stop.value.code else ""

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unsigned_bundle_is_refused_by_the_option(name: str, run: Callable, tmp_path: Path) -> None:
    code, line = run(COMMANDS[name], "--verify-key", str(tmp_path / "fleet.pub"))
    assert (code, line.startswith("crosspoint: "), "is not signed: manifest.sig is missing" in line) == (2, True, True)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bundle_of_another_key_is_refused_by_the_environment(
    name: str, run: Callable, bundle: Path, tmp_path: Path
) -> None:
    sign_bundle(bundle, read_signing_key(tmp_path / "other"))
    code, line = run(COMMANDS[name], key_file=tmp_path / "fleet.pub")
    assert (code, "was signed with the key" in line) == (2, True)


@pytest.mark.parametrize("name", RUN)
def test_a_signed_bundle_runs(name: str, run: Callable, bundle: Path, tmp_path: Path) -> None:
    sign_bundle(bundle, read_signing_key(tmp_path / "fleet"))
    assert run(COMMANDS[name], "--verify-key", str(tmp_path / "fleet.pub")) == (0, "")
