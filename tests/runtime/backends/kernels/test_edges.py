"""The C operators under the compiler's sanitizers, driven by `drive_edges.c`."""

import subprocess
from pathlib import Path

import pytest

from crosspoint.runtime.backends.kernels.compile import FOLDER, compiler


def build(source, program, sanitizers, *flags):
    sanitizing = (f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all")
    command = [*compiler(), *sanitizing, "-g", "-O1", "-std=gnu11", *flags, "-o", str(program), str(source)]
    return subprocess.run([*command, "-lm", "-lpthread"], capture_output=True, text=True)


def build_driver(folder, sanitizers):
    """The driver; skips where these sanitizers are not to be had."""
    if compiler() is None:
        pytest.skip("no C compiler")
    empty, program = folder / "empty.c", folder / "drive"
    empty.write_text("int main(void) { return 0; }\n")
    if build(empty, program, sanitizers).returncode or subprocess.run([program], capture_output=True).returncode:
        pytest.skip(f"{' '.join(compiler())} has no working -fsanitize={sanitizers}")
    flags = (f'-DEDGES="{FOLDER / "edges.c"}"', "-DVECTORISED=", "-DFEWEST=300")  # small clouds are searched
    done = build(Path(__file__).with_name("drive_edges.c"), program, sanitizers, *flags)
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return build_driver(tmp_path_factory.mktemp("edges"), "address,undefined")


@pytest.mark.parametrize(
    "scenario",
    [
        *("ranks", "types", "sizes", "overflows", "attributes", "indices", "nan_scores"),
        *("every_level", "layers", "points", "other_layers", "failing_calls", "failing_memory", "threads"),
    ],
)
def test_whatever_comes_ends_in_a_value_or_a_refusal(scenario, driver):
    done = subprocess.run([driver, scenario], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_share_nothing(tmp_path):
    driver = build_driver(tmp_path, "thread")
    done = subprocess.run([driver, "threads"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
