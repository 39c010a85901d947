"""Plant realistic faults, one at a time, and see whether the tests notice.

    python tools/mutate.py map                         which tests run which lines: the whole suite once, with coverage
    python tools/mutate.py run [--count 300] [--seed 0] [--jobs 1] [--only crosspoint/eval] [--enough 60] [--log FILE]
    python tools/mutate.py show [--log FILE]           the table by folder, and the survivors

A fault is planted in a copy of the tracked files; the tests that run its line are run there until one fails, those of
the mirrored file first. `run` goes on where its log ends. Survivors that are no faults, or that only a person could
see, stand with their reason in `tools/faults_explained.json` and are counted apart.
"""

import argparse
import contextlib
import importlib
import itertools
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

from faults import Fault, faults_of

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / ".mutate"
COVERAGE, DURATIONS, LOG = STORE / "coverage", STORE / "durations.xml", STORE / "log.jsonl"
EXPLAINED = Path(__file__).with_name("faults_explained.json")
SEEN_BY_PEOPLE = (  # drawings: their tests say that they are there, a person says whether they are right
    "crosspoint/data/shapes/*",
    "crosspoint/data/shapes/contact_sheet.py",
    "crosspoint/report/charts.py",
    "crosspoint/eval/figures.py",
    "crosspoint/eval/*pictures.py",
    "crosspoint/report/pictures.py",
    "crosspoint/report/sections/shapes/*",
    "crosspoint/parity/layers/picture.py",
    "crosspoint/runtime/jobs/search_picture.py",
    "crosspoint/commands/tables/*",
)
SECONDS = 240  # that a fault may take; one that makes the tests hang is noticed
LIBRARIES = (
    "pytest",
    "hypothesis",
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "sklearn.svm",
    "scipy.stats",
    "h5py",
)
NOTICED, SURVIVED, UNREACHED = "noticed", "survived", "no test runs it"


@dataclass(frozen=True)
class Outcome:
    """What became of a fault.

    Attributes:
        file: Of the fault, with the other four what identifies it.
        line: Counted from 1.
        kind: What sort of mistake it is.
        old: The text that was replaced.
        new: The text instead.
        context: The line as it stands.
        verdict: `"noticed"`, `"survived"` or `"no test runs it"`.
        by: The test that failed.
        seconds: Taken.
    """

    file: str
    line: int
    kind: str
    old: str
    new: str
    context: str
    verdict: str
    by: str
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """As `Fault.key`."""
        return self.file, self.context, self.old, self.new


def tracked(*patterns: str) -> list[str]:
    """Files that git knows."""
    done = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def make_map() -> int:
    """Run the suite once and keep which test runs which line, and how long each takes."""
    STORE.mkdir(exist_ok=True)
    environment = {**os.environ, "COVERAGE_FILE": str(COVERAGE)}
    command = [sys.executable, "-m", "pytest", "-q", "--cov=crosspoint", "--cov-context=test", "--cov-report="]
    return subprocess.run([*command, f"--junitxml={DURATIONS}"], cwd=ROOT, env=environment).returncode


class Tests:
    """Which tests run a line of a file, from `make_map`."""

    def __init__(self, enough: float) -> None:
        from coverage import CoverageData

        self._enough = enough
        self._data = CoverageData(str(COVERAGE))
        self._data.read()
        self._files = {str(Path(file).relative_to(ROOT)): file for file in self._data.measured_files()}
        self._seconds = _durations()
        self._tests = {file: (ROOT / file).read_text("utf-8") for file in tracked("tests/*.py", "tests/**/*.py")}

    @property
    def names(self) -> Iterable[str]:
        """Of all tests that passed."""
        return self._seconds

    def of(self, fault: Fault) -> list[str]:
        """Node identifiers: of the mirrored file, then of those that import the module, then by nearness of folders."""
        lines = self._data.contexts_by_lineno(self._files[fault.file]) if fault.file in self._files else {}
        contexts = {context for context in lines.get(fault.line, ()) if context}
        run_on_import = not contexts
        contexts = contexts or {context for found in lines.values() for context in found if context}
        names = {context.rsplit("|", 1)[0] for context in contexts}
        _, *folders, name = fault.file.split("/")
        mirrored = "/".join(["tests", *folders, f"test_{name}"])
        importing = self._importing(fault.file)
        if run_on_import:  # what a module states, such as a limit or an option, is not in the map where it is read
            above = {"/".join(["tests", *folders[: i + 1]]) for i in range(len(folders))}
            near = {file for file in self._tests if file.rsplit("/", 1)[0] in above} | importing
            names |= {known for known in self._seconds if known.split("::")[0] in near}
        if (ROOT / mirrored).is_file():  # what runs in processes of its own is not in the map
            names |= {known for known in self._seconds if known.startswith(f"{mirrored}::")}

        def order(name: str) -> tuple[bool, bool, int, float]:
            file = name.split("::")[0]
            shared = itertools.takewhile(bool, map(str.__eq__, file.split("/")[:-1], mirrored.split("/")[:-1]))
            return file != mirrored, file not in importing, -len(list(shared)), self._seconds.get(name, 0.0)

        known = sorted((name for name in names if name in self._seconds), key=order)
        ends = itertools.accumulate(self._seconds[name] for name in known)
        return [name for i, (name, end) in enumerate(zip(known, ends, strict=True)) if not i or end < self._enough]

    def _importing(self, file: str) -> set[str]:
        """Files of tests that name the module of a file, or import it from its package."""
        package, _, module = file.removesuffix(".py").replace("/", ".").rpartition(".")
        named = re.compile(rf"{re.escape(f'{package}.{module}')}\b|from {re.escape(package)} import .*\b{module}\b")
        return {place for place, text in self._tests.items() if named.search(text)}


