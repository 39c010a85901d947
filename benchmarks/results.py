"""What a benchmark measured: written as JSON with the machine and the versions, and compared with an earlier result."""

import argparse
import importlib.metadata
import json
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.core.files import write_json
from crosspoint.core.reading import read_json, reading
from crosspoint.core.system.processes import available_cpus, cpu_name

SCHEMA = "crosspoint.benchmark/1"
PACKAGES = ("numpy", "onnxruntime", "scikit-learn", "scipy", "torch")


@dataclass(frozen=True)
class Series:
    """One quantity, measured once in each round.

    Attributes:
        name: What was measured.
        unit: Of the values, e.g. `ms`. Less is better.
        values: By round.
        beside: Name of the series that was measured in turns with it. What the machine does meanwhile slows down both,
            so the ratio of the two is steadier than either.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    beside: str | None = None

    @property
    def median(self) -> float:
        """Over the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Result:
    """All series of a run, by name, with what they depend on."""

    benchmark: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    series: dict[str, Series]

    def relative(self, name: str) -> float | None:
        """Median over the rounds of a series, each divided by that of the series beside it."""
        of = self.series[name]
        if of.beside not in self.series:
            return None
        pairs = zip(of.values, self.series[of.beside].values, strict=False)
        return statistics.median(value / other for value, other in pairs)


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option `--json FILE`."""
    parser.add_argument("--json", type=Path, dest="json_file", metavar="FILE", help="write the measurements to this")


def write(
    benchmark: str, arguments: argparse.Namespace, series: Iterable[Series], rows: Sequence[dict[str, Any]] = ()
) -> None:
    """Write the result to the file that `--json` names, if it was given.

    Args:
        benchmark: Its name.
        arguments: Parsed options; all but `--json` are the settings.
        series: What was measured.
        rows: What else the benchmark's table says.
    """
    if arguments.json_file is None:
        return
    settings = {name: value for name, value in vars(arguments).items() if name != "json_file"}
    document = {
        "schema": SCHEMA,
        "benchmark": benchmark,
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()},
        "machine": {"processor": cpu_name(), "cores": available_cpus(), "system": platform.platform(terse=True)},
        "versions": _versions(),
        "series": [{**asdict(one), "median": one.median} for one in series],
        "rows": list(rows),
    }
    write_json(arguments.json_file, document)


def read(file: Path) -> Result:
    """The result in a file that `write` has written.

    Raises:
        InputError: It is none.
    """
    document = read_json(file, "a result of a benchmark")
    with reading(file, "a result of a benchmark"):
        if document["schema"] != SCHEMA:
            raise InputError(f"has the schema {document['schema']!r} and not {SCHEMA!r}; measure again with --json")
        series = [
            Series(one["name"], one["unit"], tuple(map(float, one["values"])), one["beside"])
            for one in document["series"]
        ]
        return Result(
            document["benchmark"],
            document["settings"],
            document["machine"],
            document["versions"],
            {one.name: one for one in series},
        )


def compare(old: Result, new: Result) -> list[str]:
    """Lines of a table: each series of both results, the ratio of the medians, and the ratio to the series beside it.

    Raises:
        InputError: They are of different benchmarks, or have no series in common.
    """
    if old.benchmark != new.benchmark:
        raise InputError(f"{old.benchmark} and {new.benchmark} cannot be compared; give two results of one benchmark")
    names = [name for name in old.series if name in new.series]
    if not names:
        raise InputError("the two results have nothing in common; measure both with the same options")
    lines = [
        "| measured | old | new | new / old | beside | old | new | new / old |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        before, after = old.series[name], new.series[name]
        cells = [
            name,
            f"{before.median:.4g} {before.unit}",
            f"{after.median:.4g}",
            f"{after.median / before.median:.3f}",
        ]
        first, second = old.relative(name), new.relative(name)
        if first is None or second is None:
            cells += [""] * 4
        else:
            cells += [before.beside or "", f"{first:.3f}", f"{second:.3f}", f"{second / first:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines + _differences(old, new)


def _differences(old: Result, new: Result) -> list[str]:
    """What the results depend on and do not share."""
    return [
        f"{what}: {_some(before, after)} → {_some(after, before)}"
        for what, before, after in (
            ("settings", old.settings, new.settings),
            ("machine", old.machine, new.machine),
            ("versions", old.versions, new.versions),
        )
        if before != after
    ]


def _some(one: dict[str, Any], other: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {json.dumps(one.get(key))}" for key in sorted({*one, *other}) if one.get(key) != other.get(key)
    )


def _versions() -> dict[str, str]:
    found = {"crosspoint": crosspoint.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
