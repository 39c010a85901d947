"""The parts of a job on a local Ray cluster of two workers, one of which is killed at its work."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models as small

from crosspoint.core.errors import InputError
from crosspoint.runtime.jobs import ray_job
from crosspoint.runtime.jobs.embed import PartCounts, embed
from crosspoint.runtime.jobs.parts import PartOptions
from crosspoint.runtime.jobs.request import make_request
from crosspoint.runtime.options import RunOn, Sampling

FILES = 150


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[None]:
    """Two workers."""
    ray: Any = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.fixture
def job(tmp_path: Path, clouds) -> tuple[Path, Path]:
    """A model, and a folder of clouds, one of them bad."""
    folder = tmp_path / "clouds"
    folder.mkdir()
    for i, cloud in enumerate(clouds(FILES)):
        np.save(folder / f"{i:03d}.npy", cloud)
    (folder / "bad.npy").write_bytes(b"rubbish")
    return small.write_onnx(tmp_path / "model.onnx"), folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def workers() -> list[int]:
    """Ray's workers that descend from this process and are making a part."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            busy = place.name.isdecimal() and b"ray::_make" in (place / "cmdline").read_bytes()
        except OSError:
            continue
        pid = int(place.name) if busy else 0
        while pid > 1 and pid != os.getpid():
            pid = parent(pid)
        if pid == os.getpid():
            found.append(int(place.name))
    return found


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(cluster: None, job: tuple[Path, Path], tmp_path: Path) -> None:
    model, folder = job
    embed(model, [folder], out=tmp_path / "here", parts=PartOptions(size=1, form="npz"))
    results: list[dict[str, Any]] = []
    there = tmp_path / "there"

    def run() -> None:
        results.append(embed(model, [folder], out=there, parts=PartOptions(size=1, form="npz", ray=True)))

    thread = threading.Thread(target=run)
    thread.start()
    killed = 0
    while thread.is_alive() and not killed:
        if content(there) and (busy := workers()):
            os.kill(killed := busy[0], signal.SIGKILL)
    made = len(content(there))
    thread.join()
    assert killed
    assert made < FILES
    (result,) = results
    assert result.parts == PartCounts(FILES + 1, FILES + 1, 0, 0)
    assert [bad.file for bad in result.skipped] == ["bad.npy"]
    assert content(there) == content(tmp_path / "here")


@pytest.mark.slow
def test_a_mistake_comes_back_as_it_is(cluster: None, job: tuple[Path, Path], tmp_path: Path) -> None:
    model, folder = job
    with pytest.raises(InputError, match="nothing does not exist"):
        embed(tmp_path / "nothing", [folder], out=tmp_path / "out", parts=PartOptions(form="npz", ray=True))
    with pytest.raises(InputError, match="at least 1 points per cloud, not 0"):
        embed(model, [folder], out=tmp_path / "out", sampling=Sampling(0), parts=PartOptions(form="npz", ray=True))


def test_a_worker_computes_on_the_core_that_it_reserves(
    job: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker does, in this process: Ray is not needed for it."""
    monkeypatch.setattr("crosspoint.runtime.backends.onnx.available_cpus", lambda: 8)
    model, folder = job
    request = make_request(model, [folder], sampling=Sampling(None, seed=0), batch=8, run_on=RunOn("cpu", backend=None))
    try:
        ray_job._prepare(request, tmp_path / "out", (1, 1), 200, "npz")
        encoder = ray_job._opened(request).encoder
        assert encoder._sessions.whole.get_session_options().intra_op_num_threads == ray_job.CPUS
    finally:
        ray_job._opened.cache_clear()
