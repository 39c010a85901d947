"""The kernels compile for GPUs, of which none is needed for that."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "fixtures/compile_kernels.py"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or sys.platform != "linux", reason="Triton is not installed"
)


def compiled(stage, capability, cache):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "TRITON_CACHE_DIR": str(cache)}
    command = [sys.executable, SCRIPT, stage, capability]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [line.split() for line in done.stdout.splitlines()]


def test_the_compiler_accepts_what_the_interpreter_does(tmp_path):
    assert len(compiled("ir", "90", tmp_path)) == 12


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["80", "89", "90"])
def test_nothing_is_spilled_and_shared_memory_is_what_every_gpu_has(capability, tmp_path):
    for name, shared, spilled in compiled("all", capability, tmp_path):
        assert int(shared) <= 48 << 10, name
        assert int(spilled) == 0, name