def _durations() -> dict[str, float]:
    """Seconds of every test that passed, by its node identifier."""
    seconds = {}
    for case in ElementTree.parse(DURATIONS).iter("testcase"):
        if not len(case):  # neither failed nor skipped
            file = case.get("classname", "").replace(".", "/") + ".py"
            seconds[f"{file}::{case.get('name')}"] = float(case.get("time", 0))
    return seconds


def choose(count: int, seed: int, only: Sequence[str]) -> list[Fault]:
    """Faults, as many from each folder and of each kind as there are."""
    rng = random.Random(seed)
    groups: dict[str, dict[str, list[Fault]]] = defaultdict(lambda: defaultdict(list))
    for file in tracked("crosspoint/*.py"):
        if any(fnmatch(file, pattern) for pattern in SEEN_BY_PEOPLE):
            continue
        if only and not any(file.startswith(prefix) for prefix in only):
            continue
        for fault in faults_of(ROOT, file):
            groups[folder_of(file)][fault.kind].append(fault)
    for kinds in groups.values():
        for faults in kinds.values():
            rng.shuffle(faults)
    chosen: list[Fault] = []
    while len(chosen) < count and groups:
        for folder in sorted(groups):
            kind = rng.choice(sorted(groups[folder]))
            chosen.append(groups[folder][kind].pop())
            groups[folder] = defaultdict(list, {kind: left for kind, left in groups[folder].items() if left})
        groups = defaultdict(lambda: defaultdict(list), {name: kinds for name, kinds in groups.items() if kinds})
    return chosen[:count]


def folder_of(file: str) -> str:
    """The part of the package that a file is in."""
    parts = file.split("/")
    return parts[1] if len(parts) > 2 else "crosspoint"


class Copy:
    """A copy of the tracked files, in which one fault at a time is planted."""

    def __init__(self, place: Path) -> None:
        self._place = place
        libraries = [str(path.relative_to(ROOT)) for path in ROOT.glob("crosspoint/**/*.so")]
        for file in (*tracked(), *libraries):
            target = place / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, target)
        self._server = self._serve()

    def close(self) -> None:
        """End the process that runs the tests."""
        self._server.communicate()

    def check_map(self, names: Iterable[str]) -> None:
        """Make sure that the tests of the map are those that there are."""
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": str(self._place), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=self._place, env=environment, capture_output=True, text=True, check=False)
        absent = sorted(set(names) - set(done.stdout.splitlines()))
        if absent:
            raise SystemExit(
                f"the map is older than the tests; make it again: {len(absent)} are gone, e.g. {absent[0]}"
            )

    def judge(self, fault: Fault, tests: Sequence[str]) -> Outcome:
        """Plant a fault, run tests until one fails, and take the fault out again."""
        started = time.monotonic()
        path = self._place / fault.file
        text = path.read_text(encoding="utf-8")
        path.write_text(fault.planted(text), encoding="utf-8")
        try:
            verdict, by = self._run(tests) if tests else (UNREACHED, "")
        finally:
            path.write_text(text, encoding="utf-8")
        named = {name: getattr(fault, name) for name in ("file", "line", "kind", "old", "new", "context")}
        return Outcome(**named, verdict=verdict, by=by, seconds=round(time.monotonic() - started, 1))

    def _run(self, tests: Sequence[str]) -> tuple[str, str]:
        names = self._place / "names.json"
        names.write_text(json.dumps(list(tests)))
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{names}\n")
        self._server.stdin.flush()
        code = json.loads(self._server.stdout.readline())
        output = names.with_suffix(".txt").read_text(errors="replace")
        failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        if code is None:
            return NOTICED, f"not finished after {SECONDS} s"
        if code == 2 and not failed:
            return NOTICED, "the tests were interrupted"
        if code == 4:
            return NOTICED, "a test is no longer there"
        if code in (0, 5):
            return (SURVIVED if code == 0 else UNREACHED), ""
        if code > 0 and not failed:
            raise SystemExit(f"the tests did not run\n{output[-2000:]}")
        return NOTICED, failed[0] if failed else f"ended by signal {-code}"

    def _serve(self) -> "subprocess.Popen[str]":
        """A process in the copy that runs tests when it is given their names."""
        environment = {**os.environ, "PYTHONPATH": str(self._place), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, __file__, "serve"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self._place, env=environment, stdin=pipe, stdout=pipe, text=True)


