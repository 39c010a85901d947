"""An encoder in forked children, which have none of their parent's threads."""

import dataclasses
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from held_encoder import WAIT, Held, held_up

from crosspoint.core.errors import InputError
from crosspoint.runtime import Encoder
from crosspoint.runtime.backends.onnx import OnnxEncoder

Clouds = Callable[..., np.ndarray]

FORKED = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]
INHERITED: list[tuple[Encoder, np.ndarray]] = []


def forking(test: Callable) -> Callable:
    """Marks a test that forks."""
    for mark in FORKED:
        test = mark(test)
    return test


def embed_inherited(_: int) -> np.ndarray:
    encoder, points = INHERITED[-1]
    return encoder.embed(points)


def exit_code_of_child(work: Callable[[], bool]) -> int | None:
    """0 of a forked child in which `work` holds; None of one that is stuck."""
    child = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(not work()))
    child.start()
    child.join(WAIT)
    code = child.exitcode
    child.kill()
    return code


@forking
@pytest.mark.parametrize("batch", [1, 2, 9])
def test_a_forked_child_embeds(encoder: Encoder, clouds: Clouds, batch: int) -> None:
    expected = encoder.embed(clouds(9))[:batch]  # all threads of the parent have been at work
    INHERITED.append((encoder, clouds(9)[:batch]))
    with multiprocessing.get_context("fork").Pool(2) as workers:
        for result in workers.map_async(embed_inherited, range(4)).get(WAIT):
            np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(encoder.embed(clouds(9))[:batch], expected)


@forking
def test_a_method_is_mapped_over_forked_workers(encoder: Encoder, clouds: Clouds) -> None:
    batches = [clouds(2, seed=i) for i in range(3)]
    expected = [encoder.embed(points) for points in batches]
    with multiprocessing.get_context("fork").Pool(2) as workers:
        for result, wanted in zip(workers.map_async(encoder.embed, batches).get(WAIT), expected, strict=True):
            np.testing.assert_array_equal(result, wanted)


@forking
def test_a_fork_beside_a_call_and_a_close_in_other_threads(clouds: Clouds, pool: ThreadPoolExecutor) -> None:
    """What other threads hold or wait for at the fork stays so for ever in the child, where they are not."""
    encoder = Held()
    held = held_up(encoder)
    call = pool.submit(encoder.embed, clouds())
    assert encoder.inside.acquire(timeout=WAIT)
    closing = pool.submit(encoder.close)
    assert held.acquire(timeout=WAIT)

    def works() -> bool:
        encoder.go = threading.Event()
        encoder.go.set()
        same = np.array_equal(encoder.embed(clouds()), clouds().sum(axis=1))
        encoder.close()
        return same and encoder.freed == 1

    assert exit_code_of_child(works) == 0
    encoder.go.set()
    np.testing.assert_array_equal(call.result(WAIT), clouds().sum(axis=1))
    closing.result(WAIT)


@forking
def test_a_closed_encoder_stays_closed_in_a_forked_child(encoder: Encoder, clouds: Clouds) -> None:
    encoder.close()

    def refuses() -> bool:
        try:
            encoder.embed(clouds())
        except InputError as error:
            return "was closed" in str(error)
        return False

    assert exit_code_of_child(refuses) == 0


@forking
def test_a_forked_child_closes(encoder: Encoder, clouds: Clouds) -> None:
    encoder.embed(clouds(9))

    def closes() -> bool:
        encoder.close()
        return True

    assert exit_code_of_child(closes) == 0


@forking
def test_a_child_of_a_child_embeds(encoder: Encoder, clouds: Clouds) -> None:
    expected = encoder.embed(clouds(9))

    def works() -> bool:
        return np.array_equal(encoder.embed(clouds(9)), expected)

    assert exit_code_of_child(lambda: works() and exit_code_of_child(works) == 0) == 0


@forking
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are not to be seen")
def test_a_child_that_ends_as_python_does(tmp_path: Path) -> None:
    """The parent's sessions are not ended in it, which would wait for threads that are not there."""
    code = f"""
import os, sys
import numpy as np
from pathlib import Path
from crosspoint.runtime.backends.onnx import OnnxEncoder
encoder = OnnxEncoder(Path({str(small.write_onnx(tmp_path / "m.onnx"))!r}), threads=2)
points = np.zeros((9, 16, 3), np.float32)
encoder.embed(points)
state = lambda task: (task / "stat").read_text().rpartition(")")[2].split()[0]
while [state(task) for task in Path("/proc/self/task").iterdir()].count("R") > 1:
    pass  # until the session's threads have fallen asleep: those are waited for
child = os.fork()
if child == 0:
    encoder.embed(points)
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}  # its thread holds up every forked child at its end
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WAIT, env=environment)
    assert done.stdout == "3\n"


@forking
def test_a_child_refuses_a_file_that_is_another_now(tmp_path: Path, clouds: Clouds) -> None:
    path = small.write_onnx(tmp_path / "m.onnx")
    with OnnxEncoder(path) as encoder:
        small.write_onnx(path, metadata='{"k": 3}')

        def refuses() -> bool:
            try:
                encoder.embed(clouds())
            except InputError as error:
                return str(error) == f"{path} has changed since it was opened; load it anew"
            return False

        assert exit_code_of_child(refuses) == 0


@forking
def test_a_child_in_another_folder_finds_the_file(
    tmp_path: Path, clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.write_onnx(tmp_path / "m.onnx")
    monkeypatch.chdir(tmp_path)
    with OnnxEncoder(Path("m.onnx")) as encoder:
        expected = encoder.embed(clouds())

        def works() -> bool:
            os.chdir("/")
            return np.array_equal(encoder.embed(clouds()), expected)

        assert exit_code_of_child(works) == 0


@forking
def test_on_a_gpu_a_forked_child_gets_a_line(clouds: Clouds) -> None:
    encoder = Held()
    encoder.specification = dataclasses.replace(encoder.specification, device="cuda:0")

    def refuses() -> bool:
        for call in (lambda: encoder.embed(clouds()), lambda: encoder.run({}), lambda: pickle.dumps(encoder)):
            try:
                call()
            except InputError as error:
                if "CUDA does not work after a fork; open it in each process" not in str(error):
                    return False
            else:
                return False
        encoder.close()
        return encoder.freed == 0  # what is on the GPU is the parent's

    assert exit_code_of_child(refuses) == 0
