"""One encoder, many threads: interleavings are forced by events and barriers, never by time."""

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
from held_encoder import THREADS, WAIT, Held, held_up
from open_encoders import weights

from crosspoint.core.errors import InputError
from crosspoint.runtime import Encoder
from crosspoint.runtime.backends.pytorch import PyTorchEncoder

Clouds = Callable[..., np.ndarray]


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
