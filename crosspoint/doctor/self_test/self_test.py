"""Runs the steps of the self-test one after another in another process, so that a crash does not end the test."""

import importlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from crosspoint.core.console import announce
from crosspoint.core.errors import MissingDependency
from crosspoint.core.results import Result, from_json, to_json
from crosspoint.doctor.anonymise import scrub
from crosspoint.doctor.facts import DoctorFacts, DoctorResult
from crosspoint.doctor.self_test.step import Context, NotAvailable, Step
from crosspoint.runtime.signing import VARIABLE

MARK = "crosspoint-step:"
MODULE = "crosspoint.doctor.self_test.steps"
SECONDS = 300.0  # time limit of a step
STATUSES = ("passed", "failed", "not available")


@dataclass(frozen=True)
class StepResult:
    """What came of a step.

    Attributes:
        name: Of the step.
        status: `"passed"`, `"failed"` or `"not available"`.
        reason: Why it did not pass.
        found: What it said.
        seconds: What it took.
    """

    name: str
    status: str
    reason: str
    found: str
    seconds: float


@dataclass(frozen=True)
class SelfTestResult(Result):
    """What came of all steps; no host or user name, and no path.

    Attributes:
        passed: Whether no step failed.
        counts: Steps by status.
        seconds: What all of them took.
        steps: In order.
        machine: What `doctor` found.
    """

    schema: ClassVar[str] = "crosspoint.self-test/1"

    passed: bool
    counts: dict[str, int]
    seconds: float
    steps: tuple[StepResult, ...]
    machine: DoctorResult


def self_test(machine: DoctorResult, module: str = MODULE, *, seconds: float = SECONDS) -> SelfTestResult:
    """Run every step at toy size. A step that fails, hangs or crashes does not stop the others.

    Args:
        machine: The result of `doctor`: it says which steps can run, and becomes part of the result.
        module: Module whose `STEPS` are run, in order.
        seconds: Time limit of a step, in seconds.
    """
    started = time.monotonic()
    names = [step.name for step in _steps(module)]
    results: dict[str, StepResult] = {}
    with tempfile.TemporaryDirectory(prefix="crosspoint-self-test-") as folder:
        for result in _run_all(machine.facts, names, module, Path(folder), seconds):
            results[result.name] = result
            announce(f"  {result.status:<13} {result.name} ({result.seconds:.1f} s)")
    ordered = tuple(results[name] for name in names)
    found = Counter(step.status for step in ordered)
    counts = {status: found[status] for status in STATUSES}
    taken = round(time.monotonic() - started, 1)
    return scrub(SelfTestResult(not found["failed"], counts, taken, ordered, machine))


def _steps(module: str) -> Sequence[Step]:
    steps: Sequence[Step] = importlib.import_module(module).STEPS
    return steps


def _run_all(facts: DoctorFacts, names: list[str], module: str, folder: Path, seconds: float) -> Iterator[StepResult]:
    """Run the steps; if a process ends early, a new one continues with the next step."""
    (folder / "facts.json").write_text(json.dumps(to_json(facts)))
    done: dict[str, str] = {}
    while len(done) < len(names):
        for result in _run_some(names[len(done) :], done, module, folder, seconds):
            done[result.name] = result.status
            yield result


def _run_some(
    names: list[str], done: dict[str, str], module: str, folder: Path, seconds: float
) -> Iterator[StepResult]:
    """Run steps in one process; returns their results, also that of the step in which the process ended."""
    code = (
        "from sys import argv; from crosspoint.doctor.self_test.self_test import work; "
        "work(argv[1], argv[2], names=argv[3], done=argv[4])"
    )
    command = [sys.executable, "-c", code, str(folder), module, json.dumps(names), json.dumps(done)]
    with (folder / "stderr.txt").open("w+") as errors, ExitStack() as ending:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder, env=_environment()
        )
        ending.callback(process.wait)
        ending.callback(process.kill)  # also when this process is interrupted
        lines = _lines(process.stdout)
        for name in names:
            started = time.monotonic()
            try:
                result = lines.get(timeout=seconds)
                trouble = f"the process ended with {process.wait()}" if result is None else ""
            except queue.Empty:
                result, trouble = None, f"no result within {seconds:g} s"
            if result is not None:
                yield result
                continue
            process.kill()
            process.wait()
            errors.seek(0)
            said = " ".join(errors.read().split())[-400:]
            yield _result(name, "failed", started, reason=f"{trouble}: {said}" if said else trouble)
            return
        process.wait()


def _environment() -> dict[str, str]:
    """The environment of this process, with this package importable from any folder and without public keys."""
    here = str(Path(__file__).resolve().parents[3])
    others = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return {**others, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


def _lines(stream: IO[str] | None) -> "queue.Queue[StepResult | None]":
    """The results as they are printed, and None at the end."""
    results: queue.Queue[StepResult | None] = queue.Queue()

    def read() -> None:
        assert stream is not None
        for line in stream:
            if line.startswith(MARK):
                results.put(from_json(StepResult, json.loads(line.removeprefix(MARK))))
        results.put(None)

    threading.Thread(target=read, daemon=True).start()
    return results


def work(folder: str, module: str, *, names: str, done: str) -> None:
    """Run steps by name and print a line of JSON for each; their own output goes to standard error.

    Args:
        folder: Folder in which steps leave files for later steps; `facts.json` is in it.
        module: Module with the `STEPS`.
        names: Names of the steps, a JSON list.
        done: Status of the earlier steps by name, as JSON.
    """
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    context = Context(Path(folder), from_json(DoctorFacts, json.loads((Path(folder) / "facts.json").read_text())))
    statuses: dict[str, str] = json.loads(done)
    known = {step.name: step for step in _steps(module)}
    for name in json.loads(names):
        result = _run(known[name], context, statuses)
        statuses[name] = result.status
        print(MARK + json.dumps(to_json(scrub(result))), file=results, flush=True)


def _run(step: Step, context: Context, statuses: dict[str, str]) -> StepResult:
    started = time.monotonic()
    lacking = [name for name in step.after if statuses.get(name) != "passed"]
    reason = step.needs(context.facts) or (f"it needs what '{lacking[0]}' makes" if lacking else None)
    if reason is not None:
        return _result(step.name, "not available", started, reason=reason)
    try:
        return _result(step.name, "passed", started, found=step.run(context))
    except (NotAvailable, MissingDependency) as error:
        return _result(step.name, "not available", started, reason=str(error))
    except Exception as error:  # any failure of a step is a result
        return _result(step.name, "failed", started, reason=f"{_said(error)} ({_place(error)})")


def _result(name: str, status: str, started: float, reason: str = "", found: str = "") -> StepResult:
    return StepResult(name, status, reason, found, round(time.monotonic() - started, 2))


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:600]


def _place(error: Exception) -> str:
    """The innermost line of this package in the error's traceback."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "crosspoint" in file.parts:
            place = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
