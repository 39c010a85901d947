"""The C operators under AddressSanitizer and UndefinedBehaviorSanitizer, driven by `drive_edges.c`."""

import subprocess
from pathlib import Path

import pytest

from crosspoint.runtime.kernels.compile import FOLDER, compiler

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    command = compiler()
    if command is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("edges")
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")

    def build(source, *flags):
        program = folder / f"{source.stem}.out"
        libraries = ("-lm", "-lpthread")
        built = [*command, *SANITIZERS, "-g", "-O1", "-std=gnu11", *flags, "-o", str(program), str(source), *libraries]
        return program, subprocess.run(built, capture_output=True, text=True)

    if build(folder / "empty.c")[1].returncode:
        pytest.skip("the C compiler has no AddressSanitizer")
    program, done = build(Path(__file__).with_name("drive_edges.c"), f'-DEDGES="{FOLDER / "edges.c"}"')
    assert done.returncode == 0, done.stderr
    return program


@pytest.mark.parametrize(
    "scenario",
    [
        *("ranks", "types", "sizes", "overflows", "attributes", "indices", "nan_scores"),
        *("failing_calls", "failing_memory", "threads"),
    ],
)
def test_whatever_comes_ends_in_a_value_or_a_refusal(scenario, driver):
    done = subprocess.run([driver, scenario], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
