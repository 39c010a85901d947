"""Released models by name, from a registry of toy models."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from click.testing import CliRunner

import crosspoint
from crosspoint.cli import crosspoint as cli
from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.core.files import sha256
from crosspoint.runtime import released as named
from crosspoint.runtime.library import limits


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with the small model as `dgcnn`, trained at 12 points."""
    folder = tmp_path / "weights"
    folder.mkdir()
    small.write_onnx(folder / "dgcnn.onnx")
    (folder / "dgcnn.safetensors").write_bytes(b"weights")
    files = {path.name: sha256(path) for path in folder.iterdir()}
    models = {"dgcnn": {"version": "2", "points": 12, "files": files}}
    (folder / "registry.json").write_text(json.dumps({"schema": named.SCHEMA, "models": models}))
    monkeypatch.setattr(named, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def run(*arguments: object):
    return CliRunner().invoke(cli, ["embed", *map(str, arguments)])


def test_load_by_name(weights: Path, clouds) -> None:
    with crosspoint.load("dgcnn") as encoder:
        assert encoder.specification.path == str(weights / "dgcnn.onnx")
        np.testing.assert_allclose(encoder.embed(clouds()), small.reference(clouds()), rtol=1e-5)


def test_a_version_is_that_version_or_an_error(weights: Path) -> None:
    crosspoint.load("dgcnn@2").close()
    with pytest.raises(InputError, match=r"dgcnn@1 is not installed, only dgcnn@2"):
        crosspoint.load("dgcnn@1")


def test_a_path_comes_first(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "dgcnn").mkdir()
    with pytest.raises(InputError, match="dgcnn holds neither"):
        crosspoint.load("dgcnn")


def test_pytorch_gets_the_safetensors(weights: Path) -> None:
    assert named.resolve("dgcnn", ".safetensors") == weights / "dgcnn.safetensors"
    assert named.resolve("other", ".onnx") == Path("other")


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_a_damaged_file_is_not_loaded(weights: Path, damage: str) -> None:
    path = weights / "dgcnn.onnx"
    path.write_bytes(path.read_bytes() + b" ") if damage == "change" else path.unlink()
    with pytest.raises(InputError, match=r"is missing or is not the released file of dgcnn@2"):
        crosspoint.load("dgcnn")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "other/1", "models": {}}'])
def test_a_damaged_registry_is_one_line(weights: Path, text: str) -> None:
    (weights / "registry.json").write_text(text)
    with pytest.raises(InputError, match=r"registry\.json: .* install crosspoint3d again"):
        crosspoint.load("dgcnn")


def test_an_unknown_name_lists_the_known_ones(weights: Path) -> None:
    with pytest.raises(InputError, match=r"pointnot does not exist.*\(dgcnn\)"):
        crosspoint.load("pointnot")


def test_embed_takes_the_shipped_model_where_none_is_given(weights: Path, clouds) -> None:
    np.save("cloud.npy", clouds(1, 10)[0])
    done = run("cloud.npy")
    assert done.exit_code == 0, done.output
    with np.load("embeddings.npz") as file:
        assert file["names"].tolist() == ["cloud.npy"]
        assert str(file["model_sha256"]) == sha256(weights / "dgcnn.onnx")


@pytest.mark.parametrize(
    "arguments", [("dgcnn", "cloud.npy"), ("--model", "dgcnn", "cloud.npy"), ("dgcnn@2", "cloud.npy")]
)
def test_embed_takes_a_name_in_both_places(weights: Path, clouds, arguments: tuple[str, ...]) -> None:
    np.save("cloud.npy", clouds(1)[0])
    assert run(*arguments, "--out", "out.npz").exit_code == 0
    assert Path("out.npz").is_file()


def test_embed_takes_at_most_the_points_of_the_training(weights: Path, clouds) -> None:
    from crosspoint.data.points import normalise

    for count in (11, 12, 200):
        np.save(f"{count}.npy", clouds(1, count)[0])
    assert run("11.npy", "12.npy", "200.npy").exit_code == 0
    with np.load("embeddings.npz") as file:
        found = dict(zip(file["names"].tolist(), file["embeddings"], strict=True))
        assert json.loads(str(file["about"])) | {"base": "", "model": ""} == {
            "base": "", "model": "", "points": 12, "at_most": True, "seed": 0, "draws": 1,
            "frame": {"up": "y", "known": "assumed"},
        }  # fmt: skip
    for count in (11, 12):
        expected = small.reference(normalise(clouds(1, count)))[0]
        np.testing.assert_allclose(found[f"{count}.npy"], expected, rtol=1e-5, atol=1e-6)
    assert run("200.npy", "--points", "12", "--out", "drawn.npz").exit_code == 0
    with np.load("drawn.npz") as file:
        np.testing.assert_array_equal(file["embeddings"][0], found["200.npy"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dgcn", "cloud.npy"), r"dgcn does not exist and is not the name of a model; give a file, a folder or dgcnn"),
        (("dgcnn",), "no inputs were given"),
        (("missing.onnx", "cloud.npy"), "missing.onnx does not exist"),
        (("missing.ply",), "does not exist"),
        (("dgcnn@1", "cloud.npy"), "dgcnn@1 is not installed"),
    ],
)
def test_embed_says_what_a_first_argument_is_not(
    weights: Path, clouds, arguments: tuple[str, ...], message: str
) -> None:
    np.save("cloud.npy", clouds(1)[0])
    error = run(*arguments).exception
    assert isinstance(error, CrosspointError)
    with pytest.raises(CrosspointError, match=message):
        raise error


def test_what_is_shipped_is_what_the_registry_says() -> None:
    for release in named.releases().values():
        assert {Path(name).suffix for name in release.files} == {".onnx", ".safetensors"}
        for name in release.files:
            release.file(Path(name).suffix)
    shipped = [
        path for path in named.FOLDER.iterdir() if path.name not in (named.REGISTRY, limits.FILE, "MODEL_CARD.md")
    ]
    assert {path.name for path in shipped} == {name for r in named.releases().values() for name in r.files}
    assert sum(path.stat().st_size for path in shipped) <= 9e6


def test_no_torch_is_imported(weights: Path, tmp_path: Path, clouds) -> None:
    np.save("cloud.npy", clouds(1)[0])
    code = f"""
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "onnx"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from crosspoint.runtime import released as named
named.FOLDER = Path({str(weights)!r})
from crosspoint.cli import crosspoint
crosspoint.main(["embed", "cloud.npy"], standalone_mode=False)
crosspoint.main(["search", "cloud.npy", "--in", "embeddings.npz"], standalone_mode=False)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_models_lists_what_is_installed(weights: Path) -> None:
    outcome = CliRunner().invoke(cli, ["models", "--json", "-"])
    assert outcome.exit_code == 0
    (model,) = json.loads(outcome.stdout)["models"]
    files = {path.suffix: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in weights.glob("dgcnn.*")}
    assert model == {
        "name": "dgcnn",
        "version": "2",
        "architecture": "unknown",
        "dim": small.WEIGHT.shape[1],
        "points": 12,
        "least_points": 1,
        "default": True,
        "files": files,
    }
    assert "dgcnn@2 (default)" in CliRunner().invoke(cli, ["models"]).stdout


def test_models_names_a_file_that_is_not_the_released_one(weights: Path) -> None:
    (weights / "dgcnn.onnx").write_bytes(b"another")
    outcome = CliRunner().invoke(cli, ["models"])
    assert isinstance(outcome.exception, InputError)
    assert "is not the released file of dgcnn@2" in str(outcome.exception)
