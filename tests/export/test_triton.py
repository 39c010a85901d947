"""`config.pbtxt` is read with Triton's own schema, the one in the package `tritonclient`."""

from types import ModuleType

import pytest
from toy_manifest import bundle_manifest

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.export import triton
from crosspoint.export.bundle import export
from crosspoint.export.options import ExportOptions

text_format = pytest.importorskip("google.protobuf.text_format")


def manifest(**changes):
    """Of a DGCNN for 512 to 2048 points with an engine of TensorRT."""
    values = {
        "files": {name: {"sha256": name[-4:] * 16, "bytes": 1} for name in ("encoder.onnx", "encoder.plan")},
        "source": {"path": "encoder.safetensors", "sha256": "s" * 64},
        "precision": {"read_back": "fp16"},
        "inputs": {"points": ["batch", "points", 3]},
        "outputs": {"embedding": ["batch", 2048]},
        "profile": {"batch": [1, 8, 32], "points": [512, 1024, 2048]},
        "engine": {"builder": "tensorrt", "version": "10.3.0", "targets": ["sm87"]},
    }
    return bundle_manifest(**{**values, **changes})


def parse(schema: ModuleType, text: str):
    return text_format.Parse(text, schema.ModelConfig())


def test_an_engine_s_configuration(schema):
    config = parse(schema, triton.configuration("dgcnn", manifest(), served="encoder.plan"))
    assert (config.name, config.platform, config.backend) == ("dgcnn", "tensorrt_plan", "tensorrt")
    assert config.max_batch_size == 32
    (points,), (embedding,) = config.input, config.output
    assert (points.name, points.data_type, list(points.dims)) == ("points", schema.TYPE_FP32, [-1, 3])
    assert (embedding.name, embedding.data_type, list(embedding.dims)) == ("embedding", schema.TYPE_FP32, [2048])
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 32]
    assert config.dynamic_batching.max_queue_delay_microseconds == 500  # 0.5 ms, as docs/triton.md says
    (group,) = config.instance_group
    assert (group.count, group.kind) == (1, schema.ModelInstanceGroup.KIND_GPU)
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 8, 32]
    for warmup in config.model_warmup:
        value = warmup.inputs["points"]
        assert (value.data_type, list(value.dims), value.random_data) == (schema.TYPE_FP32, [1024, 3], True)
    facts = {key: value.string_value for key, value in config.parameters.items()}
    assert facts["crosspoint_model_sha256"] == "plan" * 16
    assert (facts["crosspoint_tensorrt"], facts["crosspoint_targets"]) == ("10.3.0", "sm87")
    assert facts["crosspoint_precision"] == "fp16"
    assert not config.HasField("optimization")


def test_an_onnx_file_s_configuration_has_tf32_off(schema):
    config = parse(schema, triton.configuration("dgcnn", manifest(engine=None), served="encoder.onnx"))
    assert (config.platform, config.backend) == ("onnxruntime_onnx", "onnxruntime")
    (cuda,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (cuda.name, dict(cuda.parameters)) == ("cuda", {"use_tf32": "0"})


def test_a_segmenter_s_configuration(schema):
    shapes = {
        "inputs": {"points": ["batch", 2048, 3], "category": ["batch", 16]},
        "outputs": {"logits": ["batch", 2048, 50]},
        "profile": {"batch": [1, 1, 4], "points": [2048, 2048, 2048]},
    }
    config = parse(schema, triton.configuration("parts", manifest(**shapes), served="encoder.onnx"))
    assert {tensor.name: list(tensor.dims) for tensor in config.input} == {"points": [2048, 3], "category": [16]}
    assert {tensor.name: list(tensor.dims) for tensor in config.output} == {"logits": [2048, 50]}
    assert [warmup.batch_size for warmup in config.model_warmup] == [1, 4]
    assert config.model_warmup[0].inputs["category"].zero_data


def test_a_schema_error_would_be_noticed(schema):
    with pytest.raises(text_format.ParseError):
        parse(
            schema,
            triton.configuration("dgcnn", manifest(), served="encoder.plan").replace("max_batch_size", "max_batch"),
        )


def test_an_export_writes_a_model_that_another_export_replaces(saved, tmp_path, schema):
    repository = tmp_path / "models"
    (repository / "other" / "1").mkdir(parents=True)
    for points in (64, 32):
        export(
            saved("pointnet"),
            tmp_path / "net v1",
            batch="1:2:4",
            points=points,
            options=ExportOptions(triton=repository),
        )
        config = parse(schema, (repository / "net_v1" / "config.pbtxt").read_text())
        assert config.name == "net_v1"
        assert list(config.input[0].dims) == [points, 3]
        assert sha256(repository / "net_v1" / "1" / "model.onnx") == sha256(tmp_path / "net v1" / "encoder.onnx")
    assert sorted(path.name for path in repository.iterdir()) == ["net_v1", "other"]
    assert sorted(path.name for path in (repository / "net_v1").iterdir()) == ["1", "config.pbtxt"]
    with pytest.raises(FileNotFoundError):
        (repository / "net_v1" / "1" / "model.plan").stat()


def test_an_engine_is_served_only_if_tensorrt_built_it(tmp_path, schema):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name in ("encoder.onnx", "encoder.plan"):
        (bundle / name).write_text(name)
    folder = triton.write_repository(tmp_path / "a", bundle, manifest=manifest())
    assert (folder / "1" / "model.plan").read_text() == "encoder.plan"
    rtx = {"builder": "tensorrt-rtx", "version": "1.7", "targets": ["sm86"]}
    folder = triton.write_repository(tmp_path / "b", bundle, manifest=manifest(engine=rtx))
    assert (folder / "1" / "model.onnx").read_text() == "encoder.onnx"
    assert parse(schema, (folder / "config.pbtxt").read_text()).backend == "onnxruntime"


@pytest.mark.parametrize(
    ("batch", "place", "message"),
    [
        ("2:4:8", "models", r"--triton: Triton also sends single clouds; give --batch 1:4:8"),
        ("1:4:8", "file", r"--triton .*file is a file"),
        ("1:4:8", "full", r"holds files that this package did not write"),
    ],
)
def test_what_cannot_be_served_is_refused_before_the_export(batch, place, message, saved, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full" / "bundle").mkdir(parents=True)
    (tmp_path / "full" / "bundle" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=message):
        export(
            saved("pointnet"),
            tmp_path / "bundle",
            batch=batch,
            points=64,
            options=ExportOptions(triton=tmp_path / place),
        )
    assert not (tmp_path / "bundle").exists()


def test_the_same_bundle_gives_the_same_text():
    given = manifest()
    texts = {triton.configuration("dgcnn", given, served="encoder.plan") for _ in range(3)}
    assert len(texts) == 1
