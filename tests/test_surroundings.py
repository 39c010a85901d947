"""What a process leaves alone and can do without: the network, the user's home and what is printed there."""

import os
import subprocess
import sys

import numpy as np
import pytest

RUN = (
    "import os, sys, numpy as np, crosspoint\n"
    "with crosspoint.load('pointnet') as encoder:\n"
    "    print(encoder.embed(np.random.default_rng(0).normal(size=(1, 64, 3)), normalise=True).shape)\n"
    "print(os.environ['ORT_DISABLE_TELEMETRY'])\n"
)


def run(code, **environment):
    pytest.importorskip("onnxruntime")
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "ORT_DISABLE_TELEMETRY")}
    kept = {name: value for name, value in kept.items() if not name.startswith("XDG_")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**kept, **environment}
    )


def test_onnx_runtime_keeps_no_telemetry(tmp_path):
    result = run(RUN, HOME=str(tmp_path))
    assert result.stdout.split("\n")[:2] == ["(1, 1024)", "1"]
    assert list(tmp_path.rglob("*")) == []


def test_the_users_own_choice_of_telemetry_is_kept():
    code = "import os, crosspoint; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(code, ORT_DISABLE_TELEMETRY="0").stdout == "0\n"


@pytest.mark.parametrize("home", [None, "nonexistent", "file"])
def test_no_home_is_needed(home, tmp_path):
    (tmp_path / "file").touch()
    result = run(RUN, TMPDIR=str(tmp_path / "file"), **({} if home is None else {"HOME": str(tmp_path / home)}))
    assert result.stdout.startswith("(1, 1024)")
    assert result.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_names_that_are_not_utf8_go_through_a_job(tmp_path):
    folder = tmp_path / "clouds"
    folder.mkdir()
    rows = "\n".join(" ".join(map(str, row)) for row in np.random.default_rng(0).normal(size=(64, 3)))
    for name in (b"\xff\xfe.xyz", b"\xff\xfd.xyz", b"a\n\x1b[31m.xyz"):
        (folder / os.fsdecode(name)).write_text(rows)
    (folder / os.fsdecode(b"bad\xff\n.xyz")).write_text("nothing")
    code = "import sys; from crosspoint.cli import main; sys.argv[1:] = {}; main()"
    for out in ("o.npz", "parts"):
        arguments = ["embed", "--model", "pointnet", str(folder), "--out", str(tmp_path / out), "--up", "y"]
        if out == "parts":
            arguments += ["--format", "npz"]
        with pytest.raises(subprocess.CalledProcessError) as caught:
            run(code.format(arguments))
        assert caught.value.returncode == 1
        assert caught.value.stderr == "crosspoint: 1 inputs were skipped; repair or remove them\n"
        assert r"bad\xff\n.xyz" in caught.value.stdout
    with np.load(tmp_path / "o.npz") as file:
        assert file["names"].tolist() == ["a\n\x1b[31m.xyz", r"\xff\xfd.xyz", r"\xff\xfe.xyz"]
