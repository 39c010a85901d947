"""Every JSON schema of the package stands on its page, and what a command writes is listed there."""

import json
import re
from pathlib import Path

import pytest

import crosspoint
from crosspoint.core.errors import CheckFailed, CrosspointError, InputError, MissingDependency

PAGE = (Path(__file__).parents[2] / "docs" / "schemas.md").read_text(encoding="utf-8")
SOURCES = sorted(Path(crosspoint.__file__).parent.rglob("*.py"))
INTERNAL = {"crosspoint.features/1"}  # of cached features, which nothing else reads
SCHEMAS = {
    schema
    for source in SOURCES
    for text in [source.read_text(encoding="utf-8")]
    for schema in [
        *(f"crosspoint.{kind}/1" for kind in re.findall(r'write_result\(\s*\w+,\s*"([a-z-]+)"', text)),
        *re.findall(r'"(crosspoint\.[a-z-]+/\d)"', text),
    ]
} - INTERNAL


def test_the_sources_name_schemas_as_this_test_expects():
    assert {"crosspoint.svm/1", "crosspoint.doctor/1", "crosspoint.manifest/1", "crosspoint.embed-job/4"} <= SCHEMAS


@pytest.mark.parametrize("schema", sorted(SCHEMAS))
def test_the_page_names_every_schema(schema):
    assert f"`{schema}`" in PAGE


def test_the_page_has_no_schema_that_is_not_written():
    assert set(re.findall(r"`(crosspoint\.[a-z-]+/\d)`", PAGE)) <= SCHEMAS


@pytest.mark.parametrize("error", [CrosspointError, InputError, CheckFailed, MissingDependency])
def test_the_page_has_the_exit_codes_of_errors(error):
    assert re.search(rf"^\| {error.exit_code} \| ", PAGE, re.MULTILINE)


def fields_of(value):
    """Names of fields at any depth; keys of dictionaries that are data, not names, are left out."""
    if isinstance(value, list):
        return {name for entry in value for name in fields_of(entry)}
    if not isinstance(value, dict):
        return set()
    free = {"layers", "versions", "files", "inputs", "outputs", "overlap", "sensitivity"}  # keys are names of things
    below = {name for key, entry in value.items() if key not in free for name in fields_of(entry)}
    return {*value, *below}


@pytest.mark.slow
def test_the_page_lists_every_field_of_a_manifest(tmp_path):
    pytest.importorskip("torch")
    from crosspoint.export.bundle import export

    export(Path("pointnet"), tmp_path / "bundle", points=64)
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert {field for field in fields_of(manifest) if f"`{field}`" not in PAGE} <= {"schema"}
