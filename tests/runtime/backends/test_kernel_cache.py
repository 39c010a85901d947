"""What TensorRT-RTX compiles at run time: when it is kept, and where."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from host_tensorrt import HostTensorRT, RuntimeCache

from crosspoint.runtime import load_encoder, load_manifest

Clouds = Callable[..., np.ndarray]


@pytest.fixture
def kept(captures: HostTensorRT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels are kept, a folder that is not there yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "crosspoint"


def test_kernels_are_kept_as_soon_as_there_are_new_ones(engine_bundle: Path, kept: Path, clouds: Clouds) -> None:
    encoder = load_encoder(engine_bundle, "cuda")
    for count, points in ((1, 16), (1, 16), (2, 17)):
        encoder.embed(clouds(3, points))
        (file,) = kept.iterdir()
        assert file.read_text().count("points") == count
    encoder.close()
    with load_encoder(engine_bundle, "cuda") as again:
        again.embed(clouds(3, 18))
    assert file.read_text().count("points") == 3  # with those of the first start


def test_kernels_are_kept_where_only_the_user_can_write(engine_bundle: Path, kept: Path, clouds: Clouds) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder:
        encoder.embed(clouds())
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_kernels_that_others_could_have_written_are_neither_read_nor_written(
    mode: int, engine_bundle: Path, kept: Path, clouds: Clouds, captures: HostTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder:
        encoder.embed(clouds(3, 16))
    (file,) = kept.iterdir()
    before = file.read_bytes()
    kept.chmod(mode)
    monkeypatch.setattr(RuntimeCache, "deserialize", lambda *_: pytest.fail("read"))
    with load_encoder(engine_bundle, "cuda") as encoder:
        encoder.embed(clouds(3, 17))
    assert file.read_bytes() == before


def test_kernels_in_another_user_s_folder_are_neither_read_nor_written(
    engine_bundle: Path, kept: Path, clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    with load_encoder(engine_bundle, "cuda") as encoder:
        encoder.embed(clouds())
    assert list(kept.iterdir()) == []


def test_without_a_home_kernels_are_compiled_anew(
    engine_bundle: Path, captures: HostTensorRT, clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with load_encoder(engine_bundle, "cuda") as encoder:
        np.testing.assert_allclose(encoder.embed(clouds()), small.reference(clouds()), rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_what_rtx_compiled_is_kept_for_the_next_start(
    gpu_bundle: Path, clouds: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    if load_manifest(gpu_bundle).engine.builder != "tensorrt-rtx":
        pytest.skip("TensorRT compiles nothing at run time")
    monkeypatch.setenv("XDG_CACHE_HOME", str(gpu_bundle / "cache"))
    results = []
    for _ in range(2):
        with load_encoder(gpu_bundle, "cuda") as encoder:
            results.append(encoder.embed(clouds()))
        (kept,) = (gpu_bundle / "cache" / "crosspoint").iterdir()
        assert kept.stat().st_size > 0
    np.testing.assert_array_equal(*results)
    kept.write_bytes(b"rubbish")
    with load_encoder(gpu_bundle, "cuda") as encoder:
        np.testing.assert_array_equal(encoder.embed(clouds()), results[0])
