"""Reading cases in a process of its own, so that a crash, a hang or a want of memory is a result like any other."""

import faulthandler
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from crosspoint.core.errors import CrosspointError
from fuzzer.cases import Cases, Files, Target, write

READ, REFUSED = "read", "refused"
EXCEPTION, MESSAGE, MEMORY, CRASH, HANG, SEED = "exception", "message", "memory", "crash", "hang", "seed"
FAULTS = (EXCEPTION, MESSAGE, MEMORY, CRASH, HANG, SEED)
"""Not an error of ours; ours, but no printable line; too much memory; killed by a signal; no end; a seed refused."""

CPU_SECONDS, STILL_SECONDS = 30, 5  # a case hangs once it has computed, or all of its threads have slept, for so long
ADDRESS_SPACE = 1 << 30  # bytes that a case may add
RESIDENT, MULTIPLE = 256 << 20, 64  # bytes that a case may touch, besides a multiple of what it reads
SMALL = 64 << 20  # bytes of an input that is no reason to need much memory
SPACES = "\u00a0\u2007\u202f\u3000"  # not printable to Python, and harmless on a line
LONGEST = 2000  # characters of a message
NO_MEMORY = re.compile(
    r"can't allocate|unable to allocate|bad_alloc|bad allocation|out of memory|cannot allocate", re.I
)


@dataclass
class Finding:
    """Faults of one kind at one place: the first case, and how many there were."""

    kind: str
    where: str
    detail: str
    case: int
    count: int = 1


@dataclass
class Report:
    """What became of the cases of a target."""

    target: str
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)

    def add(self, case: int, kind: str, where: str, detail: str) -> None:
        """Note the outcome of a case."""
        self.outcomes[kind] += 1
        if kind not in FAULTS:
            return
        found = self.findings.setdefault(f"{kind} {where}", Finding(kind, where, detail, case, 0))
        found.count += 1

    def __str__(self) -> str:
        lines = [f"{self.target}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.outcomes.items()))]
        for found in self.findings.values():
            lines.append(f"  {found.count} × {found.kind} at {found.where}: {found.detail}")
            again = f"python tests/fuzz {self.target} --seed {self.seed} --start {found.case} --count 1 --keep FOLDER"
            lines.append(f"    {again}")
        return "\n".join(lines)


def run(target: Target, seed: int, start: int, count: int) -> Report:
    """Read cases `start` to `start + count` of a target; a worker that dies is replaced, and the next case is read."""
    report = Report(target.name, seed)
    stop = start + count
    while start < stop:
        start = _watch(target, seed, start, stop, report)
    return report


def _watch(target: Target, seed: int, start: int, stop: int, report: Report) -> int:
    """Start a worker and follow it to its end; returns the number of the first case that was not read."""
    with tempfile.TemporaryDirectory(prefix="crosspoint-fuzz-") as folder:
        output = Path(folder) / "output"
        reader, writer = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _work(target, seed, start, stop, Path(folder), output, writer)
        os.close(writer)
        try:
            done = _follow(pid, reader, start, output, report)
        finally:
            os.close(reader)
        return done


def _follow(pid: int, reader: int, start: int, output: Path, report: Report) -> int:
    current, still, used, rest = start, 0, 0.0, b""
    while True:
        if select.select([reader], [], [], 1.0)[0]:
            block = os.read(reader, 1 << 16)
            if not block:
                break
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                case, *outcome = json.loads(line)
                if outcome:
                    report.add(case, *outcome)
                    current = case + 1
                still, used = 0, _cpu(pid)
            continue
        still = still + 1 if _sleeps(pid) else 0
        if still >= STILL_SECONDS or _cpu(pid) - used > CPU_SECONDS:
            os.kill(pid, signal.SIGUSR1)  # writes where it is
            time.sleep(0.2)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            report.add(current, HANG, *_trace(output))
            return current + 1
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        where, detail = _trace(output)
        report.add(current, CRASH, where, f"{signal.Signals(os.WTERMSIG(status)).name} {detail}")
        return current + 1
    if os.WEXITSTATUS(status):
        raise RuntimeError(
            f"the fuzzer itself failed on case {current} of {report.target}:\n{output.read_text()[-3000:]}"
        )
    return current


def _cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sleeps(pid: int) -> bool:
    """Whether no thread of a process runs, wants to, or waits for a disk."""
    try:
        states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # a thread has just ended
        return False
    return all(state in "SZ" for state in states)


def _trace(output: Path) -> tuple[str, str]:
    """Where a worker was when it wrote its last trace: the innermost line of the package, and of all."""
    text = output.read_text(errors="replace")[-20_000:]
    frames = re.findall(r'File "([^"]+)", line (\d+) in (\w+)', text.rpartition("Current thread")[2])
    ours = next((frame for frame in frames if "/crosspoint/" in frame[0]), ("unknown", "0", ""))
    innermost = " ".join(frames[0]) if frames else text[-200:]
    return f"{ours[0].rpartition('/crosspoint/')[2]}:{ours[1]}", innermost


# In the worker


def _work(target: Target, seed: int, start: int, stop: int, folder: Path, output: Path, writer: int) -> NoReturn:
    code = 1
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        faulthandler.enable(2)
        faulthandler.register(signal.SIGUSR1, 2, all_threads=False)
        os.chdir(folder)
        cases = Cases(target, seed)
        for files in cases.seeds:  # what is imported when it is first needed is not the memory of a case
            _attempt(target, files, folder / "case")
        _limit()
        for number in range(start, stop):
            os.write(writer, json.dumps([number]).encode() + b"\n")
            files = cases[number]
            kind, where, detail = _attempt(target, files, folder / "case")
            if number < len(cases.seeds) and kind != READ:
                kind, where, detail = SEED, where or kind, detail
            os.ftruncate(descriptor, 0)
            os.write(writer, json.dumps([number, kind, where, detail]).encode() + b"\n")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _limit() -> None:
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, _status("VmSize") + ADDRESS_SPACE)):
        resource.setrlimit(kind, (most, most))


