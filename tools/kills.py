"""Kill every command that writes at random moments, run it again, and look for anything lost or left behind.

    python tools/kills.py --kills 100 --terms 50 --seed 0

Half of the moments are file operations in the folder of the outputs, chosen by number; the other half are points in
time. Each job has an earlier output in place where the command would replace one. After a signal there must be the
whole earlier output or the whole new one; after SIGTERM also exit code 143, one line, no process and no temporary file;
after the next run what a run that was never disturbed leaves, and nothing else.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

Digest = dict[str, str]  # of a tree: SHA-256 by relative path
HANGS = 600.0  # seconds after which a command is taken to hang
VOLATILE = ("tensorboard", "metrics.jsonl", "checkpoints", "quickstart.json", "results", "report.html", "result.json")
TOY = """
import crosspoint.quickstart as module
module.PER_CLASS, module.POINTS = 2, 32
module.RECIPE = ("points=32", "epochs=1", "batch=32", "image_size=32", "k=8", "backbone=pointnet", "objective=imid")
"""
LAUNCH = """
import atexit, os, signal, sys, threading
box, notes, moment, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sys.argv = ["crosspoint", *sys.argv[5:]]
EVENTS = {"open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "os.chmod", "os.link", "os.listdir", "os.scandir"}
owner, seen = os.getpid(), 0
def count(event, arguments):
    global seen
    if event in EVENTS and os.getpid() == owner and threading.current_thread() is threading.main_thread():
        if any(isinstance(each, (str, bytes)) and os.fsdecode(each).startswith(box) for each in arguments):
            seen += 1
            if seen == moment:
                os.kill(owner, number)
from crosspoint.cli import main
PREPARE
sys.addaudithook(count)
atexit.register(lambda: open(notes + ".count", "w").write(str(seen)))
open(notes + ".ready", "w").close()
main()
"""


@dataclass(frozen=True)
class Job:
    """A command to disturb.

    Attributes:
        name: In the table.
        new: Its arguments; `{box}` is the folder of its outputs and `{inputs}` that of its inputs.
        old: Arguments of the run that makes the earlier output; empty where there is none.
        out: What is looked at, under the box.
        grows: Whether the output comes piece by piece, each of them whole or absent.
        again: Arguments of the next run, if not the same.
        once: Whether the command refuses to be run again when it is done.
        twice: Whether two are started at once.
        prepare: Code that makes the command smaller.
        every: Rounds between two of its turns.
    """

    name: str
    new: str
    old: str = ""
    out: str = "out"
    grows: bool = False
    again: str = ""
    once: bool = False
    twice: bool = False
    prepare: str = ""
    every: int = 1


JOBS = [
    Job("export", "export {inputs}/net.safetensors --out {box}/out --points 48", "export {inputs}/net.safetensors "
        "--out {box}/out --points 32"),
    Job("embed file", "embed {inputs}/bundle {inputs}/clouds --out {box}/out.npz --seed 2", "embed {inputs}/bundle "
        "{inputs}/clouds --out {box}/out.npz --seed 1", "out.npz"),
    Job("embed parts", "embed {inputs}/bundle {inputs}/clouds --out {box}/out/ --part 3", grows=True),
    Job("two embed files", "embed {inputs}/bundle {inputs}/clouds --out {box}/out.npz --seed 2",
        "embed {inputs}/bundle {inputs}/clouds --out {box}/out.npz --seed 1", "out.npz", twice=True),
    Job("two embed parts", "embed {inputs}/bundle {inputs}/clouds --out {box}/out/ --part 3", grows=True, twice=True),
    Job("pack", "data pack {inputs}/shapes --out {box}/out --shard-mb 1", once=True),
    Job("render", "data render {inputs}/meshes --out {box}/out --views 3 --size 16 --points 64 --jobs 2", grows=True),
    Job("scan", "data scan {inputs}/meshes --out {box}/out --views 2 --size 16 --points 64 --jobs 2", grows=True),
    Job("make-shapes", "data make-shapes --out {box}/out --per-class 1 --views 2 --size 8 --points 32 --jobs 2",
        "data make-shapes --out {box}/out --per-class 1 --views 1 --size 8 --points 32 --jobs 2 --seed 1"),
    Job("train", "train --data {inputs}/shapes --out {box}/out --recipe quick --set backbone=pointnet --set "
        "objective=imid --set epochs=3 --set batch=16 --set points=32 --workers 1 --device cpu --resume", grows=True),
    Job("quickstart", "quickstart --out {box}/out", grows=True, once=True, prepare=TOY, every=3),
]  # fmt: skip


@dataclass
class Reference:
    """What a job leaves when nothing disturbs it.

    Attributes:
        old: The earlier output.
        new: What the command makes.
        seconds: That it takes from its start on.
        operations: On files in the box.
    """

    old: Digest
    new: Digest
    seconds: float
    operations: int


@dataclass
class Row:
    """A line of the table: signals of one kind sent to one job."""

    signals: int = 0
    too_late: int = 0
    faults: list[str] = field(default_factory=list)


class Campaign:
    """Jobs in a folder of their own.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.inputs, self.box, self.temporary = root / "inputs", root / "box", root / "tmp"
        self.notes, self.numbers = root / "notes", count()
        self.inputs.mkdir(parents=True)
        self.references: dict[str, Reference] = {}

    def reference(self, job: Job) -> Reference:
        """Run a job undisturbed, once."""
        if job.name not in self.references:
            for name, make in INPUTS.items():
                if f"{{inputs}}/{name}" in job.new and not (self.inputs / name).exists():
                    make(self.inputs)
            self.clean(job)
            old = digest(self.box)
            begun = time.monotonic()
            process = self.start(job, job.new)
            self.wait_ready(process)
            started = time.monotonic()
            if errors := self.ended_well(process):
                raise SystemExit(f"{job.name} fails undisturbed: {errors}")
            operations = int(self.notes.with_suffix(".count").read_text())
            self.references[job.name] = Reference(old, digest(self.box), time.monotonic() - started, operations)
            print(f"{job.name}: {time.monotonic() - begun:.1f} s, {operations} operations", file=sys.stderr, flush=True)
        return self.references[job.name]

    def disturb(self, job: Job, number: int, draw: random.Random) -> tuple[bool, list[str]]:
        """Send a signal at a random moment and run the job again; whether it came in time, and what went wrong."""
        reference = self.reference(job)
        self.clean(job)
        by_count = not job.twice and draw.random() < 0.5
        moment = draw.randint(1, reference.operations) if by_count else 0
        other = self.start(job, job.new) if job.twice else None
        process = self.start(job, job.new, moment, number)
        self.wait_ready(process)
        if not by_count:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0, reference.seconds))
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        errors, faults = self.wait(process)
        moment_text = f"at operation {moment}" if by_count else "in time"
        faults += [f"the other one: {fault}" for fault in self.ended_well(other)] if other is not None else []
        late = process.returncode == 0
        if not late:
            faults += self.after_signal(job, number, process, errors)
        faults += self.remains() if number == signal.SIGTERM else []
        again = self.start(job, job.again or job.new)
        faults += self.after_next_run(job, again)
        return late, [f"{moment_text}: {fault}" for fault in faults]

    def after_signal(self, job: Job, number: int, process: "subprocess.Popen[str]", errors: str) -> list[str]:
        """What is wrong once the process is gone."""
        faults = []
        if number == signal.SIGTERM:
            if process.returncode != 143:
                faults.append(f"exit code {process.returncode}: {errors[-2000:]}")
            said = [line for line in errors.splitlines() if line.startswith("crosspoint:")]
            if len(said) != 1 or "Traceback" in errors:
                faults.append(f"it said {errors[-2000:]!r}")
        deadline = time.monotonic() + 15
        while (alive := group_of(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        if alive:
            faults.append(f"processes are left: {alive}")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        reference, found = self.references[job.name], digest(self.box, hidden=False)
        whole = found in (reference.old, reference.new)  # no files where there was no earlier output
        pieces = job.grows and all(reference.new.get(name, value) == value for name, value in found.items())
        if not whole and not pieces:
            differ = {name for name, value in found.items() if reference.new.get(name) != value}
            faults.append(f"neither the old nor the new output is whole: {sorted(differ)[:5]}, {len(found)} files")
        return faults

    def after_next_run(self, job: Job, process: "subprocess.Popen[str]") -> list[str]:
        """What is wrong after the job has been run once more."""
        errors, hangs = self.wait(process)
        if process.returncode and not (job.once and digest(self.box) == self.references[job.name].new):
            return [*hangs, f"the next run ends with {process.returncode}: {errors[-2000:]}"]
        found, wanted = digest(self.box), self.references[job.name].new
        differ = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        return [f"after the next run {differ[:5]} differ"] * bool(differ) + self.remains()

    def ended_well(self, process: "subprocess.Popen[str]") -> list[str]:
        """What is wrong with an undisturbed process."""
        errors, faults = self.wait(process)
        return [*faults, f"exit code {process.returncode}: {errors[-2000:]}"] if process.returncode else []

    def wait(self, process: "subprocess.Popen[str]") -> tuple[str, list[str]]:
        """What a process says until it ends, and whether it never does."""
        try:
            return process.communicate(timeout=HANGS)[1], []
        except subprocess.TimeoutExpired:
            alive = group_of(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            return process.communicate()[1], [f"it hangs: {alive}"]

    def remains(self) -> list[str]:
        """Temporary files in the box and in TMPDIR; `.ses` is ONNX Runtime's own, `torchinductor_*` PyTorch's."""
        libraries = {self.temporary / ".ses", *self.temporary.glob("torchinductor_*")}
        hidden = {*self.box.rglob(".*"), *self.temporary.iterdir()} - libraries
        return [f"left behind: {sorted(map(str, hidden))[:5]}"] * bool(hidden)

    def clean(self, job: Job) -> None:
        """An empty box, or one with the job's earlier output."""
        for folder in (self.box, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        if job.old:
            old = self.inputs.parent / f"old {job.name}"
            if not old.exists():
                faults = self.ended_well(self.start(job, job.old))
                assert not faults, faults
                shutil.copytree(self.box, old)
            shutil.copytree(old, self.box, dirs_exist_ok=True)

    def start(self, job: Job, arguments: str, moment: int = 0, number: int = 0) -> "subprocess.Popen[str]":
        """Start a command in a session of its own, which sends itself a signal at a file operation if asked to."""
        code = LAUNCH.replace("PREPARE", job.prepare)
        self.notes = self.notes.with_name(f"notes{next(self.numbers)}")
        words = [word.format(box=self.box, inputs=self.inputs) for word in arguments.split()]
        command = [sys.executable, "-c", code, str(self.box), str(self.notes), str(moment), str(number), *words]
        environment = {**os.environ, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def wait_ready(self, process: "subprocess.Popen[str]") -> None:
        """Until the command's own code begins: what is before that has written nothing."""
        while not self.notes.with_suffix(".ready").exists() and process.poll() is None:
            time.sleep(0.002)


def digest(folder: Path, hidden: bool = True) -> Digest:
    """Of all files whose bytes repeat."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        volatile = any(part in VOLATILE for part in name.split("/"))
        if path.is_file() and not volatile and (hidden or "/." not in f"/{name}"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def group_of(session: int) -> list[str]:
    """Commands of the living processes of a session."""
    alive = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ProcessLookupError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(state[3]) == session and state[0] != "Z":
                    alive.append((entry / "cmdline").read_text().replace("\0", " ")[:80])
    return alive


def make_net(folder: Path) -> None:
    """`net.safetensors`: an untrained encoder."""
    import torch

    from crosspoint.models.pointnet import PointNet
    from crosspoint.models.weights import save_model

    torch.manual_seed(0)
    save_model(PointNet().eval(), folder / "net.safetensors")


def make_bundle(folder: Path) -> None:
    """`bundle`: the encoder exported."""
    from crosspoint.export.bundle import export

    make_net(folder)
    export(folder / "net.safetensors", folder / "bundle", points=32)


def make_clouds(folder: Path) -> None:
    """`clouds`: 20 files."""
    import numpy as np

    (folder / "clouds").mkdir()
    for number in range(20):
        np.save(folder / "clouds" / f"{number:02d}.npy", np.random.default_rng(number).random((64, 3), np.float32))


def make_meshes(folder: Path) -> None:
    """`meshes`: 12 files."""
    import trimesh

    (folder / "meshes").mkdir()
    for number in range(12):
        trimesh.creation.cone(1, 1 + number / 10).export(folder / "meshes" / f"{number:02d}.ply")


def make_pairs(folder: Path) -> None:
    """`shapes`: 41 clouds with pictures."""
    from crosspoint.data.shapes.make_shapes import ShapesSettings, make_shapes

    make_shapes(folder / "shapes", ShapesSettings(1, views=2, size=24, points=64), jobs=1)


INPUTS = {
    "net.safetensors": make_net,
    "bundle": make_bundle,
    "clouds": make_clouds,
    "meshes": make_meshes,
    "shapes": make_pairs,
}


@contextlib.contextmanager
def campaign() -> Iterator[Campaign]:
    """A campaign in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        yield Campaign(Path(folder).resolve())


def rounds(jobs: list[Job]) -> Iterator[Job]:
    """The jobs in turn, for ever."""
    for number in count():
        yield from (job for job in jobs if number % job.every == 0)


def run(names: list[str], kills: int, terms: int, seed: int, say: Callable[[str], None]) -> dict[str, dict[str, Row]]:
    """Send the signals to the jobs in turn; returns the rows of the table."""
    jobs = [job for job in JOBS if not names or job.name in names]
    table = {job.name: {name: Row() for name in ("SIGKILL", "SIGTERM")} for job in jobs}
    with campaign() as ground:
        for name, number, most in (("SIGKILL", signal.SIGKILL, kills), ("SIGTERM", signal.SIGTERM, terms)):
            for turn, job in enumerate(islice(rounds(jobs), most)):
                print(f"{name} {turn + 1} of {most}: {job.name}", file=sys.stderr, flush=True)
                late, faults = ground.disturb(job, number, random.Random(f"{seed}/{name}/{turn}"))
                row = table[job.name][name]
                row.signals += 1
                row.too_late += late
                row.faults += faults
                for fault in faults:
                    say(f"{name} {turn} to {job.name}, {fault}")
    return table


def main() -> None:
    """Run a campaign and print its table; exit code 1 if anything was lost or left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--terms", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", action="append", default=[], choices=[job.name for job in JOBS])
    options = parser.parse_args()
    table = run(options.job, options.kills, options.terms, options.seed, lambda line: print(line, flush=True))
    print(f"{'job':<18}{'signal':<9}{'sent':>6}{'too late':>10}{'faults':>8}")
    for name, rows in table.items():
        for kind, row in rows.items():
            print(f"{name:<18}{kind:<9}{row.signals:>6}{row.too_late:>10}{len(row.faults):>8}")
    if any(row.faults for rows in table.values() for row in rows.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