def serve() -> int:
    """For each line, the path of a list of tests, fork, run them, and print the exit code; null if it takes too long.

    The libraries are loaded once; the package and its tests are loaded by each child anew.
    """
    for library in LIBRARIES:
        importlib.import_module(library)
    for line in sys.stdin:
        names = Path(line.rstrip("\n"))
        child = os.fork()
        if not child:
            os.setpgrp()
            output = os.open(names.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = 3
            try:
                code = run_tests(names)
                sys.stdout.flush()
            finally:
                os._exit(code)
        ended, _, _ = select.select([os.pidfd_open(child)], [], [], SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and whatever it has started
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status) if ended else None), flush=True)
    return 0


def run_tests(names: Path) -> int:
    """Run the named tests until one fails."""
    import pytest

    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--timeout=120", *json.loads(names.read_text())]))


def run(count: int, seed: int, jobs: int, only: Sequence[str], enough: float, log: Path) -> int:
    """Judge faults and append what became of them to the log; those in it are not judged again.

    A fault that no test has noticed after `enough` seconds of tests, as the map timed them, has survived.
    """
    tests = Tests(enough)
    done = {outcome.key for outcome in outcomes(log)}
    waiting = [fault for fault in choose(count, seed, only) if fault.key not in done]
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, log.open("a", encoding="utf-8") as file:
        copies = [Copy(Path(place, str(i))) for i in range(jobs)]
        copies[0].check_map(tests.names)

        def work(copy: Copy, faults: Iterable[Fault]) -> None:
            for fault in faults:
                outcome = copy.judge(fault, tests.of(fault))
                file.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
                file.flush()
                print(f"{outcome.verdict:16} {outcome.seconds:6.1f} s  {fault}", flush=True)

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(work, copies, [waiting[i::jobs] for i in range(jobs)]))
        for copy in copies:
            copy.close()
    return show(log)


def outcomes(log: Path) -> list[Outcome]:
    """Those in a log."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return [Outcome(**json.loads(line)) for line in lines]


def show(log: Path) -> int:
    """Print the table by folder and the survivors that nobody explained; 1 if less than 95 % were noticed."""
    explained = {tuple(entry["fault"]): entry["why"] for entry in json.loads(EXPLAINED.read_text(encoding="utf-8"))}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    survivors = []
    for outcome in outcomes(log):
        verdict = "explained" if outcome.verdict != NOTICED and outcome.key in explained else outcome.verdict
        counts[folder_of(outcome.file)][verdict] += 1
        counts["all"][verdict] += 1
        if verdict in (SURVIVED, UNREACHED):
            survivors.append(outcome)
    print(f"{'folder':12} {'planted':>8} {'noticed':>8} {'explained':>10} {'survived':>9} {'share':>7}")
    for folder in sorted(counts, key=lambda name: (name == "all", name)):
        row = counts[folder]
        left = row[SURVIVED] + row[UNREACHED]
        share = row[NOTICED] / max(1, row[NOTICED] + left)
        print(f"{folder:12} {row.total():8} {row[NOTICED]:8} {row['explained']:10} {left:9} {share:7.1%}")
    for outcome in sorted(survivors, key=lambda outcome: (outcome.file, outcome.line)):
        print(f"{outcome.file}:{outcome.line} [{outcome.kind}] {outcome.old!r} → {outcome.new!r}    {outcome.context}")
    judged = counts["all"][NOTICED] + len(survivors)
    return int(counts["all"][NOTICED] < 0.95 * judged)


def main() -> int:
    """Parse and dispatch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("map")
    commands.add_parser("serve")
    for name in ("run", "show"):
        commands.add_parser(name).add_argument("--log", type=Path, default=LOG)
    running = commands.choices["run"]
    running.add_argument("--count", type=int, default=300)
    running.add_argument("--seed", type=int, default=0)
    running.add_argument("--jobs", type=int, default=1)
    running.add_argument("--only", action="append", default=[])
    running.add_argument("--enough", type=float, default=60)
    given = parser.parse_args()
    if given.command == "map":
        return make_map()
    if given.command == "serve":
        return serve()
    if given.command == "show":
        return show(given.log)
    return run(given.count, given.seed, given.jobs, given.only, given.enough, given.log)


if __name__ == "__main__":
    sys.exit(main())
