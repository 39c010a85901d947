"""Arrays of other libraries are read and written where they lie, or refused before anything is executed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_models as small
from device_arrays import OnDevice
from host_cuda import HostCuda

from crosspoint.core.errors import InputError
from crosspoint.runtime import load_encoder

Clouds = Callable[..., np.ndarray]


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


def test_an_output_that_outgrows_its_array_is_not_executed(engine_bundle: Path, host: HostCuda, clouds: Clouds) -> None:
    def outputs(shapes: dict) -> dict:
        batch, points, _ = shapes["points"]
        return {"embedding": (batch, 4 if points == 32 else 400)}

    host.trt.model = replace(host.trt.model, outputs=outputs)
    points, out = OnDevice(clouds(3, 16), host=host), OnDevice(np.zeros((3, 4), np.float32), host=host)
    with pytest.raises(InputError, match="which is wrong"), load_encoder(engine_bundle, "cuda") as encoder:
        encoder.embed_into(points, out)
    assert not out.array.any()
