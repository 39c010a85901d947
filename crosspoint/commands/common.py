"""What commands share: option declarations, the group class, and the machine-readable result."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from crosspoint.core.results import Result

STDOUT = Path("/dev/stdout")  # also given as `-`
PathArgument = click.Path(path_type=Path)


def _json_place(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a place for the result before the work; standard output then belongs to the result alone."""
    if value is None:
        return None
    if value not in (Path("-"), STDOUT):
        from crosspoint.core.outputs import check_file

        check_file(value, "--json", ".json")
        return value
    context.meta[str(STDOUT)] = sys.stdout
    context.with_resource(contextlib.redirect_stdout(sys.stderr))
    return STDOUT


json_option = click.option(
    "--json",
    "json_file",
    type=PathArgument,
    callback=_json_place,
    help="Write a machine-readable result here; - for standard output, and all else goes to standard error.",
)
device_option = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:<index>.")
backend_option = click.option("--backend", help="What runs the model.  [default: what its file is for]")


def _cache_place(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        from crosspoint.core.outputs import check_folder

        check_folder(value, "--cache")
    return value


cache_option = click.option(
    "--cache",
    type=PathArgument,
    envvar="CROSSPOINT_CACHE",
    callback=_cache_place,
    help="Keep features here and find them again.",
)
against_option = click.option("--against", type=PathArgument, help="Another model, to compare the predictions with.")

trust_option = click.option(
    "--trust", is_flag=True, help="Open a .plan without a manifest: it is code, and runs as you."
)


def _set_verify_key(context: click.Context, parameter: click.Parameter, files: tuple[Path, ...]) -> None:
    """Make the keys those of this process and of what it starts, while the command runs."""
    if files and not context.resilient_parsing:
        from crosspoint.runtime.signing import verify_with

        context.with_resource(verify_with(files))


verify_key_option = click.option(
    "--verify-key",
    multiple=True,
    type=PathArgument,
    expose_value=False,
    callback=_set_verify_key,
    help="Open only bundles signed with this public key; may be repeated.  [env var: CROSSPOINT_VERIFY_KEY]",
)
sign_option = click.option(
    "--sign", type=PathArgument, metavar="KEY", help="Sign the bundle with this private key of crosspoint keygen."
)


class Commands(click.Group):
    """A group that lists its commands in the order of the workflow instead of by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order they were added."""
        return list(self.commands)


def save_result(json_file: Path | None, result: "Result") -> None:
    """Write a result to `json_file`, if one was asked for."""
    if json_file is not None:
        _write(json_file, result.to_json())


def write_result(json_file: Path | None, kind: str, result: dict[str, Any]) -> None:
    """Write `result` to `json_file`, if one was asked for, under the schema name `crosspoint.<kind>/1`."""
    if json_file is not None:
        _write(json_file, {"schema": f"crosspoint.{kind}/1", **result})


def _write(json_file: Path, content: dict[str, object]) -> None:
    from crosspoint.core.files import json_bytes, write_json
    from crosspoint.core.outputs import check_file

    if json_file == STDOUT:
        click.echo(json_bytes(content), file=click.get_current_context().meta[str(STDOUT)], nl=False)
        return
    check_file(json_file, "--json", ".json")  # again, for it may be where the command has just written something else
    write_json(json_file, content)
