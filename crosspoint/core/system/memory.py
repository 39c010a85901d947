"""How much memory this process may use."""

from pathlib import Path

CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # version 2 and 1


def available_memory() -> int:
    """Free memory of this machine in bytes, or less if the container or `ulimit -v` allows less."""
    import psutil

    found = [int(psutil.virtual_memory().available), *map(_number, CGROUPS), _address_space()]
    return min(limit for limit in found if limit is not None)


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
