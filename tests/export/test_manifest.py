"""A manifest on disk and the dataclass that stands for it say the same, byte for byte."""

import json
from dataclasses import fields

import pytest
from toy_manifest import MANIFESTS, bundle_manifest

from crosspoint.core.errors import InputError
from crosspoint.core.files import json_bytes
from crosspoint.core.results import from_json
from crosspoint.export.manifest import BundleManifest, ExportParity, OnDevice, Precision, parse_bundle_manifest
from crosspoint.parity.task import SvmTask
from crosspoint.runtime import load_manifest

WRITTEN = sorted(MANIFESTS.glob("*.json"))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_a_manifest_that_was_read_is_written_with_the_same_bytes(path):
    content = path.read_bytes()
    assert json_bytes(from_json(BundleManifest, json.loads(content)).to_json()) == content


def test_the_examples_hold_every_optional_entry():
    read = [from_json(BundleManifest, json.loads(path.read_text())) for path in WRITTEN]
    parts = {Precision: [each.precision for each in read], ExportParity: [each.parity for each in read]}
    for kind, values in {BundleManifest: read, **parts}.items():
        for field in fields(kind):
            if field.metadata.get("optional"):
                assert any(getattr(value, field.name) is not None for value in values), field.name
    assert any(each.parity.emulation is not None for each in read)
    assert any(each.parity.task is not None and isinstance(each.parity.task.task, SvmTask) for each in read)


def test_a_part_that_is_missing_or_of_another_type_is_named():
    for changes, reason in (
        ({"profile": {"batch": [1, 2], "points": None}}, "batch has 2 entries instead of 3"),
        ({"lint": "types"}, "lint is 'types'"),
        ({"on_device": {"tf32": 1, "workspace": None}}, "tf32 is 1"),
        ({"on_device": {"tf32": True}}, "workspace is missing"),
        ({"on_device": {"tf32": True, "workspace": 0}}, "workspace is 0"),
    ):
        with pytest.raises(ValueError, match=reason):
            bundle_manifest(**changes)


def test_how_to_build_on_the_device_is_read():
    assert bundle_manifest(on_device={"tf32": True, "workspace": 512}).on_device == OnDevice(True, 512)


def test_a_damaged_manifest_is_one_line(tmp_path):
    values = json.loads((MANIFESTS / "int8.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**values, "lint": None}))
    with pytest.raises(InputError, match=r"manifest\.json: is damaged .*lint is None.*copy the bundle again"):
        parse_bundle_manifest(load_manifest(tmp_path))
