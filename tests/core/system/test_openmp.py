"""The environment that PyTorch's threads read when they start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crosspoint.core.system import openmp
from crosspoint.core.system.openmp import share_cpus


@pytest.fixture
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight CPUs, of which a container allows three."""
    monkeypatch.setattr(openmp, "affinity", lambda: 8)
    monkeypatch.setattr(openmp, "available_cpus", lambda root: 3)


@pytest.mark.usefixtures("cpus")
def test_threads_do_not_spin_and_are_as_many_as_the_quota_allows() -> None:
    environment: dict[str, str] = {}
    share_cpus(environment)
    assert environment == {"GOMP_SPINCOUNT": "1000", "OMP_NUM_THREADS": "3"}


def test_without_a_quota_the_number_of_threads_stays_pytorchs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    environment: dict[str, str] = {}
    share_cpus(environment, root=tmp_path)
    assert environment == {"GOMP_SPINCOUNT": "1000"}


@pytest.mark.usefixtures("cpus")
@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_a_users_way_of_waiting_is_kept(name: str) -> None:
    environment = {name: "active", "OMP_NUM_THREADS": "1"}
    share_cpus(environment)
    assert environment == {name: "active", "OMP_NUM_THREADS": "1"}


def test_a_command_sets_it_before_pytorch_is_imported() -> None:
    code = (
        "import os, sys; from unittest import mock; import crosspoint.cli as cli\n"
        "def run(): print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT']); return 0\n"
        "with mock.patch.object(cli, '_run', run): cli.main()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in openmp.WAIT}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False 1000\n"