def _attempt(target: Target, files: Files, folder: Path) -> tuple[str, str, str]:
    """What becomes of one case: kind, place and detail."""
    folder.mkdir()
    try:
        size = sum(len(content) for content in files.values() if isinstance(content, bytes))
        write(files, folder)
        before = _reset_peak()
        kind, where, detail = _read(target, folder, size)
        grown = _status("VmHWM") - before
        if kind in (READ, REFUSED) and not target.program and grown > RESIDENT + MULTIPLE * size:
            return MEMORY, where, f"{grown >> 20} MiB for {size} bytes; {detail}"
        return kind, where, detail
    finally:
        usual = sys.getrecursionlimit()
        sys.setrecursionlimit(10_000)  # a folder is removed by recursion, and there may be a thousand
        shutil.rmtree(folder)
        sys.setrecursionlimit(usual)


def _read(target: Target, folder: Path, size: int) -> tuple[str, str, str]:
    try:
        target.read(folder)
    except CrosspointError as error:
        text, where = str(error), _where(error)
        if not is_line(text):
            return MESSAGE, where, repr(text[:300])
        if not target.program and size < SMALL and _wants_memory(error):
            return MEMORY, where, text[:300]
        return REFUSED, where, text[:300]
    except BaseException as error:  # SystemExit and KeyboardInterrupt are faults, too
        return EXCEPTION, _where(error), f"{type(error).__name__}: {str(error)[:300]!r}"
    return READ, "", ""


def is_line(text: str) -> bool:
    """Whether a message is one printable line of a length that can be read."""
    return 0 < len(text) < LONGEST and all(character.isprintable() or character in SPACES for character in text)


def _where(error: BaseException) -> str:
    """The innermost line of the package."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/crosspoint/" in frame.filename]
    if not frames:
        return f"{type(error).__name__} outside"
    return f"{frames[-1].filename.rpartition('/crosspoint/')[2]}:{frames[-1].lineno} {type(error).__name__}"


def _wants_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reset_peak() -> int:
    """Forget the peak of what this process had resident; returns what it has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    """An entry of `/proc/self/status` in bytes."""
    found: Any = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) << 10
