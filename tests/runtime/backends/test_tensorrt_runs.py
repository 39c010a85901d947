"""An engine runs in host memory: copies, shapes, padding, captures, and what fails meanwhile.

It proves nothing about TensorRT itself; that is for the tests marked `gpu`.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_models as small
from device_arrays import OnDevice
from host_cuda import HostCuda, Status

from crosspoint.core.errors import InputError
from crosspoint.runtime import load_encoder
from crosspoint.runtime.backends.dlpack import CUDA

Clouds = Callable[..., np.ndarray]


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


@pytest.mark.parametrize(("batch", "points"), [(5, 16), (3, 40)])
def test_what_is_larger_than_a_buffer_is_not_copied(
    batch: int, points: int, engine_bundle: Path, host: HostCuda, clouds: Clouds
) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder, pytest.raises(InputError, match="the engine takes"):
        encoder.run({"points": clouds(batch, points)})
    assert "cudaMemcpyAsync" not in [name for name, _ in host.calls]


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


def test_a_segmenter_s_inputs_are_each_copied(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    host.trt.model = small.SEGMENTER
    with load_encoder(engine_bundle, "cuda") as encoder:
        assert (encoder.specification.categories, encoder.specification.dim) == (2, 2)
        for i in range(4):  # in pieces of 4, 4 and 1, the last padded; captured meanwhile
            given = clouds(9, 16, seed=i), np.eye(2, dtype=np.float32)[(np.arange(9) + i) % 2]
            np.testing.assert_allclose(encoder.segment(*given), small.segments(*given))
        assert host.launches


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
