"""What holds of the TensorRT backend without a GPU, with the real modules; execution is in the tests marked `gpu`.

The fixture `host` stands in for the GPU in host memory, so that copies, shapes, padding, captures and the freeing of
buffers are checked everywhere. It proves nothing about TensorRT itself.
"""

import hashlib
import importlib
import json
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_models as small
from host_cuda import HostCuda, Status

from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.runtime import load_encoder, load_manifest
from crosspoint.runtime.backends import cuda
from crosspoint.runtime.backends import tensorrt as backend
from crosspoint.runtime.backends.dlpack import CUDA
from crosspoint.runtime.backends.tensorrt_log import errors_of, logger

Clouds = Callable[..., np.ndarray]


def test_an_engine_does_not_run_on_the_cpu(engine_bundle: Path) -> None:
    for model, chosen in ((engine_bundle / "encoder.plan", None), (engine_bundle, "tensorrt")):
        with pytest.raises(InputError, match=r"runs on a GPU only; give --device cuda, or .*--backend onnxruntime"):
            load_encoder(model, "cpu", backend=chosen)


def test_a_changed_engine_is_not_deserialized(engine_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = engine_bundle / "encoder.plan"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("TensorRT was reached")

    monkeypatch.setattr(backend, "require", forbidden)
    with pytest.raises(InputError, match=r"encoder\.plan is not the exported file"):
        load_encoder(engine_bundle, "cuda")


def test_without_a_gpu_it_says_so(engine_bundle: Path, no_gpu: None) -> None:
    with pytest.raises(
        InputError, match=r"encoder\.plan cannot run here: .*\(\w+\); .*--backend onnxruntime"
    ) as caught:
        load_encoder(engine_bundle, "cuda")
    assert "\n" not in str(caught.value)


def test_a_flavour_that_is_not_installed(engine_bundle: Path) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed")
    small.write_manifest(engine_bundle, {**small.ENGINE, "builder": "tensorrt"})
    with pytest.raises(MissingDependency, match=r"needs the package tensorrt .*pip install .*\[trt\]"):
        load_encoder(engine_bundle, "cuda")


@pytest.mark.parametrize("engine", [None, {"builder": "other"}])
def test_an_engine_of_unknown_origin(engine_bundle: Path, engine: dict | None) -> None:
    small.write_manifest(engine_bundle, None if engine is None else {**small.ENGINE, **engine})
    with pytest.raises(InputError, match="does not say which TensorRT built it"):
        load_encoder(engine_bundle / "encoder.plan", "cuda")


def test_the_logger_keeps_the_errors_of_the_real_runtime(capfd: pytest.CaptureFixture[str]) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    with errors_of(trt) as errors, errors_of(trt) as others:
        assert trt.Runtime(logger(trt)).deserialize_cuda_engine(b"rubbish") is None
    assert errors
    assert errors == others
    assert all("\n" not in message for message in errors)
    assert capfd.readouterr() == ("", "")


def test_a_failing_call_names_itself(no_gpu: None) -> None:
    pytest.importorskip("cuda.bindings.runtime")
    with pytest.raises(InputError, match=r"cudaGetDeviceCount failed with cudaError\w+"):
        cuda.call(cuda.cuda_runtime().cudaGetDeviceCount)


# In host memory


def test_copies_shapes_and_padding(engine_bundle: Path, host: SimpleNamespace, clouds: Clouds) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder:
        specification = encoder.specification
        assert (specification.dim, specification.points, specification.device) == (4, None, "cuda:0")
        assert (specification.min_batch, specification.max_batch) == (2, 4)
        assert (specification.min_points, specification.max_points) == (8, 32)
        for batch, points in ((1, 8), (4, 32), (3, 9), (9, 16)):
            np.testing.assert_allclose(
                encoder.embed(clouds(batch, points)), small.reference(clouds(batch, points)), rtol=1e-5, atol=1e-6
            )
        assert len(host.memory) == 3  # working memory, points, embedding
        with pytest.raises(InputError, match="8 to 32"):
            encoder.embed(clouds(2, 33))
    assert (len(host.memory), host.streams) == (0, 0)


def test_all_is_freed_when_opening_fails(engine_bundle: Path, host: SimpleNamespace) -> None:
    host.limit = 1000  # enough for no input buffer
    with pytest.raises(InputError, match="cudaMalloc failed with cudaErrorMemoryAllocation"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ({}, "it is damaged, or is no engine"),
        ({"version": "1.2.0"}, r"it was built with tensorrt-rtx 1\.2\.0, and 1\.7\.1 is installed here"),
        ({"targets": ["sm89", "sm120"]}, "it was built for sm89, sm120, and this GPU is sm86"),
    ],
)
def test_an_engine_that_does_not_load_is_explained(
    engine: dict, reason: str, engine_bundle: Path, host: SimpleNamespace
) -> None:
    (engine_bundle / "encoder.plan").write_bytes(b"x")
    small.write_manifest(engine_bundle, {**small.ENGINE, **engine})
    with pytest.raises(InputError, match=rf"does not load: {reason} .*rebuild it here: crosspoint export") as caught:
        load_encoder(engine_bundle, "cuda")
    assert "\n" not in str(caught.value)
    assert len(host.memory) == 0


