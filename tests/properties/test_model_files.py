"""Weights, checkpoints, features, graphs, manifests and Triton configurations come back from files as they were."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load_file
from toy_manifest import bundle_manifest

from crosspoint.core.weights_file import WeightsMetadata
from crosspoint.eval.cache import cached
from crosspoint.export import triton
from crosspoint.export.engine.on_device import read_reference, write_reference
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import read_precision, shapes, write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet, SegmentationBackbone
from crosspoint.models.heads import PointHead
from crosspoint.models.image import ImageEncoder
from crosspoint.models.weights import load_model, read_metadata, save_model
from crosspoint.parity.clouds import CloudSet
from crosspoint.runtime.manifest import load_manifest
from crosspoint.runtime.specification import Specification
from crosspoint.train.engine.checkpoint import load_checkpoint, newest, save_checkpoint

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
PLAIN = TEXTS.filter(lambda name: name.isprintable() and not set(name) & set("/\\") and name not in ("", ".", ".."))
RANGES = st.lists(st.integers(1, 4096), min_size=3, max_size=3).map(sorted)
NETWORKS = st.one_of(
    st.builds(DGCNN, st.integers(1, 40)),
    st.builds(PointNet),
    st.builds(PointHead, st.sampled_from([7, 1024])),
    st.builds(SegmentationBackbone, st.integers(1, 40)),
    st.builds(DGCNNSegmenter, st.integers(1, 9), st.integers(1, 5), k=st.integers(1, 40)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def bits(tensor):
    return tensor.reshape(-1).contiguous().view(torch.uint8)


@given(network=NETWORKS, recipe=st.none() | st.dictionaries(TEXTS, JSON, max_size=3))
def test_weights_come_back_bit_for_bit_with_what_is_known_of_them(folder, network, recipe):
    save_model(network, folder / "m.safetensors", recipe=recipe)
    found = load_model(folder / "m.safetensors")
    assert type(found) is type(network)
    assert found.config == network.config
    assert not found.training
    stored = load_file(folder / "m.safetensors")
    assert list(found.state_dict()) == list(network.state_dict())
    for name, tensor in network.state_dict().items():
        for other in (found.state_dict()[name], stored[name]):
            assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(bits(other), bits(tensor))
    assert read_metadata(folder / "m.safetensors") == WeightsMetadata(network.config, recipe)


def test_an_image_encoder_s_weights_come_back(tmp_path):
    network = ImageEncoder(18)
    save_model(network, tmp_path / "m.safetensors")
    for name, tensor in load_model(tmp_path / "m.safetensors").state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


@given(
    steps=st.lists(st.integers(0, 10**8 - 1), min_size=1, max_size=4, unique=True).map(sorted),
    shape=st.lists(st.integers(0, 3), max_size=3),
    dtype=st.sampled_from(
        [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
    ),
    more=st.dictionaries(TEXTS, JSON, max_size=3),
)
def test_the_newest_checkpoint_comes_back_as_it_was(steps, shape, dtype, more):
    with tempfile.TemporaryDirectory() as place:
        for step in steps:
            tensor = (torch.arange(np.prod(shape, dtype=int)) + step % 7).to(dtype).view(shape)
            path = save_checkpoint(Path(place), step, state={"network": {"tensor": tensor}, "more": more})
            assert newest(Path(place)) == path
        found = load_checkpoint(Path(place))
    assert (found["step"], found["more"]) == (steps[-1], more)
    stored = found["network"]["tensor"]
    assert (stored.dtype, stored.shape) == (dtype, tensor.shape)
    assert torch.equal(stored, tensor)


@given(
    clouds=arrays.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 5), st.just(3)), elements=FLOATS),
    dim=st.integers(1, 9),
    values=st.tuples(TEXTS, TEXTS, TEXTS, HASHES),
    seed=st.integers(0, 2**32),
)
def test_cached_features_come_back_bit_for_bit_and_for_their_clouds_and_model_alone(clouds, dim, values, seed):
    architecture, backend, device, sha256 = values
    specification = Specification(architecture, dim, None, None, "fp32", backend, device, sha256, "m.onnx")
    features = np.random.default_rng(seed).standard_normal((len(clouds), dim)).astype(np.float32)
    computed = []

    def compute():
        computed.append(True)
        return features

    with tempfile.TemporaryDirectory() as place:
        for _ in range(2):
            found = cached(Path(place), specification, clouds=clouds, compute=compute)
            assert (found.dtype, found.shape) == (np.float32, features.shape)
            np.testing.assert_array_equal(found.view(np.uint32), features.view(np.uint32))
        assert len(computed) == 1
        for field in ("architecture", "backend", "device", "sha256"):
            changed = dataclasses.replace(specification, **{field: f"another {getattr(specification, field)}"})
            cached(Path(place), changed, clouds=clouds, compute=compute)
        assert len(computed) == 5
        if clouds.size:
            other = clouds.copy()
            other.flat[-1] = np.nextafter(other.flat[-1], np.float32(np.inf))
            cached(Path(place), specification, clouds=other, compute=compute)
            assert len(computed) == 6


@given(
    network=st.builds(PointNet),
    points=st.none() | st.integers(1, 4096),
    provenance=st.dictionaries(TEXTS, JSON, max_size=4),
)
def test_a_graph_says_what_it_was_told_and_has_the_shapes_it_was_built_for(folder, network, points, provenance):
    model = build(deploy(network.eval()), points)
    write_onnx(folder / "m.onnx", model, provenance=provenance)
    before = (folder / "m.onnx").read_bytes()
    found = onnx.load(folder / "m.onnx")
    props = {prop.key: prop.value for prop in found.metadata_props}
    assert json.loads(props["crosspoint"]) == provenance
    assert shapes(found.graph.input) == {"points": ("batch", points or "points", 3)}
    assert shapes(found.graph.output) == {"embedding": ("batch", 1024)}
    assert read_precision(found) == "fp32"
    write_onnx(folder / "m.onnx", build(deploy(network), points), provenance=provenance)
    assert (folder / "m.onnx").read_bytes() == before


ENGINES = st.fixed_dictionaries(
    {
        "builder": st.sampled_from(["tensorrt", "tensorrt-rtx"]),
        "version": st.sampled_from(["10.3.0", "1.7.1"]),
        "targets": st.lists(st.sampled_from(["sm75", "sm86", "sm87"]), max_size=3, unique=True),
        "executed": st.booleans(),
        "status": TEXTS,
    }
)


@given(
    files=st.dictionaries(PLAIN, st.fixed_dictionaries({"sha256": HASHES, "bytes": st.integers(0, 2**40)}), max_size=4),
    model=st.dictionaries(TEXTS, st.integers(0, 99) | TEXTS, max_size=3),
    batch=RANGES,
    points=st.none() | RANGES,
    engine=st.none() | ENGINES,
    precision=st.sampled_from(["fp32", "fp16", "bf16", "int8"]),
)
def test_a_manifest_is_read_as_it_was_written(folder, files, model, batch, points, engine, precision):
    written = {
        "schema": "crosspoint.manifest/1",
        "files": files,
        "model": model,
        "precision": {"asked": precision, "read_back": precision},
        "profile": {"batch": batch, "points": points},
        "engine": engine,
    }
    (folder / "manifest.json").write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")
    found = load_manifest(folder)
    assert {name: {"sha256": entry.sha256, "bytes": entry.bytes} for name, entry in found.files.items()} == files
    assert (found.model, found.precision) == (model, precision)
    assert (found.batch, found.points) == (tuple(batch), points and tuple(points))
    assert (found.engine is None) == (engine is None)
    if engine is not None:
        assert {**vars(found.engine), "targets": list(found.engine.targets)} == engine


@given(
    names=st.lists(TEXTS.map(lambda name: name.replace("/", "")).filter(bool), min_size=1, max_size=3, unique=True),
    batch=st.integers(1, 3),
    count=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_reference_outputs_of_a_bundle_come_back_bit_for_bit(folder, names, batch, count, seed):
    rng = np.random.default_rng(seed)
    inputs = [{"points": rng.standard_normal((batch, count, 3)).astype(np.float32)} for _ in names]
    outputs = [rng.standard_normal((batch, 5)) for _ in names]
    write_reference(
        folder / "reference.npz",
        [CloudSet(*each) for each in zip(names, inputs, outputs, strict=True)],
    )
    found = read_reference(folder / "reference.npz")
    assert [clouds.name for clouds in found] == names
    for clouds, own, output in zip(found, inputs, outputs, strict=True):
        np.testing.assert_array_equal(clouds.inputs["points"], own["points"])
        np.testing.assert_array_equal(clouds.own_graphs, output)


@given(
    name=TEXTS.filter(
        lambda name: not set(name) & {"/"} and 0 < len(os.fsencode(name)) < 200 and name not in (".", "..")
    ),
    batch=RANGES,
    points=st.none() | RANGES,
    width=st.integers(1, 4096),
    categories=st.none() | st.integers(1, 50),
    engine=st.none() | ENGINES,
    precision=st.sampled_from(["fp32", "fp16", "bf16", "int8"]),
    hashes=st.tuples(HASHES, HASHES),
)
def test_triton_s_own_schema_reads_what_was_asked_for(
    schema, name, batch, points, width, categories, engine, precision, hashes
):
    from google.protobuf import text_format

    served = "encoder.plan" if engine and engine["builder"] == "tensorrt" else "encoder.onnx"
    inputs = {"points": ["batch", "points" if points is None or points[0] != points[2] else points[0], 3]}
    if categories is not None:
        inputs["category"] = ["batch", categories]
    outputs = (
        {"embedding": ["batch", width]} if categories is None else {"logits": ["batch", inputs["points"][1], width]}
    )
    manifest = bundle_manifest(
        files={served: {"sha256": hashes[0], "bytes": 3}},
        source={"path": "encoder.safetensors", "sha256": hashes[1]},
        precision={"read_back": precision},
        inputs=inputs,
        outputs=outputs,
        profile={"batch": batch, "points": points},
        engine=engine,
    )
    with tempfile.TemporaryDirectory() as place:
        bundle = Path(place, name)
        bundle.mkdir()
        (bundle / served).write_bytes(b"abc")
        made = triton.write_repository(Path(place, "models of triton"), bundle, manifest=manifest)
        config = text_format.Parse((made / "config.pbtxt").read_text(encoding="utf-8"), schema.ModelConfig())
        assert (made / "1" / f"model{Path(served).suffix}").read_bytes() == b"abc"
        assert [path.name for path in made.parent.iterdir()] == [config.name]
    assert config.name.isascii()
    assert config.max_batch_size == batch[2]
    assert set(config.dynamic_batching.preferred_batch_size) == set(batch[1:])
    for tensors, shapes_ in ((config.input, inputs), (config.output, outputs)):
        dims = {name: [size if isinstance(size, int) else -1 for size in shape[1:]] for name, shape in shapes_.items()}
        assert {tensor.name: list(tensor.dims) for tensor in tensors} == dims
    facts = {key: value.string_value for key, value in config.parameters.items()}
    assert facts["crosspoint_model_sha256"] == hashes[0]
    assert (facts["crosspoint_source_sha256"], facts["crosspoint_precision"]) == (hashes[1], precision)
    assert {warmup.batch_size for warmup in config.model_warmup} == {1, *batch[1:]}
    for warmup in config.model_warmup:
        for name_, shape in inputs.items():
            usual = points[1] if points else 1024
            dims = [size if isinstance(size, int) else usual for size in shape[1:]]
            assert list(warmup.inputs[name_].dims) == dims
