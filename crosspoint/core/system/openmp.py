"""How the threads of PyTorch's CPU operations wait and how many there are, on machines that others use too."""

import os
from collections.abc import MutableMapping
from pathlib import Path

from crosspoint.core.system.processes import affinity, available_cpus

WAIT = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SPINS = "1000"  # rounds of a busy wait before a thread sleeps, tens of microseconds; the default is 300,000


def share_cpus(environment: MutableMapping[str, str] = os.environ, *, root: Path = Path("/")) -> None:
    """Prepare the environment so that the threads of GNU's OpenMP, which PyTorch uses on Linux, suit a shared machine.

    A training step has thousands of short parallel operations. After each one, OpenMP's threads spin while they wait
    for the next one; where another job wants the same CPUs, that takes time from the threads that have work. And OpenMP
    starts a thread for each CPU, even where a container's quota allows fewer. What the user has set is kept.

    Call this before PyTorch is imported: OpenMP reads the environment once.

    Args:
        environment: The environment that is changed.
        root: Folder that holds `proc` and `sys`.
    """
    if not any(name in environment for name in WAIT):
        environment["GOMP_SPINCOUNT"] = SPINS
    if "OMP_NUM_THREADS" not in environment and (cpus := available_cpus(root)) < affinity():
        environment["OMP_NUM_THREADS"] = str(cpus)