def test_a_bundle_with_a_build_script_says_to_run_it(engine_bundle: Path, host: SimpleNamespace) -> None:
    (engine_bundle / "encoder.plan").write_bytes(b"x")
    (engine_bundle / "build_on_device.sh").write_text("")
    small.write_manifest(engine_bundle, small.ENGINE)
    with pytest.raises(InputError, match=r"rebuild it here: sh .*bundle/build_on_device\.sh, or"):
        load_encoder(engine_bundle, "cuda")


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"batch": [1, 3, 4], "points": [8, 16, 32]}, "batch 2 to 4, but its manifest says 1 to 4"),
        ({"batch": [2, 3, 4], "points": [8, 16, 64]}, "points 8 to 32, but its manifest says 8 to 64"),
    ],
)
def test_a_profile_that_is_not_the_manifest_s(
    profile: dict, said: str, engine_bundle: Path, host: SimpleNamespace
) -> None:
    small.write_manifest(engine_bundle, small.ENGINE, profile=profile)
    with pytest.raises(InputError, match=f"takes {said}: they belong to different bundles"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_a_trusted_engine_without_a_manifest(
    tmp_path: Path, plan: bytes, host: SimpleNamespace, clouds: Clouds
) -> None:
    (tmp_path / "own.plan").write_bytes(plan)
    with load_encoder(tmp_path / "own.plan", "cuda", trust=True) as encoder:
        specification = encoder.specification
        assert (specification.backend, specification.precision) == ("tensorrt-rtx", "unknown")
        assert specification.sha256 == hashlib.sha256(plan).hexdigest()
        np.testing.assert_allclose(encoder.embed(clouds(3, 16)), small.reference(clouds(3, 16)), rtol=1e-5, atol=1e-6)


def test_trust_does_not_overrule_a_manifest(engine_bundle: Path, host: SimpleNamespace) -> None:
    with (engine_bundle / "encoder.plan").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"encoder\.plan has \d+ bytes"):
        load_encoder(engine_bundle, "cuda", trust=True)


def test_a_shape_that_comes_again_is_captured_and_then_launched_as_a_graph(
    engine_bundle: Path, host: SimpleNamespace, clouds: Clouds
) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder:
        for i, launches in enumerate((0, 0, 1, 2)):
            given = clouds(3, 16, seed=i)
            np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-5, atol=1e-6)
            assert (len(host.graphs), host.launches) == (min(i, 1), launches)
        for points in range(8, 32):  # none of these comes twice
            encoder.embed(clouds(2, points))
        assert len(host.graphs) == 1
        for points in range(8, 20):  # all of these do, and only the latest are kept
            for _ in range(3):
                given = clouds(4, points)
                np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-5, atol=1e-6)
        assert len(host.graphs) == 8
    assert (len(host.graphs), len(host.memory), host.streams) == (0, 0, 0)


def test_where_nothing_can_be_captured_results_are_the_same(
    engine_bundle: Path, host: SimpleNamespace, clouds: Clouds
) -> None:
    host.fails = {"cudaStreamEndCapture": Status.cudaErrorStreamCaptureUnsupported}
    with load_encoder(engine_bundle, "cuda") as encoder:
        for i in range(4):
            given = clouds(3, 16, seed=i)
            np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-5, atol=1e-6)
    assert (host.launches, len(host.graphs)) == (0, 0)


