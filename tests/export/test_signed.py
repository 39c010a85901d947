"""`crosspoint export --sign` and what a machine that holds the public key opens of it."""

import shutil
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from crosspoint.cli import main
from crosspoint.core.errors import InputError
from crosspoint.export.bundle import export
from crosspoint.export.options import ExportOptions
from crosspoint.parity.layers.onnx_layers import OnnxLayers
from crosspoint.runtime import load_encoder, load_manifest, verify_files
from crosspoint.runtime.released import FOLDER
from crosspoint.runtime.signing import SIGNATURE, VARIABLE, write_key_pair

SMALL = {"batch": 2, "points": 32}


@pytest.fixture
def key(tmp_path, monkeypatch):
    """A private key whose public one is set, as on a machine that makes bundles and runs them."""
    write_key_pair(tmp_path / "fleet")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "fleet.pub"))
    return tmp_path / "fleet"


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(content)


def test_the_command_signs_what_is_opened_with_the_key_alone(saved, key, tmp_path, monkeypatch, capsys):
    arguments = ["export", saved("pointnet"), "--out", tmp_path / "bundle", "--points", "32", "--sign", key]
    monkeypatch.setattr(sys, "argv", ["crosspoint", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    assert f"{tmp_path / 'bundle' / SIGNATURE}: signed with {key}" in capsys.readouterr().out
    with load_encoder(tmp_path / "bundle") as encoder:
        assert encoder.embed(np.zeros((1, 32, 3), np.float32)).shape == (1, 1024)


def test_a_flipped_byte_in_any_file_of_the_bundle_is_found(saved, key, tmp_path):
    bundle = tmp_path / "bundle"
    export(saved("pointnet"), bundle, trt=True, options=ExportOptions("device", sign=key), **SMALL)
    intact = {path.name: path.read_bytes() for path in bundle.iterdir()}
    made = {"encoder.onnx", "golden.npz", "reference.npz", "build_on_device.sh"}
    assert set(intact) == {"manifest.json", SIGNATURE, *made}
    verify_files(load_manifest(bundle))
    for name, content in intact.items():
        damage(bundle / name)
        with pytest.raises(InputError, match=r"nothing was (opened|loaded)"):
            verify_files(load_manifest(bundle))
        (bundle / name).write_bytes(content)


def test_an_export_that_is_not_signed_is_not_opened_and_an_old_signature_does_not_stay(saved, key, tmp_path):
    for sign in (key, None):
        export(saved("pointnet"), tmp_path / "bundle", options=ExportOptions(sign=sign), **SMALL)
    assert not (tmp_path / "bundle" / SIGNATURE).exists()
    with pytest.raises(InputError, match="is not signed"):
        load_encoder(tmp_path / "bundle")


def test_a_key_that_cannot_sign_is_found_before_the_work(saved, key, tmp_path):
    with pytest.raises(InputError, match=r"holds no private key"):
        export(saved("pointnet"), tmp_path / "bundle", options=ExportOptions(sign=key.with_name("fleet.pub")))
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_that_could_not_be_signed_does_not_appear(saved, key, tmp_path, monkeypatch):
    def full(folder, key):
        raise InputError("the disk is full")

    monkeypatch.setattr(import_module("crosspoint.export.bundle"), "sign_bundle", full)
    with pytest.raises(InputError, match="the disk is full"):
        export(saved("pointnet"), tmp_path / "bundle", options=ExportOptions(sign=key), **SMALL)
    assert not (tmp_path / "bundle").exists()


def test_the_layers_that_are_diagnosed_are_of_the_file_that_was_opened(tmp_path):
    path = Path(shutil.copy(FOLDER / "pointnet.onnx", tmp_path))
    with load_encoder(path) as encoder:
        OnnxLayers(path, encoder.specification).close()
        damage(path)
        with pytest.raises(InputError, match=r"pointnet\.onnx was changed after it was opened"):
            OnnxLayers(path, encoder.specification)
