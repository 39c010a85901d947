"""The pages' own commands and snippets run: those that need no GPU, no foreign data and no training of hours."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = {  # by page, in an order in which each finds what the ones before have written
    "README.md": [
        "crosspoint embed cloud.ply",
        "crosspoint embed bundle MESHES_OR_CLOUDS --out embeddings.npz",
    ],
    "docs/first-embeddings.md": [
        "crosspoint data make-shapes --out shapes --per-class 2 --views 1",
        "cp shapes/ShapeNet/airplane/00000.ply cloud.ply",
        "crosspoint embed cloud.ply",
        "crosspoint embed shapes/ShapeNet --out shapes.npz",
        "crosspoint search cloud.ply --in shapes.npz --out nearest.png",
    ],
    "docs/embed.md": [
        "crosspoint embed scan.ply",
        "crosspoint embed dgcnn scans/ part.stl --out embeddings.npz",
        "crosspoint embed --model pointnet scans/",
    ],
    "docs/models.md": ["crosspoint embed dgcnn MESHES --out embeddings.npz"],
    "docs/data.md": ["crosspoint data list", "crosspoint data verify DIR"],
    "docs/rendering.md": [
        "crosspoint data render meshes/ --out pairs/",
        "crosspoint data scan meshes/ --out sides/",
        "crosspoint data pack pairs/ --out packed/",
    ],
    "docs/diagnose.md": ["crosspoint diagnose run bundle --out diagnosis.png --json diagnosis.json"],
    "docs/doctor.md": ["crosspoint doctor"],
    "docs/outputs.md": ["crosspoint parity run bundle --data modelnet40_ply_hdf5_2048 --json -"],
    "docs/benchmark.md": [
        "crosspoint bench RUN BUNDLE --batch 8 --out speed.png --json speed.json",
        "crosspoint bench bundle --batch 1 --layers",
    ],
    "SECURITY.md": [
        "crosspoint keygen --out fleet",
        "crosspoint embed bundle scans/ --verify-key fleet.pub",
    ],
}
SNIPPETS = {  # pages of which every Python block runs, one after the other in one program
    "README.md": [],
    "docs/models.md": [],
    "docs/first-embeddings.md": ["crosspoint embed FOLDER --out shapes.npz"],
}
REFUSED = "crosspoint embed bundle scans/ --verify-key fleet.pub"  # for that bundle is not signed


def on_page(page, command):
    return re.search(rf"(?m)(^|[ $`]){re.escape(command)}($|[ `])", (ROOT / page).read_text(encoding="utf-8"))


def command_line(words):
    return subprocess.run([sys.executable, "-m", "crosspoint", *words], capture_output=True, text=True)


@pytest.mark.parametrize("page", COMMANDS)
def test_the_commands_stand_on_the_page(page):
    assert [command for command in COMMANDS[page] if not on_page(page, command)] == []


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """What the pages take for granted: clouds, meshes, labelled data, a run and its bundle, all of toy size."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    import trimesh

    from crosspoint.data.shapes.make_shapes import ShapesSettings, make_shapes
    from crosspoint.export.bundle import export
    from crosspoint.models import PointNet
    from crosspoint.models.weights import save_model

    root = tmp_path_factory.mktemp("template")
    make_shapes(root / "DIR", ShapesSettings(2, views=1))
    clouds = sorted((root / "DIR" / "ShapeNet").rglob("*.ply"))[:8]
    for name in ("cloud.ply", "scan.ply"):
        shutil.copy(clouds[0], root / name)
    for folder in ("scans", "MESHES_OR_CLOUDS"):
        (root / folder).mkdir()
        for number, cloud in enumerate(clouds):
            shutil.copy(cloud, root / folder / f"{number}.ply")
    for folder in ("meshes", "MESHES"):
        (root / folder).mkdir()
        trimesh.creation.box().export(root / folder / "box.stl")
        trimesh.creation.icosphere().export(root / folder / "ball.off")
    trimesh.creation.box().export(root / "part.stl")
    shutil.copytree(root / "DIR" / "modelnet40_ply_hdf5_2048", root / "modelnet40_ply_hdf5_2048")
    for run, bundle in (("run", "bundle"), ("RUN", "BUNDLE")):
        save_model(PointNet().eval(), root / run / "encoder.safetensors")
        export(root / run, root / bundle)
    return root


@pytest.fixture
def workplace(template, tmp_path, monkeypatch):
    """A copy of the template, as the working directory."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", COMMANDS)
@pytest.mark.usefixtures("workplace")
def test_the_commands_of_a_page_run(page):
    for command in COMMANDS[page]:
        program, *words = command.split()
        if program == "cp":
            shutil.copy(*words)
            continue
        done = command_line(words)
        if command == REFUSED:
            assert done.returncode == 2
            assert "sign" in done.stderr
        else:
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", SNIPPETS)
@pytest.mark.usefixtures("workplace")
def test_the_python_of_a_page_runs(page):
    for command in SNIPPETS[page]:
        assert command_line(command.replace("FOLDER", "DIR/ShapeNet").split()[1:]).returncode == 0
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    done = subprocess.run([sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
