"""Facts about the machine: system, processor, memory, NVIDIA's driver and GPUs, JetPack. No host or user name."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from crosspoint.core.system.processes import available_cpus, cpu_name
from crosspoint.doctor.facts import Gpu, Gpus, Jetpack, MachineFacts

TEGRA, MODEL = Path("/etc/nv_tegra_release"), Path("/proc/device-tree/model")
GPU_FIELDS = ("name", "driver_version", "memory.total", "compute_cap")


def machine_facts() -> MachineFacts:
    """All facts about the machine."""
    return MachineFacts(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        distribution=_distribution(),
        libc=" ".join(platform.libc_ver()),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        virtual_environment=sys.prefix != sys.base_prefix,
        processor=cpu_name(),
        cores=available_cpus(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpus=gpus(),
        jetpack=jetpack(),
    )


def gpus() -> Gpus:
    """The GPUs that nvidia-smi lists."""
    if shutil.which("nvidia-smi") is None:
        return Gpus((), "nvidia-smi is missing: NVIDIA's driver is not installed")
    output, error = _run("nvidia-smi", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader")
    rows = [[field.strip() for field in line.split(",")] for line in output.splitlines() if line.count(",") == 3]
    found = tuple(
        Gpu(name, driver, memory, "sm" + capability.replace(".", "")) for name, driver, memory, capability in rows
    )
    return Gpus(found, None if found else error or "nvidia-smi lists no GPU")


def jetpack() -> Jetpack | None:
    """On a Jetson: its model, L4T release and JetPack version, if they can be found; else None."""
    if not TEGRA.is_file():
        return None
    release = re.search(r"R(\d+).*?REVISION: ([\d.]+)", TEGRA.read_text(errors="replace"))
    model = MODEL.read_text(errors="replace").strip("\0\n") if MODEL.is_file() else ""
    version = _run("dpkg-query", "--showformat=${Version}", "--show", "nvidia-jetpack")[0]
    return Jetpack(
        model=model or "unknown",
        l4t=f"{release[1]}.{release[2]}" if release else "unknown",
        jetpack=version.strip() or "nvidia-jetpack is not installed",
    )


def _run(*command: str) -> tuple[str, str]:
    """The output of a command, and the error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if done.returncode:
        return "", " ".join((done.stderr or done.stdout).split())[:300]
    return done.stdout, ""


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"
