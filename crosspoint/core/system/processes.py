"""The CPUs that this process may use: model name, affinity, and the quota of its container."""

import math
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_cpus(root: Path = Path("/")) -> int:
    """Number of CPUs that this process may use, at least 1; a fraction counts as a whole CPU.

    Args:
        root: Folder that holds `proc` and `sys`.
    """
    return math.ceil(min([affinity(), *_quotas(root)]))


def affinity() -> int:
    """Number of CPUs on which the system may run this process, whatever the quota of its container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name(root: Path = Path("/")) -> str:
    """Model name of the CPU, e.g. `AMD EPYC 7B13`. A single-board computer gives its board; else the architecture.

    Args:
        root: Folder that holds `proc`.
    """
    found = (re.match(r"(?:model name|Model)\s*:\s*(.+)", line) for line in _lines(root / "proc/cpuinfo"))
    return next((match[1] for match in found if match), platform.processor() or platform.machine())


def _quotas(root: Path) -> Iterator[float]:
    """CPU limit of each control group around this process that sets one."""
    groups = _groups(root)
    for version, top, point in _mounts(root):
        group = groups.get(version)
        if group is None:
            continue
        inside = group.relative_to(top).parts if group.is_relative_to(top) and ".." not in group.parts else ()
        for depth in range(len(inside) + 1):
            quota = _quota(point.joinpath(*inside[:depth]), version)
            if quota is not None:
                yield quota


def _groups(root: Path) -> dict[int, PurePosixPath]:
    """This process's group in each cgroup version, e.g. from `0::/user.slice` and `4:cpu,cpuacct:/job`."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):
        match line.split(":", 2):
            case ["0", "", group]:
                groups[2] = PurePosixPath(group)
            case [_, controllers, group] if "cpu" in controllers.split(","):
                groups[1] = PurePosixPath(group)
    return groups


def _mounts(root: Path) -> Iterator[tuple[int, PurePosixPath, Path]]:
    """Each mount of the CPU controller: cgroup version, topmost visible group, folder."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        fields, kind = mount.split(" "), system.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        top, point = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field) for field in fields[3:5])
        if kind[0] == "cgroup2" or (kind[0] == "cgroup" and "cpu" in kind[2].split(",")):
            yield 2 if kind[0] == "cgroup2" else 1, PurePosixPath(top), root / point.lstrip("/")


def _quota(folder: Path, version: int) -> float | None:
    """CPU limit of a group: quota divided by period. `50000 100000` is half a CPU. None: no limit."""
    if version == 2:
        words = " ".join(_lines(folder / "cpu.max")).split()
    else:
        words = [word for name in ("quota", "period") for word in _lines(folder / f"cpu.cfs_{name}_us")]
    try:
        time, period = (int(word) for word in words)
        return time / period if time > 0 and period > 0 else None  # -1: no limit (version 1)
    except (ValueError, OverflowError):  # "max": no limit (version 2)
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
