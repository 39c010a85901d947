"""One encoder, many threads and processes: interleavings are forced by events and barriers, never by time."""

import dataclasses
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import small_models as small

import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.runtime import Encoder
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.pytorch import PyTorchEncoder
from crosspoint.runtime.specification import Specification

Clouds = Callable[..., np.ndarray]
THREADS = 8
WAIT = 60  # seconds after which a thread that should have ended is stuck


class Held(Encoder):
    """Sums each cloud, once it is let; says when a call is inside."""

    def __init__(self) -> None:
        self.specification = Specification("sum", 3, None, None, "fp32", "numpy", "cpu", "", "sum")
        self.inside, self.go = threading.Semaphore(0), threading.Event()
        self.freed = 0

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._check_usable()
        self.inside.release()
        assert self.go.wait(WAIT)
        assert not self.freed
        return {"embedding": inputs["points"].sum(axis=1)}

    def _free(self) -> None:
        self.freed += 1


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def held_up(encoder: Encoder) -> threading.Semaphore:
    """Released each time a thread begins to wait for other calls, or for what has to be alone."""
    condition, held = encoder._calls._changed, threading.Semaphore(0)
    wait = condition.wait

    def announced(timeout: float | None = None) -> bool:
        held.release()  # under the condition's lock: nothing ends the waiting before it has begun
        return wait(timeout)

    condition.wait = announced  # type: ignore[method-assign]
    return held


def weights(folder: Path, segmenter: bool = False) -> Path:
    import torch

    from crosspoint.models import DGCNN, DGCNNSegmenter
    from crosspoint.models.weights import save_model

    torch.manual_seed(0)
    path = folder / "model.safetensors"
    save_model(DGCNNSegmenter(parts=5, categories=3, k=4) if segmenter else DGCNN(k=4), path)
    return path


@pytest.fixture(params=["onnx of 1 thread", "onnx of 2 threads", "onnx of a fixed batch", "pytorch"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Encoder]:
    """Each backend that runs here, for clouds of 16 points."""
    if request.param == "pytorch":
        opened: Encoder = PyTorchEncoder(weights(tmp_path))
    elif request.param.endswith("fixed batch"):
        opened = OnnxEncoder(small.write_onnx(tmp_path / "m.onnx", batch=4))
    else:
        opened = OnnxEncoder(small.write_onnx(tmp_path / "m.onnx"), threads=int(request.param.split()[2]))
    with opened:
        yield opened


@pytest.fixture(params=["onnx", "pytorch"])
def segmenter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Encoder]:
    if request.param == "onnx":
        opened: Encoder = OnnxEncoder(small.write_segmenter(tmp_path / "s.onnx"), threads=2)
    else:
        opened = PyTorchEncoder(weights(tmp_path, segmenter=True))
    with opened:
        yield opened


# Threads


def side_by_side(work: Callable[[int], np.ndarray], times: int = 10) -> list[list[np.ndarray]]:
    """What `times` calls of `work(i)` give in each of THREADS threads that begin together."""
    together = threading.Barrier(THREADS)

    def repeat(i: int) -> list[np.ndarray]:
        together.wait(WAIT)
        return [work(i) for _ in range(times)]

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(repeat, range(THREADS)))


def test_each_thread_gets_its_own_embeddings(encoder: Encoder, clouds: Clouds) -> None:
    points = [clouds(1 + i % 5, 16, seed=i) for i in range(THREADS)]
    expected = [encoder.embed(given) for given in points]
    for wanted, results in zip(expected, side_by_side(lambda i: encoder.embed(points[i])), strict=True):
        for result in results:
            np.testing.assert_array_equal(result, wanted)


def test_each_thread_gets_its_own_segments(segmenter: Encoder, clouds: Clouds) -> None:
    count = segmenter.specification.categories
    assert count is not None
    given = [(clouds(3, 16, seed=i), np.eye(count)[np.arange(i, i + 3) % count]) for i in range(THREADS)]
    expected = [segmenter.segment(*each) for each in given]
    for wanted, results in zip(expected, side_by_side(lambda i: segmenter.segment(*given[i])), strict=True):
        for result in results:
            np.testing.assert_array_equal(result, wanted)


