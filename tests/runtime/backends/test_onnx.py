from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import small_models as small
from onnx import TensorProto, helper

from crosspoint.core.errors import InputError, Unsupported
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.onnx_interface import specify

METADATA = '{"model": {"architecture": "dgcnn", "k": 10}, "dim": 4, "points": null, "k": 10, "precision": "fp16"}'
Clouds = Callable[..., np.ndarray]


def test_metadata_says_what_it_is(tmp_path: Path) -> None:
    with OnnxEncoder(small.write_onnx(tmp_path / "m.onnx", metadata=METADATA)) as encoder:
        specification = encoder.specification
    assert (specification.architecture, specification.dim, specification.points) == ("dgcnn", 4, None)
    assert (specification.precision, specification.min_points, specification.max_batch) == ("fp16", 10, None)
    assert (specification.backend, specification.device) == ("onnxruntime", "cpu")


def test_fewer_points_than_neighbours_are_refused(tmp_path: Path, clouds: Clouds) -> None:
    with OnnxEncoder(small.write_onnx(tmp_path / "m.onnx", metadata=METADATA)) as encoder:
        assert encoder.embed(clouds(1, 10)).shape == (1, 4)
        with pytest.raises(InputError, match="at least 10"):
            encoder.embed(clouds(1, 9))


def test_a_foreign_file_works(tmp_path: Path, clouds: Clouds) -> None:
    with OnnxEncoder(small.write_onnx(tmp_path / "m.onnx")) as encoder:
        assert encoder.specification.architecture == "unknown"
        np.testing.assert_allclose(encoder.embed(clouds()), small.reference(clouds()), rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 4])
def test_fixed_sizes_split_and_pad(tmp_path: Path, clouds: Clouds, batch: int) -> None:
    with OnnxEncoder(small.write_onnx(tmp_path / "m.onnx", batch=batch, points=16)) as encoder:
        assert (encoder.specification.points, encoder.specification.max_batch) == (16, batch)
        np.testing.assert_allclose(encoder.embed(clouds(7)), small.reference(clouds(7)), rtol=1e-6)
        with pytest.raises(InputError, match="exactly 16"):
            encoder.embed(clouds(1, 17))


def test_segments(tmp_path: Path, clouds: Clouds) -> None:
    with OnnxEncoder(small.write_segmenter(tmp_path / "s.onnx")) as encoder:
        assert (encoder.specification.categories, encoder.specification.dim) == (2, 2)
        logits = encoder.segment(clouds(2), [[0, 1], [1, 0]])
    np.testing.assert_allclose(logits, clouds(2)[..., :2] + np.array([[[0, 10]], [[10, 0]]]), rtol=1e-6)


def test_number_of_threads_does_not_change_the_result(tmp_path: Path, clouds: Clouds) -> None:
    path = small.write_onnx(tmp_path / "m.onnx")
    with OnnxEncoder(path, threads=1) as one, OnnxEncoder(path, threads=2) as two:
        np.testing.assert_array_equal(one.embed(clouds()), two.embed(clouds()))


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x89PNG\r\n\x1a\n" * 50])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.onnx(: is (empty|a PNG image)|.* .*export the model again)") as caught:
        OnnxEncoder(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_needs_another_kernel_is_not_called_damaged(tmp_path: Path) -> None:
    path = small.write_onnx(tmp_path / "m.onnx")
    model, bf16 = onnx.load(str(path)), TensorProto.BFLOAT16
    for node in model.graph.node:
        node.input[:] = ["moved" if name == "points" else name for name in node.input]
    first = [
        helper.make_node("Cast", ["points"], ["narrow"], to=bf16),
        helper.make_node("MatMul", ["narrow", "turn"], ["turned"]),
        helper.make_node("Cast", ["turned"], ["moved"], to=TensorProto.FLOAT),
    ]
    nodes = [*first, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(helper.make_tensor("turn", bf16, [3, 3], np.eye(3).ravel().tolist()))
    onnx.save(model, str(path))
    with pytest.raises(Unsupported, match=r"needs a kernel that CPUExecutionProvider of ONNX Runtime .* lacks"):
        OnnxEncoder(path)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = small.write_onnx(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="is damaged or not an ONNX model"):
        OnnxEncoder(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m\.onnx: cannot be opened"):
        OnnxEncoder(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": TensorProto.FLOAT16}, r"points has the type tensor\(float16\)"),
        ({"metadata": "{"}, "damaged crosspoint metadata|is damaged or not an ONNX model"),
        ({"metadata": "[]"}, "damaged crosspoint metadata|is damaged or not an ONNX model"),
        (
            {"metadata": '{"k": "many"}'},
            "damaged crosspoint metadata|is damaged or not an ONNX model",
        ),
        (
            {"metadata": '{"model": 3}'},
            "damaged crosspoint metadata|is damaged or not an ONNX model",
        ),
    ],
)
def test_another_kind_of_model(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        OnnxEncoder(small.write_onnx(tmp_path / "m.onnx", **options))


def test_a_failure_inside_the_runtime_is_one_line(tmp_path: Path, clouds: Clouds) -> None:
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph(  # a TopK of 20 that the file does not speak of
        [
            helper.make_node("TopK", ["points", "k"], ["values", "indices"], axis=1),
            helper.make_node("ReduceMax", ["values", "axes"], ["embedding"], keepdims=0),
        ],
        "topk",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["b", "n", 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", 3])],
        [numpy_helper.from_array(np.array([20], np.int64), "k"), numpy_helper.from_array(np.array([1]), "axes")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    with (
        OnnxEncoder(path) as encoder,
        pytest.raises(InputError, match=r"m\.onnx failed on points \(3, 16, 3\)") as caught,
    ):
        encoder.embed(clouds())
    assert "\n" not in str(caught.value)


def test_a_provider_that_is_not_there_is_refused(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = small.write_onnx(tmp_path / "m.onnx")
    for backend, provider in (
        ("onnxruntime", "CUDAExecutionProvider"),
        ("onnxruntime-tensorrt", "TensorrtExecutionProvider"),
    ):
        if provider in runtime.get_available_providers():
            continue
        with pytest.raises(InputError, match=rf"{provider}: the installed ONNX Runtime .*--device cpu"):
            OnnxEncoder(path, "cuda", backend=backend)


def test_a_provider_that_falls_away_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime runs on the CPU without a word when CUDA's libraries are missing: a provider listed, not loaded."""
    runtime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in runtime.get_available_providers():
        pytest.skip("CUDA's provider is here")
    listed = [*runtime.get_available_providers(), "CUDAExecutionProvider"]
    monkeypatch.setattr(runtime, "get_available_providers", lambda: listed)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(InputError, match="did not load"):
        OnnxEncoder(small.write_onnx(tmp_path / "m.onnx"), "cuda")


def test_its_tensorrt_provider_does_not_run_on_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="runs on a GPU only"):
        OnnxEncoder(small.write_onnx(tmp_path / "m.onnx"), "cpu", backend="onnxruntime-tensorrt")


def test_names_that_are_no_text_are_an_error_of_the_file_with_advice() -> None:
    def no_text() -> None:
        b"\xff".decode()

    session = SimpleNamespace(get_inputs=no_text, get_outputs=no_text)
    with pytest.raises(InputError, match=r"m\.onnx: is damaged or not an ONNX model.*; export the model again"):
        specify(session, Path("m.onnx"), digest="0" * 64, device="cpu", backend="onnxruntime", engine="")
