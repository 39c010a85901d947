"""What commands show: results on standard output, progress on standard error; less with `--quiet`, more with `-v`."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import TypeVar

import click

from crosspoint.core.printable import printable

T = TypeVar("T")

log = logging.getLogger("crosspoint")
"""Logger of actions with file and seconds, level INFO: shown with `--verbose`, or by a program that sets up logging."""

_quiet = False
_said: set[str] = set()  # by `announce_once`


@contextmanager
def verbosity(quiet: bool = False, verbose: bool = False) -> Iterator[None]:
    """Within the block, hide progress and tables (`quiet`), or also show what `timed` and `track` log (`verbose`)."""
    global _quiet
    before, level, handler = _quiet, log.level, logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("crosspoint: %(message)s"))
    _quiet = quiet
    _said.clear()
    if verbose:
        log.addHandler(handler)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _quiet = before
        log.removeHandler(handler)
        log.setLevel(level)


def is_quiet() -> bool:
    """Whether progress and tables are hidden."""
    return _quiet


@contextmanager
def timed(action: str) -> Iterator[None]:
    """Log an action and its duration in seconds when the block ends, e.g. `timed("open dgcnn.onnx")`."""
    start = time.perf_counter()
    yield
    log.info("%s: %.2f s", printable(action), time.perf_counter() - start)


def say(line: str, err: bool = False) -> None:
    """Print one line on standard output or standard error; control characters in it are escaped."""
    click.echo(printable(line), err=err)


def announce(line: str) -> None:
    """Print one line of progress on standard error, unless `--quiet` is set."""
    if not _quiet:
        say(line, err=True)


def announce_once(line: str) -> None:
    """As `announce`, but a line that was shown before in this command, or in a program without commands, is not."""
    if line not in _said:
        _said.add(line)
        announce(line)


def track(items: Iterable[T], description: str, *, total: int | None = None) -> Iterator[T]:
    """Yield `items` with a progress bar on standard error, if that is a terminal and there is more than one item."""
    start, done = time.perf_counter(), 0
    count = len(items) if total is None and isinstance(items, Sized) else total
    try:
        for item in items if _quiet or count == 1 or not sys.stderr.isatty() else _with_bar(items, description, count):
            done += 1
            yield item
    finally:
        log.info("%s, %d steps: %.2f s", printable(description), done, time.perf_counter() - start)


def _with_bar(items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, description=escape(printable(description)), total=total)


def print_table(title: str, columns: Sequence[str], *, rows: Iterable[Sequence[object]]) -> None:
    """Print a table on standard output, unless `--quiet` is set. Text in a cell is shown as it is, on one line."""
    if _quiet:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title)), title_justify="left")
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)
