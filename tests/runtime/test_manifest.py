import json
import os
from pathlib import Path

import pytest
import small_models as small

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.runtime import load_manifest, verify_files


def test_reads_what_was_written(engine_bundle: Path) -> None:
    manifest = load_manifest(engine_bundle)
    assert manifest.folder == engine_bundle
    assert manifest.files["encoder.onnx"].bytes == (engine_bundle / "encoder.onnx").stat().st_size
    assert manifest.model == {"architecture": "small"}
    assert (manifest.precision, manifest.batch, manifest.points) == ("fp32", (2, 3, 4), (8, 16, 32))
    assert manifest.engine is not None
    assert (manifest.engine.builder, manifest.engine.targets) == ("tensorrt-rtx", ("sm86",))
    assert manifest.find(".plan") == engine_bundle / "encoder.plan"
    assert manifest.find(".trt") is None


def test_without_an_engine_and_with_fixed_points(bundle: Path) -> None:
    small.write_manifest(bundle, profile={"batch": [1, 8, 32], "points": None})
    manifest = load_manifest(bundle)
    assert (manifest.engine, manifest.batch, manifest.points) == (None, (1, 8, 32), None)


def test_intact_files_pass(engine_bundle: Path) -> None:
    manifest = load_manifest(engine_bundle)
    assert verify_files(manifest) == {n: sha256(engine_bundle / n) for n in ("encoder.onnx", "encoder.plan")}
    assert manifest.read(engine_bundle / "encoder.onnx") == (engine_bundle / "encoder.onnx").read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (small.flip, "SHA-256 differs"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            r"has \d+ bytes, but the bundle's manifest.json says \d+",
        ),
        (lambda path: path.unlink(), "cannot be opened"),
    ],
)
def test_each_damage_is_named(bundle: Path, damage, message: str) -> None:
    path = bundle / "encoder.onnx"
    manifest = load_manifest(bundle)
    damage(path)
    for check in (manifest.read, manifest.verify):
        with pytest.raises(InputError, match=rf"encoder\.onnx:? .*{message}.*(nothing was loaded|check the path)"):
            check(path)


def test_a_file_that_is_not_listed(bundle: Path) -> None:
    (bundle / "other.plan").write_bytes(b"x")
    with pytest.raises(InputError, match=r"other\.plan is not listed"):
        verify_files(load_manifest(bundle), ["other.plan"])


def test_a_missing_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: cannot be opened"):
        load_manifest(tmp_path)


@pytest.mark.parametrize("schema", ["crosspoint.manifest/2", None, 1])
def test_another_schema(bundle: Path, schema: object) -> None:
    small.write_manifest(bundle, schema=schema)
    with pytest.raises(InputError, match=r"this version reads 'crosspoint.manifest/1'"):
        load_manifest(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"files": {"../evil.plan": {"sha256": "", "bytes": 1}}}, "outside the bundle"),
        ({"files": {"/etc/passwd": {"sha256": "", "bytes": 1}}}, "outside the bundle"),
        ({"files": {"..": {"sha256": "", "bytes": 1}}}, "outside the bundle"),
        ({"files": {"encoder.onnx": {"sha256": "", "bytes": "1"}}}, "encoder.onnx.bytes is '1'"),
        ({"files": {"": {"sha256": "", "bytes": 1}}}, "outside the bundle"),
        ({"files": {"a\n.onnx": {"sha256": "", "bytes": 1}}}, "outside the bundle"),
        ({"files": {"\ud800": {"sha256": "", "bytes": 1}}}, "outside the bundle"),
        ({"files": {"encoder.onnx": {"sha256": "", "bytes": True}}}, "encoder.onnx.bytes is True"),
        ({"files": {"encoder.onnx": {"bytes": 1}}}, "KeyError: 'sha256'"),
        ({"files": ["encoder.onnx"]}, r"files is \["),
        ({"precision": {"asked": "fp32"}}, "KeyError: 'read_back'"),
        ({"profile": {"batch": [1, 2], "points": None}}, "unpack"),
        ({"profile": {"batch": [1, 2, "3"], "points": None}}, "profile.batch is '3'"),
        ({"model": "dgcnn"}, "model is 'dgcnn'"),
        ({"engine": {"builder": "tensorrt"}}, "KeyError: 'version'"),
        ({"engine": "yes"}, "engine is 'yes'"),
        (
            {"engine": {"builder": "tensorrt", "version": "10.3", "targets": "sm87", "executed": True, "status": ""}},
            "engine.targets is 'sm87'",
        ),
    ],
)
def test_wrong_content(bundle: Path, changes: dict, message: str) -> None:
    small.write_manifest(bundle, **changes)
    with pytest.raises(InputError, match=rf"manifest\.json: is damaged .*{message}") as caught:
        load_manifest(bundle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["files", "model", "precision", "profile", "engine"])
def test_missing_values(bundle: Path, missing: str) -> None:
    path = bundle / "manifest.json"
    values = json.loads(path.read_text())
    del values[missing]
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"KeyError: '{missing}'"):
        load_manifest(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00", "ÿ"])
def test_rubbish(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"manifest\.json:? (is damaged|is empty|has the schema None)"):
        load_manifest(bundle)


def test_json_of_a_depth_that_python_cannot_parse(bundle: Path) -> None:
    (bundle / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(InputError, match=r"manifest\.json: is damaged .*RecursionError"):
        load_manifest(bundle)


@pytest.mark.parametrize("name", ["manifest.json", "encoder.onnx"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name: str, bundle: Path) -> None:
    manifest = load_manifest(bundle)
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    with pytest.raises(InputError, match=f"{name}: is a pipe, a socket or a device"):
        load_manifest(bundle) if name == "manifest.json" else manifest.read(bundle / name)


def test_a_file_that_grew_beyond_what_is_listed_is_not_read(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    with (bundle / "encoder.onnx").open("r+b") as file:
        file.truncate(1 << 40)  # sparse: takes no room on the disk, and none in memory
    with pytest.raises(InputError, match=r"encoder\.onnx has 1099511627776 bytes"):
        manifest.read(bundle / "encoder.onnx")