def test_calls_go_on_side_by_side(clouds: Clouds, pool: ThreadPoolExecutor) -> None:
    encoder = Held()
    calls = [pool.submit(encoder.embed, clouds()) for _ in range(THREADS)]
    for _ in calls:
        assert encoder.inside.acquire(timeout=WAIT)  # all are inside before one may end
    encoder.go.set()
    for call in calls:
        np.testing.assert_array_equal(call.result(WAIT), clouds().sum(axis=1))


# Closing


def test_closing_waits_for_the_calls_in_progress(clouds: Clouds, pool: ThreadPoolExecutor) -> None:
    encoder = Held()
    held = held_up(encoder)
    call = pool.submit(encoder.embed, clouds())
    assert encoder.inside.acquire(timeout=WAIT)
    closing = pool.submit(encoder.close)
    assert held.acquire(timeout=WAIT)
    assert not encoder.freed
    encoder.go.set()
    np.testing.assert_array_equal(call.result(WAIT), clouds().sum(axis=1))
    closing.result(WAIT)
    assert encoder.freed == 1


def test_calls_that_come_while_it_is_closing_are_refused(clouds: Clouds, pool: ThreadPoolExecutor) -> None:
    encoder = Held()
    held = held_up(encoder)
    pool.submit(encoder.embed, clouds())
    assert encoder.inside.acquire(timeout=WAIT)
    pool.submit(encoder.close)
    assert held.acquire(timeout=WAIT)
    late = pool.submit(encoder.embed, clouds())
    assert held.acquire(timeout=WAIT)
    encoder.go.set()
    with pytest.raises(InputError, match=r"^sum was closed; open it again"):
        late.result(WAIT)


def test_threads_that_close_together_free_once(pool: ThreadPoolExecutor) -> None:
    encoder, together = Held(), threading.Barrier(THREADS)

    def close() -> None:
        together.wait(WAIT)
        encoder.close()

    for closing in [pool.submit(close) for _ in range(THREADS)]:
        closing.result(WAIT)
    assert encoder.freed == 1


def test_a_thread_that_closes_inside_its_own_call_is_told(clouds: Clouds) -> None:
    """As the handler of a signal can: waiting for itself, it would never end."""
    encoder = Held()
    encoder.go.wait = lambda timeout: encoder.close() or True
    with pytest.raises(InputError, match="sum is running a call in this thread"):
        encoder.embed(clouds())
    encoder.close()
    assert encoder.freed == 1


def test_a_call_that_fails_does_not_hold_up_closing(encoder: Encoder) -> None:
    with pytest.raises(InputError):
        encoder.embed(np.full((1, 16, 3), np.nan))
    encoder.close()


def test_threads_run_while_another_closes(encoder: Encoder, clouds: Clouds, pool: ThreadPoolExecutor) -> None:
    expected, together = encoder.embed(clouds(5)), threading.Barrier(THREADS)

    def embed() -> None:
        together.wait(WAIT)
        while True:
            np.testing.assert_array_equal(encoder.embed(clouds(5)), expected)

    calls = [pool.submit(embed) for _ in range(THREADS - 1)]
    together.wait(WAIT)
    encoder.close()
    for call in calls:
        with pytest.raises(InputError, match="was closed; open it again with load_encoder"):
            call.result(WAIT)


def test_after_closing_every_call_is_one_line(encoder: Encoder, clouds: Clouds) -> None:
    encoder.close()
    encoder.close()
    for call in (
        lambda: encoder.embed(clouds()),
        lambda: encoder.segment(clouds(), np.eye(3)),
        lambda: encoder.run({"points": clouds()}),
        lambda: encoder.set_neighbours(3),
        lambda: pickle.dumps(encoder),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="was closed; open it again"):
        encoder.embed(clouds())


def test_a_closed_segmenter_says_so(segmenter: Encoder, clouds: Clouds) -> None:
    segmenter.close()
    with pytest.raises(InputError, match="was closed; open it again"):
        segmenter.segment(clouds(), np.eye(3))