class OnDevice:
    """An array in host memory that claims to be on a CUDA device, and notes the stream that it is asked to wait on."""

    def __init__(
        self, array: np.ndarray, device: tuple[int, int] = (CUDA, 0), offset: int = 0, host: HostCuda | None = None
    ) -> None:
        memory = np.zeros(array.nbytes + 512, np.uint8)
        start = -memory.ctypes.data % 256 + offset
        self.array = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        self.array[...] = array
        self.device, self.streams = device, []
        if host is not None:
            host.lend(self.array)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, stream: int | None = None) -> object:
        self.streams.append(stream)
        return self.array.__dlpack__()


def test_arrays_of_others_are_used_where_they_lie(engine_bundle: Path, host: SimpleNamespace, clouds: Clouds) -> None:
    points, out = OnDevice(clouds(3, 16), host=host), OnDevice(np.zeros((3, 4), np.float32), host=host)
    with load_encoder(engine_bundle, "cuda") as encoder:
        for i in range(4):
            points.array[...] = clouds(3, 16, seed=i)
            encoder.embed_into(points, out)
            np.testing.assert_allclose(out.array, small.reference(clouds(3, 16, seed=i)), rtol=1e-5, atol=1e-6)
        assert host.launches == 2
        assert points.streams == out.streams == [7] * 4
        given = clouds(3, 16, seed=9)  # and copies work as before
        np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("points", "out", "message"),
    [
        (lambda: OnDevice(np.zeros((3, 16, 3), np.float32), (1, 0)), None, "points is not on cuda:0"),
        (lambda: OnDevice(np.zeros((3, 16, 3), np.float32), (2, 1)), None, "points is not on cuda:0"),
        (lambda: OnDevice(np.zeros((3, 16, 3))), None, "points is not float32"),
        (
            lambda: OnDevice(np.zeros((5, 16, 3), np.float32)),
            None,
            r"points has the shape \(5, 16, 3\); the engine takes",
        ),
        (lambda: OnDevice(np.zeros((3, 33, 3), np.float32)), None, r"takes \(2, 8, 3\) to \(4, 32, 3\)"),
        (lambda: OnDevice(np.zeros((16, 3), np.float32)), None, r"points has the shape \(16, 3\); the engine takes"),
        (
            lambda: OnDevice(np.zeros((3, 16, 3), np.float32), offset=4),
            None,
            "points does not start at a multiple of 256",
        ),
        (lambda: [[0.0]], None, "points is a list, without DLPack"),
        (None, lambda: OnDevice(np.zeros((4, 4), np.float32)), r"out has the shape \(4, 4\); give \(3, 4\)"),
        (None, lambda: np.zeros((3, 4), np.float32), "out is not on cuda:0"),
    ],
)
def test_arrays_that_do_not_fit(points, out, message: str, engine_bundle: Path, host: SimpleNamespace) -> None:
    given = points() if points else OnDevice(np.zeros((3, 16, 3), np.float32))
    result = out() if out else OnDevice(np.zeros((3, 4), np.float32))
    with load_encoder(engine_bundle, "cuda") as encoder, pytest.raises(InputError, match=message):
        encoder.embed_into(given, result)


def test_an_encoder_does_not_segment_in_place(engine_bundle: Path, host: SimpleNamespace) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder, pytest.raises(InputError, match="use embed_into"):
        encoder.segment_into(None, None, out=None)


def test_a_device_that_is_not_there(engine_bundle: Path, host: SimpleNamespace) -> None:
    with pytest.raises(InputError, match="device cuda:1 does not exist; there are 1"):
        load_encoder(engine_bundle, "cuda:1")


@pytest.mark.parametrize(("batch", "points"), [(5, 16), (3, 40)])
def test_what_is_larger_than_a_buffer_is_not_copied(
    batch: int, points: int, engine_bundle: Path, host: HostCuda, clouds: Clouds
) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder, pytest.raises(InputError, match="the engine takes"):
        encoder.run({"points": clouds(batch, points)})
    assert "cudaMemcpyAsync" not in [name for name, _ in host.calls]


# Threads and processes


