"""`crosspoint doctor`."""

from pathlib import Path

import click

from crosspoint.commands.common import Command, json_option, save_result
from crosspoint.core.console import say
from crosspoint.core.errors import CheckFailed


@click.command("doctor", cls=Command, example="crosspoint doctor --self-test")
@click.option(
    "--self-test", is_flag=True, help="Run each step once on tiny models: train, export, build, run, compare."
)
@json_option
def doctor_command(self_test: bool, json_file: Path | None) -> None:
    """Show what this machine can do, and what to install.

    --self-test runs all of it once and writes a JSON file for bug reports (--json FILE, or crosspoint-self-test.json).
    The exit code is 1 if a step failed.
    """
    from crosspoint.commands.tables.doctor import print_doctor, print_self_test
    from crosspoint.core.outputs import check_file
    from crosspoint.doctor.doctor import doctor

    out = json_file or Path("crosspoint-self-test.json")
    if self_test and json_file is None:
        check_file(out, "the result")
    result = doctor()
    print_doctor(result)
    if not self_test:
        save_result(json_file, result=result)
        return
    from crosspoint.doctor.self_test.self_test import self_test as run

    tested = run(result)
    print_self_test(tested)
    save_result(out, tested)
    say(f"{out}: attach this file to a bug report; it contains no host name, user name or path")
    failed = [step.name for step in tested.steps if step.status == "failed"]
    if failed:
        raise CheckFailed(f"the self-test failed at: {', '.join(failed)}")
