"""What a session of ONNX Runtime is asked for: its provider, its device, its precision, and no other one silently."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.runtime.backends import onnx
from crosspoint.runtime.released import find_release


class Runtime:
    """Stands for ONNX Runtime with CUDA: keeps what a session was opened with, and says which providers it has."""

    __version__ = "1.20"

    def __init__(self, *loaded):
        self.loaded, self.sessions = loaded, []

    class SessionOptions:
        def __init__(self):
            self.entries = {}

        def add_session_config_entry(self, key, value):
            self.entries[key] = value

    def InferenceSession(self, model, options, providers):
        self.sessions.append((options, providers))
        return SimpleNamespace(get_providers=lambda: list(self.loaded))


def opened(runtime, provider, index):
    return onnx._Opener(runtime, Path("m.onnx"), b"", provider, index, False).session(3)


CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.mark.parametrize("index", [0, 2])
def test_on_a_gpu_no_node_goes_to_the_cpu_and_products_are_float32(index):
    runtime = Runtime(CUDA)
    opened(runtime, CUDA, index)
    ((options, providers),) = runtime.sessions
    assert options.entries["session.disable_cpu_ep_fallback"] == "1"
    assert providers == [(CUDA, {"device_id": str(index), "use_tf32": "0"})]


def test_what_tensorrt_leaves_to_cuda_is_float32_on_the_same_device():
    runtime = Runtime(TENSORRT, CUDA)
    opened(runtime, TENSORRT, 1)
    ((options, providers),) = runtime.sessions
    assert options.entries["session.disable_cpu_ep_fallback"] == "1"
    assert [name for name, _ in providers] == [TENSORRT, CUDA]
    assert [settings["device_id"] for _, settings in providers] == ["1", "1"]
    assert providers[1][1]["use_tf32"] == "0"


def test_the_cpu_is_the_only_provider_where_it_was_asked_for():
    runtime = Runtime("CPUExecutionProvider")
    opened(runtime, "CPUExecutionProvider", None)
    ((options, providers),) = runtime.sessions
    assert options.entries == {}
    assert options.intra_op_num_threads == 3
    assert providers == [("CPUExecutionProvider", {})]


def test_a_provider_that_did_not_load_is_an_error_and_not_the_cpu():
    with pytest.raises(InputError, match=f"{CUDA} did not load"):
        opened(Runtime("CPUExecutionProvider"), CUDA, 0)


ONE_CPU = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np
import crosspoint
from crosspoint.data.points import normalise
clouds = np.stack([normalise(np.random.default_rng(i).normal(size=(64, 3))) for i in range(3)]).astype(np.float32)
with crosspoint.load("pointnet") as encoder:
    assert encoder.embed(clouds).shape[0] == 3
    print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts the threads of a process as Linux lists them")
def test_on_one_cpu_clouds_are_embedded_by_the_one_thread_of_the_process():
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", ONE_CPU], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("1", "")


@pytest.mark.parametrize(("clouds", "sessions"), [(1, 1), (2, 2)])
def test_the_session_for_single_clouds_is_opened_once_by_the_first_batch_that_needs_it(monkeypatch, clouds, sessions):
    runtime, opened = pytest.importorskip("onnxruntime"), []
    original = runtime.InferenceSession

    def count(*arguments, **options):
        opened.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(runtime, "InferenceSession", count)
    with onnx.OnnxEncoder(find_release("pointnet").file(".onnx"), threads=2) as encoder:
        for _ in range(2):
            encoder.embed(
                np.random.default_rng(0).normal(size=(clouds, 8, 3)).astype(np.float32), normalise=True, up="y"
            )
    assert len(opened) == sessions