def test_a_closed_encoder_says_so_under_optimisation(tmp_path: Path) -> None:
    file = str(small.write_onnx(tmp_path / "m.onnx"))
    code = f"""
import numpy as np
from crosspoint.core.errors import InputError
from crosspoint.runtime import load_encoder
encoder = load_encoder({file!r})
encoder.close()
for call in (encoder.embed, lambda points: encoder.run({{"points": points}})):
    try:
        call(np.zeros((2, 16, 3), np.float32))
    except InputError as error:
        print(str(error).removeprefix({file!r}))
"""
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 2 * " was closed; open it again with load_encoder\n"


# The number of neighbours beside calls


def test_the_number_of_neighbours_changes_between_calls_only(
    tmp_path: Path, clouds: Clouds, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PyTorchEncoder(weights(tmp_path)) as encoder:
        expected = encoder.embed(clouds())
        inside, go, forward = threading.Event(), threading.Event(), encoder._forward

        def held(*arguments: object) -> np.ndarray:
            inside.set()
            assert go.wait(WAIT)
            return forward(*arguments)

        monkeypatch.setattr(encoder, "_forward", held)
        waiting = held_up(encoder)
        call = pool.submit(encoder.embed, clouds())
        assert inside.wait(WAIT)
        change = pool.submit(encoder.set_neighbours, 9)
        assert waiting.acquire(timeout=WAIT)
        later = pool.submit(encoder.embed, clouds())
        assert waiting.acquire(timeout=WAIT)
        go.set()
        np.testing.assert_array_equal(call.result(WAIT), expected)
        change.result(WAIT)
        np.testing.assert_array_equal(later.result(WAIT), encoder.embed(clouds()))
        assert not np.array_equal(later.result(), expected)
        assert encoder.specification.min_points == 9


def test_the_network_stays_in_evaluation_mode(tmp_path: Path, clouds: Clouds) -> None:
    with PyTorchEncoder(weights(tmp_path)) as encoder:
        before = {name: value.clone() for name, value in encoder._model.state_dict().items()}
        side_by_side(lambda i: encoder.embed(clouds(2, seed=i)), 2)
        assert not any(module.training for module in encoder._model.modules())
        assert all(value.equal(before[name]) for name, value in encoder._model.state_dict().items())


# Processes

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


# Pickling


def embed_pickled(encoder: Encoder, points: np.ndarray) -> tuple[np.ndarray, Specification]:
    return encoder.embed(points), encoder.specification


def test_a_pickled_encoder_opens_its_file_again(encoder: Encoder, clouds: Clouds) -> None:
    expected = encoder.embed(clouds())
    with pickle.loads(pickle.dumps(encoder)) as again:
        encoder.close()
        assert again.specification == encoder.specification
        np.testing.assert_array_equal(again.embed(clouds()), expected)


def test_a_spawned_worker_embeds_with_a_pickled_encoder(tmp_path: Path, clouds: Clouds) -> None:
    with (
        OnnxEncoder(small.write_onnx(tmp_path / "m.onnx")) as encoder,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as workers,
    ):
        result, specification = workers.submit(embed_pickled, encoder, clouds()).result(WAIT)
        np.testing.assert_array_equal(result, encoder.embed(clouds()))
        assert specification == encoder.specification


def test_threads_and_operators_are_pickled(tmp_path: Path) -> None:
    path = small.write_onnx(tmp_path / "m.onnx")
    with (
        OnnxEncoder(path, threads=3, operators=False) as encoder,
        pickle.loads(pickle.dumps(encoder)) as again,
    ):
        assert again._arguments == encoder._arguments
        assert (again._threads, again.specification.engine) == (3, encoder.specification.engine)


def test_the_number_of_neighbours_is_pickled(tmp_path: Path, clouds: Clouds) -> None:
    with PyTorchEncoder(weights(tmp_path)) as encoder:
        encoder.set_neighbours(9)
        with pickle.loads(pickle.dumps(encoder)) as again:
            assert again.specification == encoder.specification
            np.testing.assert_array_equal(again.embed(clouds()), encoder.embed(clouds()))


def test_a_pickled_encoder_refuses_a_file_that_is_another_now(tmp_path: Path) -> None:
    path = small.write_onnx(tmp_path / "m.onnx")
    with OnnxEncoder(path) as encoder:
        pickled = pickle.dumps(encoder)
    small.write_onnx(path, metadata='{"k": 3}')
    with pytest.raises(InputError, match=r"m\.onnx has changed since it was opened"):
        pickle.loads(pickled)
    path.unlink()
    with pytest.raises(InputError, match=r"m\.onnx: cannot be opened \(No such file"):
        pickle.loads(pickled)


def test_a_backend_that_cannot_be_opened_again_is_not_pickled() -> None:
    with pytest.raises(InputError, match="sum on numpy cannot be pickled; open it in the other process by its path"):
        pickle.dumps(Held())


# Memory

PEAK = r"""
import re, sys
import numpy as np
from pathlib import Path
from crosspoint.runtime import load_encoder
model, backend, threads, count, categories = sys.argv[1:]
rng = np.random.default_rng(0)
def run(count):
    points = 0.3 * rng.standard_normal((1, 1024, 3), np.float32).clip(-1.9, 1.9).repeat(count, axis=0)
    one_hot = np.eye(int(categories) or 1, dtype=np.float32)[np.zeros(count, int)]
    encoder.segment(points, one_hot) if int(categories) else encoder.embed(points)
def peak():  # not ru_maxrss, which begins with the peak of the process that started this one
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
with load_encoder(model, backend=backend, threads=int(threads)) as encoder:
    run(max(int(threads), encoder.specification.min_batch))
    before = peak()
    run(int(count))
    print(peak() - before, peak())
"""


def peak_of(model: Path | str, backend: str, threads: int, count: int, categories: int = 0) -> tuple[int, int]:
    """MiB that a batch of `count` clouds of 1,024 points takes on top of one cloud a thread, and in all."""
    command = [sys.executable, "-c", PEAK, str(model), backend, str(threads), str(count), str(categories)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    growth, peak = map(int, done.stdout.split())
    return growth, peak


linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak is read from /proc")


@linux
@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_batch_takes_the_memory_of_one_cloud_a_thread(threads: int) -> None:
    growth, _ = peak_of("dgcnn", "onnxruntime", threads, 16)  # 16 at once take more than 100 MiB
    assert growth < 30


@linux
@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_a_large_batch_of_a_segmenter_does(tmp_path: Path, suffix: str) -> None:
    if suffix == ".onnx":
        model, backend, categories = small.write_segmenter(tmp_path / "s.onnx"), "onnxruntime", 2
    else:
        model, backend, categories = weights(tmp_path, segmenter=True), "pytorch", 3
    growth, _ = peak_of(model, backend, 1, 8, categories)
    assert growth < 30


@linux
def test_a_large_batch_of_a_fixed_one_does(tmp_path: Path) -> None:
    growth, _ = peak_of(small.write_onnx(tmp_path / "m.onnx", batch=2), "onnxruntime", 1, 1024)
    assert growth < 30  # of which 12 are the points


@linux
@pytest.mark.slow
def test_1024_clouds_on_one_cpu_stay_under_300_mb() -> None:
    _, peak = peak_of("dgcnn", "onnxruntime", 1, 1024)
    assert peak < 286  # MiB


# The same result


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("operators", [True, False])
@pytest.mark.parametrize("name", ["dgcnn", "pointnet"])
def test_a_batch_is_bit_identical_to_one_cloud_at_a_time(
    clouds: Clouds, name: str, operators: bool, threads: int
) -> None:
    path = Path(crosspoint.__file__).parent / "weights" / f"{name}.onnx"
    points = clouds(4, 100)
    with OnnxEncoder(path, threads=threads, operators=operators) as encoder:
        one_at_a_time = [encoder.embed(cloud[None])[0] for cloud in points]
        np.testing.assert_array_equal(encoder.embed(points), one_at_a_time)


def test_of_pytorch_too(tmp_path: Path, clouds: Clouds) -> None:
    points, category = clouds(4, 100), np.eye(3)[[0, 1, 2, 0]]
    with PyTorchEncoder(weights(tmp_path, segmenter=True)) as encoder:
        one_at_a_time = [encoder.segment(points[i : i + 1], category[i : i + 1])[0] for i in range(4)]
        np.testing.assert_array_equal(encoder.segment(points, category), one_at_a_time)
