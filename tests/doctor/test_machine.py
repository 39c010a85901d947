import os

from crosspoint.doctor import machine
from crosspoint.doctor.facts import Gpu, Gpus, Jetpack
from crosspoint.doctor.machine import gpus, jetpack, machine_facts


def test_this_machine():
    facts = machine_facts()
    assert facts.cores >= 1
    assert facts.python.count(".") == 2
    assert facts.memory_gib == round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def put(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_gpus_as_nvidia_smi_lists_them(tmp_path, monkeypatch):
    put(
        tmp_path,
        "nvidia-smi",
        'echo "NVIDIA L4, 550.54.15, 23034 MiB, 8.9"; echo "NVIDIA H100, 550.54.15, 81559 MiB, 9.0"',
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = gpus()
    assert [gpu.compute_capability for gpu in found.found] == ["sm89", "sm90"]
    assert found.found[0] == Gpu("NVIDIA L4", "550.54.15", "23034 MiB", "sm89")
    assert found.reason is None


def test_a_driver_that_does_not_answer_is_the_reason(tmp_path, monkeypatch):
    put(tmp_path, "nvidia-smi", 'echo "couldn\'t communicate with the NVIDIA driver"; exit 9')
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert gpus() == Gpus((), "couldn't communicate with the NVIDIA driver")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert "nvidia-smi is missing" in gpus().reason


def test_a_jetson_by_its_release_file(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "TEGRA", tmp_path / "nv_tegra_release")
    monkeypatch.setattr(machine, "MODEL", tmp_path / "model")
    assert jetpack() is None
    (tmp_path / "nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson AGX Orin Developer Kit\0")
    put(tmp_path, "dpkg-query", "echo 6.2+b77")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert jetpack() == Jetpack("NVIDIA Jetson AGX Orin Developer Kit", "36.4.3", "6.2+b77")
