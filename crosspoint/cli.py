"""The command line: lists the commands in the order of the workflow, and turns errors into exit codes."""

import errno
import io
import os
import sys
import threading

import click

from crosspoint import __version__
from crosspoint.commands.bench import bench_command
from crosspoint.commands.build import build_command, operators_command
from crosspoint.commands.common import Commands
from crosspoint.commands.data import data
from crosspoint.commands.doctor import doctor_command
from crosspoint.commands.embed import embed_command
from crosspoint.commands.eval.evaluate import evaluate
from crosspoint.commands.eval.reproduce import reproduce_command
from crosspoint.commands.export import export_command
from crosspoint.commands.finetune import finetune
from crosspoint.commands.keygen import keygen
from crosspoint.commands.labels.fit import fit_command
from crosspoint.commands.labels.predict import predict_command
from crosspoint.commands.labels.segment import segment_command
from crosspoint.commands.library import duplicates_command, select_command
from crosspoint.commands.models import models_command
from crosspoint.commands.parity.diagnose import diagnose_command
from crosspoint.commands.parity.parity import parity_command
from crosspoint.commands.quickstart import quickstart
from crosspoint.commands.report import report_command
from crosspoint.commands.search import search_command
from crosspoint.commands.train import import_command, train
from crosspoint.core.console import verbosity
from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.core.printable import printable
from crosspoint.core.system.interrupt import Terminated, end_on_signals, ignore_signals
from crosspoint.core.system.openmp import share_cpus


@click.group(
    cls=Commands,
    example="crosspoint embed scan.ply",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, "-V", "--version", prog_name="crosspoint")
@click.option("-q", "--quiet", is_flag=True, help="Show results and errors only: no progress bars and no tables.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Also show each action with its file and duration, on standard error."
)
@click.pass_context
def crosspoint(context: click.Context, quiet: bool, verbose: bool) -> None:
    """Pretrain point-cloud encoders without labels, export them to TensorRT, and check that the export is right.

    Exit codes: 0 done, 1 a check failed, 2 wrong input, 130 interrupted by Ctrl+C, 143 ended by SIGTERM.
    """
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other; give one of them.")
    context.with_resource(verbosity(quiet, verbose))


for command in (
    quickstart,
    data,
    train,
    finetune,
    import_command,
    export_command,
    build_command,
    operators_command,
    keygen,
    models_command,
    embed_command,
    bench_command,
    search_command,
    duplicates_command,
    select_command,
    fit_command,
    predict_command,
    segment_command,
    evaluate,
    parity_command,
    reproduce_command,
    diagnose_command,
    report_command,
    doctor_command,
):
    crosspoint.add_command(command)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _of_thread(trouble: threading.ExceptHookArgs) -> None:
    """Report an exception that ended a thread. A full disk is not: TensorBoard's writer raises it again."""
    if not (isinstance(trouble.exc_value, OSError) and trouble.exc_value.errno in FULL):
        threading.__excepthook__(trouble)


def main() -> None:
    """Run the command line. A user's mistake ends in one line and exit code 1 or 2; a bug keeps its traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that is not UTF-8 must not end a command
    share_cpus()
    try:
        end_on_signals()
        threading.excepthook = _of_thread
        code = _run()
    except Terminated as ended:
        click.echo("crosspoint: terminated", err=True)
        code = 128 + ended.number
    ignore_signals()
    sys.exit(code)


def _run() -> int:
    """Run the command and return its exit code."""
    try:
        code = crosspoint.main(prog_name="crosspoint", standalone_mode=False)
    except CrosspointError as error:
        click.echo(f"crosspoint: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        if isinstance(
            error, getattr(click.exceptions, "NoArgsIsHelpError", ())
        ):  # a group without a command, click 8.2
            error.show()
        else:
            click.echo(f"crosspoint: {_line(error)}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("crosspoint: interrupted", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, or a path that no command checked, e.g. one that is too long
        if error.errno not in FULL and error.filename is None:
            raise
        path = "a file" if error.filename is None else printable(os.fsdecode(error.filename))
        advice = "free space, then try again" if error.errno in FULL else "check the path and its permissions"
        click.echo(f"crosspoint: {path}: {error.strerror}; {advice}", err=True)
        return InputError.exit_code
    return code if isinstance(code, int) else 0


def _line(error: click.ClickException) -> str:
    """The error of an option or argument in one line, with the help to read."""
    message = printable(" ".join(error.format_message().split()))
    context = error.ctx if isinstance(error, click.UsageError) else None
    return message if context is None else f"{message} See {context.command_path} --help."


if __name__ == "__main__":
    main()
