"""Memory that is free, and what a container or `ulimit -v` leaves of it."""

import subprocess
import sys

import pytest

from crosspoint.core.system import memory
from crosspoint.core.system.memory import available_memory


@pytest.fixture(autouse=True)
def no_container(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CGROUPS", (tmp_path / "version_2", tmp_path / "version_1"))


def test_it_is_what_the_system_calls_available(tmp_path):
    with open("/proc/meminfo") as file:
        sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in file}
    assert 0 < available_memory() <= sizes["MemTotal"]
    assert available_memory() == pytest.approx(sizes["MemAvailable"], rel=0.5)  # others come and go


@pytest.mark.parametrize("name", ["version_1", "version_2"])
def test_a_container_may_allow_less(name, tmp_path):
    (tmp_path / name).write_text("5000000\n")
    assert available_memory() == 5_000_000


@pytest.mark.parametrize("content", ["max\n", "", "many", "9223372036854771712"])
def test_a_container_without_a_limit_changes_nothing(content, tmp_path):
    (tmp_path / "version_2").write_text(content)
    assert available_memory() > 5_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited as Linux does it")
def test_a_limit_of_the_address_space_counts():
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))\n"
    code += "from crosspoint.core.system.memory import available_memory; print(available_memory() <= 1 << 30)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