class Meeting:
    """In the place of `HostCuda.meanwhile`: a thread inside a call waits a moment for another one inside a call."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)

    def __call__(self) -> None:
        try:
            self.barrier.wait(0.01)
        except threading.BrokenBarrierError:
            self.barrier.reset()


def run_threads(*functions: Callable[[], None]) -> None:
    """Run functions at once; raises what the first of them raised."""
    with ThreadPoolExecutor(len(functions)) as pool:
        for done in [pool.submit(function) for function in functions]:
            done.result()


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt-rtx"])
def test_every_thread_gets_its_own_embeddings(
    flavour: str,
    engine_bundle: Path,
    host: HostCuda,
    request: pytest.FixtureRequest,
    clouds: Clouds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(engine_bundle / "cache"))
    if flavour == "tensorrt-rtx":
        request.getfixturevalue("captures")
    host.meanwhile = Meeting()
    with load_encoder(engine_bundle, "cuda") as encoder:

        def embed(thread: int) -> None:
            for i in range(5):
                given = clouds(3, 16, seed=10 * thread + i)
                np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-5, atol=1e-6)

        run_threads(*(partial(embed, thread) for thread in range(4)))
    assert (len(host.memory), host.streams) == (0, 0)


def test_every_thread_gets_its_own_segmentation(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    host.trt.model = small.SEGMENTER
    host.meanwhile = Meeting()
    with load_encoder(engine_bundle, "cuda") as encoder:

        def segment(thread: int) -> None:
            for i in range(4):
                points, category = clouds(2, 16, seed=10 * thread + i), np.eye(2, dtype=np.float32)
                given = points, category[::-1] if thread % 2 else category
                np.testing.assert_allclose(encoder.segment(*given), small.segments(*given))

        run_threads(*(partial(segment, thread) for thread in range(3)))


def test_every_thread_gets_its_own_result_in_place(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    host.meanwhile = Meeting()
    with load_encoder(engine_bundle, "cuda") as encoder:

        def embed(thread: int) -> None:
            points, out = (OnDevice(a, host=host) for a in (clouds(3, 16), np.zeros((3, 4), np.float32)))
            for i in range(4):  # other points in the same array: twice kernel by kernel, then as a graph
                points.array[...] = clouds(3, 16, seed=10 * thread + i)
                encoder.embed_into(points, out)
                np.testing.assert_allclose(out.array, small.reference(points.array), rtol=1e-5, atol=1e-6)

        run_threads(*(partial(embed, thread) for thread in range(3)))


def test_a_close_waits_for_the_thread_that_runs(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    encoder, given = load_encoder(engine_bundle, "cuda"), clouds(3, 16)
    closer = threading.Thread(target=encoder.close)

    def close_meanwhile() -> None:
        host.meanwhile = lambda: None
        closer.start()
        closer.join(0.05)

    host.meanwhile = close_meanwhile
    np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-5, atol=1e-6)
    closer.join()
    assert (len(host.memory), host.streams) == (0, 0)


def test_a_closed_encoder_says_so(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    points, out = OnDevice(clouds(3, 16), host=host), OnDevice(np.zeros((3, 4), np.float32), host=host)
    encoder = load_encoder(engine_bundle, "cuda")
    encoder.close()
    encoder.close()
    for use in (lambda: encoder.run({"points": clouds(3, 16)}), lambda: encoder.embed_into(points, out)):
        with pytest.raises(InputError, match="was closed"):
            use()


def test_a_forked_process_says_so_also_while_another_thread_runs(
    engine_bundle: Path, host: HostCuda, clouds: Clouds
) -> None:
    given, outcomes = clouds(3, 16), []
    encoder = load_encoder(engine_bundle, "cuda")

    def in_child() -> int:
        try:
            encoder.run({"points": given})
        except InputError as error:
            encoder.close()  # which is not the child's to do
            return int("CUDA does not work after a fork" in str(error) and host.streams == 1)
        return 2

    def fork_meanwhile() -> None:  # in a thread that holds the encoder
        host.meanwhile = lambda: None
        outcomes.append(outcome_of_fork(in_child))

    host.meanwhile = fork_meanwhile
    encoder.embed(given)
    assert outcomes == [1]
    encoder.close()


def outcome_of_fork(function: Callable[[], int]) -> int:
    """What a function returns in a forked process; 3 for an exception, -14 where it takes more than ten seconds."""
    child = os.fork()
    if child == 0:
        outcome = 3
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            outcome = function()
        finally:
            os._exit(outcome)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_copy_by_pickle_opens_the_file_again(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    host.devices = 2
    with load_encoder(engine_bundle, "cuda:1") as encoder, pickle.loads(pickle.dumps(encoder)) as copy:
        assert host.streams == 2
        assert copy.specification == encoder.specification
        np.testing.assert_allclose(copy.embed(clouds()), small.reference(clouds()), rtol=1e-5, atol=1e-6)


# Devices


def test_the_caller_s_current_device_is_left_as_it_was(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    host.devices = 2
    points, out = (OnDevice(a, (CUDA, 1), host=host) for a in (clouds(3, 16), np.zeros((3, 4), np.float32)))
    encoder = load_encoder(engine_bundle, "cuda:1")
    assert host.device == 0
    for _ in range(3):
        encoder.embed(clouds(3, 16))
        assert host.device == 0
        encoder.embed_into(points, out)
        assert host.device == 0
    host.calls.clear()
    encoder.close()
    assert host.device == 0
    freeing = {
        device for name, device in host.calls if name in ("cudaFree", "cudaStreamDestroy", "cudaGraphExecDestroy")
    }
    assert freeing == {1}


# What a manifest says


def changed(bundle: Path, engine: dict, **values: object) -> None:
    small.write_manifest(bundle, {**small.ENGINE, **engine}, **values)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ({"version": "10.3.0"}, r"was built with tensorrt-rtx 10\.3\.0, and 1\.7\.1 is installed here"),
        ({"version": "1.7.1.2"}, r"was built with tensorrt-rtx 1\.7\.1\.2, and 1\.7\.1 is"),
        ({"targets": ["sm87"]}, "was built for sm87, and this GPU is sm86"),
        ({"targets": []}, "was built for no GPU that its manifest names, and this GPU is sm86"),
    ],
)
def test_an_engine_of_another_version_or_gpu_is_not_deserialized(
    engine: dict, reason: str, engine_bundle: Path, host: HostCuda
) -> None:
    changed(engine_bundle, engine)
    with pytest.raises(InputError, match=rf"does not load: it {reason}.*rebuild it here: crosspoint export") as caught:
        load_encoder(engine_bundle, "cuda")
    assert "\n" not in str(caught.value)
    assert host.trt.deserialized == []


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (None, "batch 2 to 4, but its manifest says nothing of it"),
        ({"batch": [2, 3, 4], "points": None}, "points 8 to 32, but its manifest says nothing of it"),
        ({"batch": [2, 4, 4], "points": [8, 16, 32]}, "batch usually 3, but its manifest says usually 4"),
        ({"batch": [2, 3, 4], "points": [8, 32, 32]}, "points usually 16, but its manifest says usually 32"),
    ],
)
def test_a_profile_that_the_manifest_does_not_say(
    profile: dict | None, said: str, engine_bundle: Path, host: HostCuda
) -> None:
    changed(engine_bundle, {}, profile=profile)
    with pytest.raises(InputError, match=f"takes {said}: they belong to different bundles"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_host_code_of_an_engine_is_never_allowed(engine_bundle: Path, host: HostCuda, plan: bytes) -> None:
    load_encoder(engine_bundle, "cuda").close()
    assert host.trt.deserialized == [(hashlib.sha256(plan).hexdigest()[:8], False)]


# Several inputs


def test_a_segmenter_s_inputs_are_each_copied(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    host.trt.model = small.SEGMENTER
    with load_encoder(engine_bundle, "cuda") as encoder:
        assert (encoder.specification.categories, encoder.specification.dim) == (2, 2)
        for i in range(4):  # in pieces of 4, 4 and 1, the last padded; captured meanwhile
            given = clouds(9, 16, seed=i), np.eye(2, dtype=np.float32)[(np.arange(9) + i) % 2]
            np.testing.assert_allclose(encoder.segment(*given), small.segments(*given))
        assert host.launches


def test_a_segmenter_s_arrays_are_used_where_they_lie(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    host.trt.model = small.SEGMENTER
    arrays = clouds(3, 16), np.eye(2, dtype=np.float32)[[0, 1, 1]], np.zeros((3, 16, 2), np.float32)
    points, category, out = (OnDevice(array, host=host) for array in arrays)
    with load_encoder(engine_bundle, "cuda") as encoder:
        for i in range(4):
            points.array[...] = clouds(3, 16, seed=i)
            category.array[...] = category.array[::-1].copy()
            encoder.segment_into(points, category, out=out)
            np.testing.assert_allclose(out.array, small.segments(points.array, category.array))
        assert host.launches == 2


@pytest.mark.parametrize(
    ("category", "out", "message"),
    [
        ((2, 2), (3, 16, 2), r"category has the shape \(2, 2\); the engine takes"),
        ((4, 2), (3, 16, 2), r"category has the shape \(4, 2\); the engine takes"),
        ((3, 3), (3, 16, 2), r"category has the shape \(3, 3\); the engine takes"),
        ((3,), (3, 16, 2), r"category has the shape \(3,\); the engine takes"),
        ((3, 2), (3, 15, 2), r"out has the shape \(3, 15, 2\); give \(3, 16, 2\)"),
        ((3, 2), (3, 2), r"out has the shape \(3, 2\); give \(3, 16, 2\)"),
    ],
)
def test_a_segmenter_s_arrays_that_do_not_fit(
    category: tuple, out: tuple, message: str, engine_bundle: Path, host: HostCuda
) -> None:
    host.trt.model = small.SEGMENTER
    points, one_hot, result = (
        OnDevice(np.zeros(shape, np.float32), host=host) for shape in ((3, 16, 3), category, out)
    )
    with load_encoder(engine_bundle, "cuda") as encoder, pytest.raises(InputError, match=message):
        encoder.segment_into(points, one_hot, out=result)


def test_a_segmenter_does_not_embed_in_place(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.model = small.SEGMENTER
    with load_encoder(engine_bundle, "cuda") as encoder, pytest.raises(InputError, match="use segment_into"):
        encoder.embed_into(None, None)


# What fails on the way


def test_cuda_that_does_not_start_is_one_line(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.starts = False
    with pytest.raises(InputError, match=r"does not start \(CUDA initialization failure with error: 35 Please"):
        load_encoder(engine_bundle, "cuda")


def test_where_memory_for_another_context_is_lacking_the_first_goes_on(
    engine_bundle: Path, host: HostCuda, clouds: Clouds
) -> None:
    host.trt.contexts = 1
    with load_encoder(engine_bundle, "cuda") as encoder:
        for i in range(4):
            given = clouds(3, 16, seed=i)
            np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-5, atol=1e-6)
        assert (encoder.graphs, host.launches) == (0, 0)
        assert host.cudaGetLastError() == (Status.cudaSuccess,)  # nobody else takes it for theirs


def test_without_memory_for_the_first_context_it_does_not_open(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.contexts = 0
    with pytest.raises(InputError, match=r"no execution context: Error Code 2: OutOfMemory .*nvidia-smi"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_a_profile_that_is_not_taken(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.fails = {"set_optimization_profile_async"}
    with pytest.raises(InputError, match=r"refuses the engine's own profile: Error Code 3.*profile_async"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("set_tensor_address", "refuses the address of points: Error Code 3"),
        ("set_input_shape", r"refuses the shape \(3, 16, 3\) of points: Error Code 3"),
        ("execute_async_v3", "failed to execute: Error Code 3"),
    ],
)
def test_a_call_that_fails_is_one_line_and_leaves_nothing_under_way(
    method: str, message: str, engine_bundle: Path, host: HostCuda, clouds: Clouds
) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder:
        host.trt.fails = {method}
        with pytest.raises(InputError, match=message):
            encoder.embed(clouds(3, 16))
        names = [name for name, _ in host.calls]
        assert "cudaStreamSynchronize" in names[len(names) - names[::-1].index("cudaMemcpyAsync") :]
        host.trt.fails = set()
        np.testing.assert_allclose(encoder.embed(clouds(3, 16)), small.reference(clouds(3, 16)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "outputs",
    [
        lambda shapes: {"embedding": (-1, 4)},
        lambda shapes: {"embedding": (shapes["points"][0], -1)},
        lambda shapes: {"embedding": (shapes["points"][0] + 1, 4)},
        lambda shapes: {"embedding": (4,)},
    ],
)
def test_an_output_that_no_buffer_can_be_made_for_is_refused(
    outputs: Callable, engine_bundle: Path, host: HostCuda
) -> None:
    host.trt.model = replace(host.trt.model, outputs=outputs)
    with pytest.raises(InputError, match=r"gives embedding of shape \(.*\) for points of shape .*, which is wrong"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_an_output_that_outgrows_its_array_is_not_executed(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    def outputs(shapes: dict) -> dict:
        batch, points, _ = shapes["points"]
        return {"embedding": (batch, 4 if points == 32 else 400)}

    host.trt.model = replace(host.trt.model, outputs=outputs)
    points, out = OnDevice(clouds(3, 16), host=host), OnDevice(np.zeros((3, 4), np.float32), host=host)
    with pytest.raises(InputError, match="which is wrong"), load_encoder(engine_bundle, "cuda") as encoder:
        encoder.embed_into(points, out)
    assert not out.array.any()


def test_an_engine_in_another_type_is_refused(engine_bundle: Path, host: HostCuda) -> None:
    host.trt.model = replace(host.trt.model, types={"embedding": "float16"})
    with pytest.raises(InputError, match="embedding is not float32"):
        load_encoder(engine_bundle, "cuda")


def test_an_exception_during_a_capture_leaves_a_stream_that_works(
    engine_bundle: Path, host: HostCuda, clouds: Clouds
) -> None:
    def interrupt_capture() -> None:
        if host.calls[-1][0] == "cudaStreamBeginCapture":
            raise KeyboardInterrupt

    with load_encoder(engine_bundle, "cuda") as encoder:
        encoder.embed(clouds(3, 16))
        host.meanwhile = interrupt_capture
        with pytest.raises(KeyboardInterrupt):
            encoder.embed(clouds(3, 16))
        host.meanwhile = lambda: None
        np.testing.assert_allclose(encoder.embed(clouds(3, 16)), small.reference(clouds(3, 16)), rtol=1e-5, atol=1e-6)
        assert len(host.recorded) == 0
    assert (len(host.memory), host.streams, len(host.graphs)) == (0, 0, 0)


# On a GPU


def rewrite(bundle: Path, path: Path) -> None:
    """Make the manifest agree with a changed file."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    content = path.read_bytes()
    manifest["files"][path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.gpu
def test_splits_and_pads_to_the_profile(gpu_bundle: Path, clouds: Clouds) -> None:
    with load_encoder(gpu_bundle, "cuda") as encoder:
        assert encoder.specification.backend == load_manifest(gpu_bundle).engine.builder
        for batch, points in ((1, 8), (2, 16), (3, 9), (4, 32), (9, 16)):
            np.testing.assert_allclose(
                encoder.embed(clouds(batch, points)), small.reference(clouds(batch, points)), rtol=1e-4, atol=1e-5
            )


@pytest.mark.gpu
def test_every_thread_gets_its_own_embeddings_on_a_gpu(gpu_bundle: Path, clouds: Clouds) -> None:
    with load_encoder(gpu_bundle, "cuda") as encoder:

        def embed(thread: int) -> None:
            for i in range(50):
                given = clouds(3, (8, 16, 32)[i % 3], seed=100 * thread + i)
                np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-4, atol=1e-5)

        run_threads(*(partial(embed, thread) for thread in range(8)))


