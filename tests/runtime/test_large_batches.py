"""A large batch takes the memory of one cloud a thread, and gives the same bits."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from open_encoders import weights

import crosspoint
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.pytorch import PyTorchEncoder

Clouds = Callable[..., np.ndarray]

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
