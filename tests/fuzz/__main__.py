"""`python tests/fuzz [TARGET …] --seed S --count N`: read damaged files, and say what was not refused in one line.

Everything about a case follows from the target, the seed and its number, so that a finding is seen again with the
command that stands below it; `--keep FOLDER` writes its files there. Without targets all are fuzzed. A table ends it.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # no threads before a fork
    os.environ.setdefault(name, "1")

import h5py  # noqa: E402, F401  (what takes long to import is imported once, before the workers are forked)
import onnx  # noqa: E402, F401
import onnxruntime  # noqa: E402, F401
import pyarrow.parquet  # noqa: E402, F401
import sklearn.neighbors  # noqa: E402, F401
import torch.utils.tensorboard  # noqa: E402, F401
import torchvision  # noqa: E402, F401
import trimesh  # noqa: E402, F401
from fuzzer.cases import Cases, write  # noqa: E402
from fuzzer.planted import PLANTED  # noqa: E402
from fuzzer.run import FAULTS, Report, run  # noqa: E402
from fuzzer.targets import TARGETS  # noqa: E402


def table(reports: list[Report]) -> str:
    """Targets × outcomes."""
    columns = ("read", "refused", *FAULTS)
    rows = [("target", "cases", *columns)]
    for report in reports:
        numbers = [report.outcomes[column] for column in columns]
        rows.append((report.target, *map(str, (sum(numbers), *numbers))))
    sums = [sum(int(row[i]) for row in rows[1:]) for i in range(1, len(columns) + 2)]
    rows.append(("all", *map(str, sums)))
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]))


def serve() -> None:
    """For the tests: a line of JSON with target, seed, start and count is answered by one with the report."""
    for line in sys.stdin:
        name, seed, start, count = json.loads(line)
        report = run((TARGETS | PLANTED)[name], seed, start, count)
        answer = {"outcomes": report.outcomes, "findings": list(report.findings), "text": str(report)}
        print(json.dumps(answer), flush=True)


def main() -> int:
    """Returns 1 if there were findings."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="the first case")
    parser.add_argument("--count", type=int, default=1000, help="cases of each target")
    parser.add_argument("--keep", type=Path, help="write the files of the first case there")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"there is no target {', '.join(unknown)}; known are {', '.join(TARGETS)}")
    reports = []
    for name in options.targets or TARGETS:
        if options.keep is not None:
            write(Cases(TARGETS[name], options.seed)[options.start], options.keep / name)
        began = time.monotonic()
        reports.append(run(TARGETS[name], options.seed, options.start, options.count))
        print(f"{reports[-1]} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"\nseed {options.seed}\n\n{table(reports)}")
    return int(any(report.findings for report in reports))


sys.exit(main())
