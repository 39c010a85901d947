"""`crosspoint doctor`."""

from pathlib import Path

import click

from crosspoint.commands.common import json_option, write_result
from crosspoint.core.console import say
from crosspoint.core.errors import CheckFailed


@click.command("doctor")
@click.option("--self-test", is_flag=True, help="Train, export, build, execute and compare at toy size.")
@json_option
def doctor_command(self_test: bool, json_file: Path | None) -> None:
    """What this machine can train, export and run, and what to install for the rest.

    With --self-test all of it is run once, on whatever is here, and a JSON for a bug report is written (to --json FILE,
    else crosspoint-self-test.json); exit code 1 if a step failed.
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
        write_result(json_file, "doctor", result)
        return
    from crosspoint.doctor.self_test.self_test import self_test as run

    tested = run(result)
    print_self_test(tested)
    write_result(out, "self-test", tested)
    say(f"{out}: send this with a bug report; it names no host, user or path")
    failed = [step["name"] for step in tested["steps"] if step["status"] == "failed"]
    if failed:
        raise CheckFailed(f"the self-test failed at: {', '.join(failed)}")
