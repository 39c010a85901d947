"""How much memory this process may take."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # version 2 and 1


def available_memory() -> int | None:
    """Bytes that are free on this machine, or that the container or `ulimit -v` allows, if fewer; None if unknown."""
    found = [_meminfo(), *map(_number, CGROUPS), _address_space()]
    return min((limit for limit in found if limit is not None), default=None)


def _meminfo() -> int | None:
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))  # "max" where there is no limit
    except (OSError, ValueError):
        return None


def _address_space() -> int | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft
