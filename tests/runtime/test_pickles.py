"""A pickled encoder opens its file again, in this process or another."""

import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from held_encoder import WAIT, Held
from open_encoders import weights

from crosspoint.core.errors import InputError
from crosspoint.runtime import Encoder
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.pytorch import PyTorchEncoder
from crosspoint.runtime.specification import Specification

Clouds = Callable[..., np.ndarray]


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
