"""CPUs from made trees of /proc and /sys, of a process that may run on eight."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from crosspoint.core.system.processes import available_cpus, cpu_name

V1 = "30 25 0:26 {top} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
V2 = "30 25 0:26 {top} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
OTHERS = (
    "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
    "31 25 0:27 / /sys/fs/cgroup/cpuset rw shared:10 - cgroup cgroup rw,cpuset",
)


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def tree(root: Path, groups: str, mounts: str, **files: str) -> Path:
    """A root with what the kernel says of the process, and files of control groups by path."""
    contents = {"proc/self/cgroup": groups, "proc/self/mountinfo": "\n".join((*OTHERS, mounts, "")), **files}
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def v2(root: Path, group: str = "/", top: str = "/", **limits: str) -> Path:
    """Version 2; `limits` are contents of `cpu.max` by group, with `__` for a slash."""
    files = {f"sys/fs/cgroup/{name.strip('_').replace('__', '/')}/cpu.max": text for name, text in limits.items()}
    return tree(root, f"0::{group}\n", V2.format(top=top), **files)


def v1(root: Path, group: str, quota: str, period: str = "100000\n", top: str = "/", folder: str = "") -> Path:
    place = f"sys/fs/cgroup/cpu,cpuacct/{folder}"
    files = {f"{place}/cpu.cfs_quota_us": quota, f"{place}/cpu.cfs_period_us": period}
    groups = f"9:cpuset:/elsewhere\n4:cpu,cpuacct:{group}\n0::/init.scope\n"
    return tree(root, groups, V1.format(top=top), **files)


def test_without_control_groups_it_is_the_affinity(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 8


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("100001 100000\n", 2),
        ("50000 100000\n", 1),
        ("1000 1000000\n", 1),
        ("30000 10000\n", 3),
        ("6400000 100000\n", 8),  # more than the affinity
        ("max 100000\n", 8),
        ("max\n", 8),
    ],
)
def test_a_quota_of_version_2(tmp_path: Path, limit: str, cpus: int) -> None:
    assert available_cpus(v2(tmp_path, _=limit)) == cpus


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [
        ("200000\n", "100000\n", 2),
        ("150000\n", "100000\n", 2),
        ("20000\n", "100000\n", 1),
        ("75000\n", "25000\n", 3),
        ("-1\n", "100000\n", 8),
    ],
)
def test_a_quota_of_version_1(tmp_path: Path, quota: str, period: str, cpus: int) -> None:
    assert available_cpus(v1(tmp_path, "/", quota, period)) == cpus


def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    limits = {"_": "max 100000", "a": "300000 100000", "a__b": "500000 100000", "a__b__c": "max 100000"}
    assert available_cpus(v2(tmp_path, "/a/b/c", **limits)) == 3


def test_a_group_beside_that_of_the_process_does_not_count(tmp_path: Path) -> None:
    assert available_cpus(v2(tmp_path, "/a/b", a__c="100000 100000", d="100000 100000")) == 8


def test_a_container_that_sees_its_own_group_alone(tmp_path: Path) -> None:
    """Docker on version 1 mounts the container's group, and the process has the host's name of it."""
    assert available_cpus(v1(tmp_path, "/docker/4f1c", "200000", top="/docker/4f1c")) == 2


def test_a_group_inside_of_what_a_container_sees(tmp_path: Path) -> None:
    assert available_cpus(v1(tmp_path, "/docker/4f1c/job", "200000", top="/docker/4f1c", folder="job")) == 2


@pytest.mark.parametrize("group", ["/../../other", "/another"])
def test_a_group_outside_of_what_is_seen_leaves_that_of_the_mount(tmp_path: Path, group: str) -> None:
    assert available_cpus(v2(tmp_path, group, top="/here", _="200000 100000")) == 2


def test_both_versions_at_once(tmp_path: Path) -> None:
    mounts = V1.format(top="/") + "\n32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    files = {
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "400000",
        "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/unified/slice/cpu.max": "300000 100000",
    }
    assert available_cpus(tree(tmp_path, "4:cpu,cpuacct:/job\n0::/slice\n", mounts, **files)) == 3


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    mount = V2.format(top="/").replace("/sys/fs/cgroup", r"/sys/fs/c\040group")
    root = tree(tmp_path, "0::/\n", mount, **{"sys/fs/c group/cpu.max": "200000 100000"})
    assert available_cpus(root) == 2


@pytest.mark.parametrize(
    "limit",
    ["", "\n", "many few", "200000", "200000 0", "-5 100000", "0 100000", "1 2 3", f"{'9' * 400} 1", "\udcff 1"],
)
def test_a_malformed_quota_is_none(tmp_path: Path, limit: str) -> None:
    root = v2(tmp_path, _="max 100000")
    (root / "sys/fs/cgroup/cpu.max").write_bytes(limit.encode(errors="surrogateescape"))
    assert available_cpus(root) == 8


def test_a_missing_period_is_no_quota(tmp_path: Path) -> None:
    root = v1(tmp_path, "/", "100000")
    (root / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us").unlink()
    assert available_cpus(root) == 8


@pytest.mark.parametrize("name", ["cgroup", "mountinfo"])
@pytest.mark.parametrize("content", [b"", b"\n:::\n - \nx", b"0:\n1\n30 25 0:26 / /sys - cgroup2\n", b"\xff\x00\n"])
def test_malformed_lists_are_none(tmp_path: Path, name: str, content: bytes) -> None:
    root = v2(tmp_path, _="200000 100000")
    (root / "proc/self" / name).write_bytes(content)
    assert available_cpus(root) == 8


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_affinity_of_a_process_counts() -> None:
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code += "from crosspoint.core.system.processes import available_cpus; print(available_cpus())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: Some CPU @ 3.00GHz\n\nprocessor\t: 1\nmodel name\t: Another\n",
            "Some CPU @ 3.00GHz",
        ),
        (
            "processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
            "Raspberry Pi 5 Model B Rev 1.0",
        ),
    ],
)
def test_the_name_of_the_cpu(tmp_path: Path, content: str, name: str) -> None:
    assert cpu_name(tree(tmp_path, "", "", **{"proc/cpuinfo": content})) == name


def test_a_cpu_without_a_name_is_its_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert cpu_name(tree(tmp_path, "", "", **{"proc/cpuinfo": "processor\t: 0\n"})) == "aarch64"
    assert cpu_name(tmp_path / "nowhere") == "aarch64"
