"""One engine, several threads and processes, in host memory."""

import os
import pickle
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from device_arrays import OnDevice
from host_cuda import HostCuda
from threads import run_threads

from crosspoint.core.errors import InputError
from crosspoint.runtime import load_encoder

Clouds = Callable[..., np.ndarray]


class Meeting:
    """In the place of `HostCuda.meanwhile`: a thread inside a call waits a moment for another one inside a call."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)

    def __call__(self) -> None:
        try:
            self.barrier.wait(0.01)
        except threading.BrokenBarrierError:
            self.barrier.reset()


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