@pytest.mark.gpu
def test_a_damaged_engine_with_a_matching_hash_is_explained(gpu_bundle: Path) -> None:
    path = gpu_bundle / "encoder.plan"
    path.write_bytes(path.read_bytes()[:1000])
    rewrite(gpu_bundle, path)
    with pytest.raises(InputError, match=r"does not load: it .*rebuild it here"):
        load_encoder(gpu_bundle, "cuda")


@pytest.mark.gpu
def test_manifest_and_specification_agree(gpu_bundle: Path) -> None:
    manifest = load_manifest(gpu_bundle)
    with load_encoder(gpu_bundle, "cuda") as encoder:
        assert encoder.specification.sha256 == manifest.files["encoder.plan"].sha256
        assert (encoder.specification.min_batch, encoder.specification.max_batch) == (2, 4)


@pytest.mark.gpu
def test_a_repeated_shape_gives_the_same_from_its_graph(gpu_bundle: Path, clouds: Clouds) -> None:
    with load_encoder(gpu_bundle, "cuda") as encoder:
        for i in range(5):
            for points in (8, 16, 32):
                given = clouds(3, points, seed=i)
                np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_arrays_on_the_gpu_are_used_where_they_lie(library: str, gpu_bundle: Path, clouds: Clouds) -> None:
    module = pytest.importorskip(library)
    if library == "torch" and not module.cuda.is_available():
        pytest.skip("torch has no CUDA")
    place = {"device": "cuda"} if library == "torch" else {}
    points = module.zeros((3, 16, 3), dtype=module.float32, **place)
    out = module.zeros((3, 4), dtype=module.float32, **place)
    with load_encoder(gpu_bundle, "cuda") as encoder:
        for i in range(5):
            points[...] = module.asarray(clouds(3, 16, seed=i), **place)
            encoder.embed_into(points, out)
            result = out.cpu().numpy() if library == "torch" else module.asnumpy(out)
            np.testing.assert_allclose(result, small.reference(clouds(3, 16, seed=i)), rtol=1e-4, atol=1e-5)
