"""The command as a whole, also where neither torch nor onnxruntime can be imported."""

import json
import os
import subprocess
import sys

BLOCKED = (
    "torch",
    "torchvision",
    "onnxruntime",
    "onnx",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "scipy",
    "sklearn",
    "h5py",
)


def run(folder, *arguments, path=""):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([path, os.getcwd()])}
    command = [sys.executable, "-m", "crosspoint", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_it_runs_where_nothing_is_installed(tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in BLOCKED:
        (packages / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name='{name}')")
    os.symlink(os.path.join(os.getcwd(), "crosspoint"), tmp_path / "crosspoint")
    done = run(tmp_path, "--json", str(tmp_path / "a.json"), path=str(packages))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["schema"] == "crosspoint.doctor/1"
    commands = {entry["command"]: entry for entry in result["commands"]}
    assert commands["train, finetune"]["can"] == "no"
    assert commands["train, finetune"]["install"].endswith("[train]'")
    assert "not installed" in done.stdout


def test_it_tells_of_this_machine_and_of_no_person(tmp_path):
    os.symlink(os.path.join(os.getcwd(), "crosspoint"), tmp_path / "crosspoint")
    done = run(tmp_path, "--json", "a.json")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "a.json").read_text()
    result = json.loads(text)
    commands = {entry["command"]: entry for entry in result["commands"]}
    assert commands["export"]["can"] == "yes"
    for private in (os.getcwd(), str(tmp_path), sys.prefix, os.path.expanduser("~") + "/"):
        assert private not in text
    assert "What runs here" in done.stdout
