"""The self-test's steps, run one after another in a process of their own, which may die without ending the test."""

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
from pathlib import Path
from typing import IO, Any

from crosspoint.core.console import announce
from crosspoint.core.errors import MissingDependency
from crosspoint.doctor.anonymise import scrub
from crosspoint.doctor.self_test.step import Context, NotAvailable, Step
from crosspoint.runtime.signing import VARIABLE

MARK = "crosspoint-step:"
MODULE = "crosspoint.doctor.self_test.steps"
SECONDS = 300.0  # that one step may take
STATUSES = ("passed", "failed", "not available")


def self_test(facts: dict[str, Any], module: str = MODULE, *, seconds: float = SECONDS) -> dict[str, Any]:
    """Run every step at toy size on whatever is here; a step that fails, hangs or crashes does not stop the others.

    Args:
        facts: Of `doctor`; they go into the result, and say which steps can be run.
        module: Whose `STEPS` are run, in order.
        seconds: That one step may take.

    Returns:
        JSON-serialisable: `steps` with `name`, `status`, `reason`, `found` and `seconds`, `counts` of the statuses,
        `seconds`, `passed`, and `machine`, what `doctor` found. No host or user name, and no path.
    """
    started = time.monotonic()
    names = [step.name for step in _steps(module)]
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="crosspoint-self-test-") as folder:
        for result in _run_all(facts, names, module, Path(folder), seconds):
            results[result["name"]] = result
            announce(f"  {result['status']:<13} {result['name']} ({result['seconds']:.1f} s)")
    ordered = [results[name] for name in names]
    found = Counter(step["status"] for step in ordered)
    summary = {
        "passed": not found["failed"],
        "counts": {status: found[status] for status in STATUSES},
        "seconds": round(time.monotonic() - started, 1),
        "steps": ordered,
        "machine": facts,
    }
    scrubbed: dict[str, Any] = scrub(summary)
    return scrubbed


def _steps(module: str) -> Sequence[Step]:
    steps: Sequence[Step] = importlib.import_module(module).STEPS
    return steps


def _run_all(
    facts: dict[str, Any], names: list[str], module: str, folder: Path, seconds: float
) -> Iterator[dict[str, Any]]:
    """Results in order; a new process goes on with what is left where one ended early."""
    (folder / "facts.json").write_text(json.dumps(facts))
    done: dict[str, str] = {}
    while len(done) < len(names):
        for result in _run_some(names[len(done) :], done, module, folder, seconds):
            done[result["name"]] = result["status"]
            yield result


def _run_some(
    names: list[str], done: dict[str, str], module: str, folder: Path, seconds: float
) -> Iterator[dict[str, Any]]:
    """Results of one process, and that of the step in which it ended, if it did."""
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
    """This one's, with this package importable from any folder; no key covers the models that the steps make."""
    here = str(Path(__file__).resolve().parents[3])
    others = {name: value for name, value in os.environ.items() if name != VARIABLE}
    return {**others, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


def _lines(stream: IO[str] | None) -> "queue.Queue[dict[str, Any] | None]":
    """Results as they are printed, and None at the end."""
    results: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def read() -> None:
        assert stream is not None
        for line in stream:
            if line.startswith(MARK):
                results.put(json.loads(line.removeprefix(MARK)))
        results.put(None)

    threading.Thread(target=read, daemon=True).start()
    return results


def work(folder: str, module: str, *, names: str, done: str) -> None:
    """Run steps by name and print a line for each; what they print themselves goes to standard error.

    Args:
        folder: Where they leave what later ones use; `facts.json` is there.
        module: Whose `STEPS` they are.
        names: A JSON list.
        done: JSON; the status of the steps before, by name.
    """
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    context = Context(Path(folder), json.loads((Path(folder) / "facts.json").read_text()))
    statuses: dict[str, str] = json.loads(done)
    known = {step.name: step for step in _steps(module)}
    for name in json.loads(names):
        result = _run(known[name], context, statuses)
        statuses[name] = result["status"]
        print(MARK + json.dumps(scrub(result)), file=results, flush=True)


def _run(step: Step, context: Context, statuses: dict[str, str]) -> dict[str, Any]:
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


def _result(name: str, status: str, started: float, reason: str = "", found: str = "") -> dict[str, Any]:
    seconds = round(time.monotonic() - started, 2)
    return {"name": name, "status": status, "reason": reason, "found": found, "seconds": seconds}


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:600]


def _place(error: Exception) -> str:
    """The innermost line of this package that the error went through."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if "crosspoint" in file.parts:
            place = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
