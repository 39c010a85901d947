"""`crosspoint report`."""

from pathlib import Path

import click

from crosspoint.commands.common import PathArgument, json_option, verify_key_option, write_result
from crosspoint.core.console import say


@click.command("report")
@click.argument("run", type=PathArgument)
@click.option("--out", type=PathArgument, help="The page to write.  [default: report.html in RUN]")
@verify_key_option
@json_option
def report_command(run: Path, out: Path | None, json_file: Path | None) -> None:
    """Show all results in a folder on one self-contained HTML page.

    RUN is the folder of a training run, of the quickstart, or any with results written by --json.
    """
    from crosspoint.report.page import report

    result = report(run, out)
    write_result(json_file, "report", result.to_json())
    for missing in result.missing:
        say(f"not in it: {missing.what}; add it with: {missing.command}")
    for remark in result.remarks:
        say(f"left out: {remark}", err=True)
    say(f"{result.out}: {len(result.sections)} sections, {result.bytes / 1e6:.1f} MB")
