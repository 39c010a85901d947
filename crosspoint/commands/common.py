"""Shared by the commands: options, help texts with an example, and results as JSON."""

import contextlib
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from crosspoint.core.results import Result

Callback = Callable[..., None]
STDOUT = Path("/dev/stdout")  # also given as `-`
PathArgument = click.Path(path_type=Path)

# These values are repeated here because --help must not import heavy modules; a test compares them with their source.
BACKENDS = ("pytorch", "onnxruntime", "onnxruntime-tensorrt", "tensorrt")
RECIPES = ("clean", "official", "paper", "quick")


def _json_place(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Check the place of the JSON before the work; with `-`, all other output goes to standard error."""
    if value is None:
        return None
    if value not in (Path("-"), STDOUT):
        from crosspoint.core.outputs import check_file

        check_file(value, "--json", kind=".json")
        return value
    context.meta[str(STDOUT)] = sys.stdout
    context.with_resource(contextlib.redirect_stdout(sys.stderr))
    return STDOUT


json_option = click.option(
    "--json",
    "json_file",
    type=PathArgument,
    callback=_json_place,
    help="Write the result as JSON to this file. With -, it goes to standard output, and all else to standard error.",
)
device_option = click.option("--device", default="cpu", show_default=True, help="Device: cpu, cuda or cuda:INDEX.")
backend_option = click.option(
    "--backend", type=click.Choice(BACKENDS), help="Inference backend.  [default: chosen from the file type]"
)


def _cache_place(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    if value is not None:
        from crosspoint.core.outputs import check_folder

        check_folder(value, "--cache")
    return value


cache_option = click.option(
    "--cache",
    type=PathArgument,
    envvar="CROSSPOINT_CACHE",
    show_envvar=True,
    callback=_cache_place,
    help="Folder that keeps features, so that a second run does not compute them again.",
)
against_option = click.option(
    "--against", type=PathArgument, metavar="MODEL", help="Another model; the predictions of both are compared."
)

trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Open a .plan file without a manifest. It is executable code and runs with your permissions.",
)


def _set_verify_key(context: click.Context, parameter: click.Parameter, files: tuple[Path, ...]) -> None:
    """Set the public keys for this process and its children while the command runs."""
    if files and not context.resilient_parsing:
        from crosspoint.runtime.signing import verify_with

        context.with_resource(verify_with(files))


verify_key_option = click.option(
    "--verify-key",
    multiple=True,
    type=PathArgument,
    metavar="KEY.pub",
    expose_value=False,
    callback=_set_verify_key,
    help="Open only bundles signed with this public key; can be repeated.  [env var: CROSSPOINT_VERIFY_KEY]",
)
sign_option = click.option(
    "--sign", type=PathArgument, metavar="KEY", help="Sign the bundle with this private key, made by crosspoint keygen."
)


def run_on_options(*, trust: bool = False, cache: bool = False) -> Callable[[Callback], Callback]:
    """`--device`, `--backend` and `--verify-key`, which a command gets as one `run_on`.

    Args:
        trust: With `--trust` too.
        cache: With `--cache` too.
    """
    chosen = [device_option, backend_option, *([trust_option] if trust else []), verify_key_option]

    def decorate(command: Callback) -> Callback:
        @wraps(command)
        def call(
            *, device: str, backend: str | None, cache: Path | None = None, trust: bool = False, **others: Any
        ) -> None:
            from crosspoint.runtime.options import RunOn

            command(run_on=RunOn(device, backend, cache, trust), **others)

        for option in reversed([*chosen, *([cache_option] if cache else [])]):
            call = option(call)
        return call

    return decorate


class Command(click.Command):
    """A command whose help text ends with an example.

    Args:
        example: A complete command line.
    """

    def __init__(self, *arguments: Any, example: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example on a line of its own, without wrapping, so that it can be copied."""
        with formatter.section("Example"):
            formatter.write(f"  {self.example}\n")


class Commands(Command, click.Group):
    """A group that lists its commands in the order of the workflow instead of by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order in which they were added."""
        return list(self.commands)


def save_result(json_file: Path | None, result: "Result") -> None:
    """Write a result to `json_file`; do nothing if that is None."""
    if json_file is not None:
        _write(json_file, result.to_json())


def write_result(json_file: Path | None, kind: str, *, result: dict[str, object]) -> None:
    """Write `result` to `json_file` with the schema name `crosspoint.<kind>/1`; do nothing if the file is None."""
    if json_file is not None:
        _write(json_file, {"schema": f"crosspoint.{kind}/1", **result})


def _write(json_file: Path, content: dict[str, object]) -> None:
    from crosspoint.core.files import json_bytes, write_json
    from crosspoint.core.outputs import check_file

    if json_file == STDOUT:
        click.echo(json_bytes(content), file=click.get_current_context().meta[str(STDOUT)], nl=False)
        return
    check_file(json_file, "--json", kind=".json")  # again: the command may have just written something there
    write_json(json_file, content)
