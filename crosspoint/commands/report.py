"""`crosspoint report`."""

from pathlib import Path

import click

from crosspoint.commands.common import Command, PathArgument, json_option, save_result, verify_key_option
from crosspoint.core.console import say


@click.command("report", cls=Command, example="crosspoint report run --out report.html")
@click.argument("run", type=PathArgument)
@click.option("--out", type=PathArgument, help="HTML file to write.  [default: report.html in RUN]")
@verify_key_option
@json_option
def report_command(run: Path, out: Path | None, json_file: Path | None) -> None:
    """Write all results of a folder to one HTML page.

    The page needs no other file. RUN is the folder of a training run or of the quickstart, or any folder of results
    that --json wrote.
    """
    from crosspoint.report.page import report

    result = report(run, out)
    save_result(json_file, result)
    for missing in result.missing:
        say(f"not in it: {missing.what}; add it with: {missing.command}")
    for remark in result.remarks:
        say(f"left out: {remark}", err=True)
    say(f"{result.out}: {len(result.sections)} sections, {result.bytes / 1e6:.1f} MB")
