"""Every result that a command writes is read back as it was, and one with a piece missing is refused."""

import dataclasses
import functools
import json
import re
import types
from pathlib import Path
from typing import Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crosspoint
from crosspoint.classify.imported import ImportResult
from crosspoint.classify.results import FitResult
from crosspoint.core.errors import InputError
from crosspoint.core.results import from_json, to_json
from crosspoint.data.frames import UPS
from crosspoint.data.objects.find import ObjectOptions
from crosspoint.data.objects.folder import ObjectsResult
from crosspoint.data.rendering.render import RenderResult
from crosspoint.data.rendering.scan import ScanResult
from crosspoint.data.sets.catalogue import Catalogue
from crosspoint.data.sets.pack import PackResult
from crosspoint.data.sets.verify import VerifyReport
from crosspoint.data.shapes.make_shapes import ShapesResult
from crosspoint.doctor.facts import DoctorResult
from crosspoint.doctor.self_test.self_test import SelfTestResult
from crosspoint.eval.classify import ClassifyResult
from crosspoint.eval.fewshot import FewShotResult
from crosspoint.eval.image.fewshot import ImageFewShotResult
from crosspoint.eval.image.rfs_recipe import RFSRecipe
from crosspoint.eval.paper.results import ReproduceResult
from crosspoint.eval.partseg import PartSegResult
from crosspoint.eval.robustness import RobustnessResult
from crosspoint.eval.svm import SvmResult
from crosspoint.export.hub import HubConfig
from crosspoint.export.manifest import BundleManifest, OnDevice
from crosspoint.parity.gate_result import GateResult
from crosspoint.parity.layers.diagnosis import Diagnosis
from crosspoint.parity.parity import ParityResult
from crosspoint.quickstart import QuickstartResult
from crosspoint.report.page import ReportResult
from crosspoint.report.records import QuickstartSummary
from crosspoint.runtime.backends.kernels.operators import OperatorsResult
from crosspoint.runtime.bench.bench import BenchResult
from crosspoint.runtime.classifier import ClassifierInfo
from crosspoint.runtime.installed import ModelsResult
from crosspoint.runtime.jobs.embed import EmbedResult
from crosspoint.runtime.jobs.predict import PredictResult
from crosspoint.runtime.jobs.search import SearchResult
from crosspoint.runtime.jobs.segment import SegmentResult
from crosspoint.runtime.library.duplicates import DuplicatesResult
from crosspoint.runtime.library.select import SelectResult
from crosspoint.train.engine.loop import TrainResult
from crosspoint.train.partseg.finetune import FinetuneResult
from crosspoint.train.pretrain.pretrain import PretrainResult

RESULTS = (
    *(
        BenchResult,
        Catalogue,
        Diagnosis,
        FewShotResult,
        FinetuneResult,
        ImageFewShotResult,
        ParityResult,
        PretrainResult,
    ),
    *(PartSegResult, QuickstartSummary, ReportResult, ReproduceResult, RobustnessResult, SvmResult, TrainResult),
    *(BundleManifest, DoctorResult, EmbedResult, PackResult, QuickstartResult, RenderResult, SearchResult),
    *(SelfTestResult, ShapesResult, VerifyReport, ObjectsResult, ScanResult),
    *(ClassifyResult, DuplicatesResult, FitResult, HubConfig, ImportResult, ModelsResult),
    *(OperatorsResult, PredictResult, SegmentResult, SelectResult),
)
CLASS = re.compile(r"^class (\w+)\((\w+)\):", re.MULTILINE)
TEXT = st.text(max_size=5)
FLOATS = st.floats(-1e6, 1e6, allow_subnormal=False)
PLAIN = {
    bool: st.booleans(),
    int: st.integers(),
    float: FLOATS,
    str: TEXT,
    types.NoneType: st.none(),
    object: st.one_of(st.none(), st.booleans(), st.integers(), TEXT, st.lists(FLOATS, max_size=2)),
    ObjectOptions: st.builds(ObjectOptions, up=st.sampled_from(UPS), voxel=st.none() | st.floats(0.01, 0.3)),
    RFSRecipe: st.builds(RFSRecipe, epochs=st.integers(0, 99), learning_rate=st.floats(1e-3, 1)),
}


NARROWER = {  # fields that take less than their types
    OnDevice: {"workspace": st.none() | st.integers(1, 2**20)},
    ClassifierInfo: {"classes": st.lists(TEXT, min_size=2, max_size=3, unique=True).map(tuple)},
}


@functools.cache
def values_of(kind):
    """Any value of the type that an annotation names."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values_of, inner))
    if origin is list or inner[1:] == (...,):
        several = st.lists(values_of(inner[0]), max_size=2)
        return several if origin is list else several.map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, inner))
    if origin is dict:
        return st.dictionaries(TEXT, values_of(inner[1]), max_size=2)
    hints = get_type_hints(kind)
    values = {field.name: values_of(hints[field.name]) for field in needed(kind)}
    return st.builds(kind, **{**values, **NARROWER.get(kind, {})})


def needed(kind):
    """The fields that an instance is made from."""
    return [field for field in dataclasses.fields(kind) if field.init]


def written(result):
    return json.loads(json.dumps(result.to_json(), allow_nan=False))


def test_no_result_is_left_out_here():
    files = Path(crosspoint.__file__).parent.rglob("*.py")
    classes = [found for file in files for found in CLASS.findall(file.read_text(encoding="utf-8"))]
    found, before = {"Result"}, 0
    while len(found) > before:  # and the classes made from those
        before = len(found)
        found |= {name for name, base in classes if base in found}
    assert found == {"Result", *(kind.__name__ for kind in RESULTS)}


@pytest.mark.parametrize("kind", RESULTS)
@given(data=st.data())
def test_a_result_is_read_as_it_was_written(kind, data):
    result = data.draw(values_of(kind))
    entries = written(result)
    assert kind.from_json(entries) == result
    assert written(kind.from_json(entries)) == entries


@given(data=st.data())
def test_the_gate_of_a_manifest_is_read_as_it_was_written(data):
    record = data.draw(values_of(GateResult))
    assert from_json(GateResult, json.loads(json.dumps(to_json(record)))) == record


@pytest.mark.parametrize("kind", [kind for kind in RESULTS if not issubclass(kind, TrainResult)])  # takes all
@given(data=st.data())
def test_entries_that_are_not_known_are_passed_over(kind, data):
    result = data.draw(values_of(kind))
    assert kind.from_json({**written(result), "a later version's": [1]}) == result


@pytest.mark.parametrize("kind", [kind for kind in RESULTS if kind not in (Catalogue, QuickstartSummary)])
@given(data=st.data())
def test_a_result_with_an_entry_missing_is_refused(kind, data):
    fields = [field for field in needed(kind) if field.default is field.default_factory is dataclasses.MISSING]
    names = [field.metadata.get("key", field.name) for field in fields if not {"flat", "optional"} & {*field.metadata}]
    entries, lost = written(data.draw(values_of(kind))), data.draw(st.sampled_from(names))
    del entries[lost]
    with pytest.raises(InputError, match=f"not as crosspoint writes it .{lost} is missing"):
        kind.from_json(entries)


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("values", [None, [], {}, {"schema": "crosspoint.svm/2"}, {"schema": ["crosspoint.svm/1"]}])
def test_what_is_of_another_schema_is_refused(kind, values):
    with pytest.raises(InputError, match=f"instead of '{kind.schema}'; give a file that --json wrote"):
        kind.from_json(values)
