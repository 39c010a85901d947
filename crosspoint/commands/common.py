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
    from crosspoint.data.frames import Up
    from crosspoint.data.objects.find import ObjectOptions

Callback = Callable[..., None]
STDOUT = Path("/dev/stdout")  # also given as `-`
PathArgument = click.Path(path_type=Path)

# These values are repeated here because --help must not import heavy modules; a test compares them with their source.
BACKENDS = ("pytorch", "onnxruntime", "onnxruntime-tensorrt", "tensorrt")
UPS = ("x", "y", "z", "-x", "-y", "-z")
RECIPES = ("clean", "official", "paper", "quick")
SET_UP, FILES_UP = "y, as published", "what the format says, else y"


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


def up_option(what: str, default: str) -> Callable[[Callback], Callback]:
    """`--up`: which axis points up in what a command reads, e.g. "the inputs", and what is taken without it."""
    return click.option(
        "--up",
        type=click.Choice(UPS),
        help=f"Axis that points up in {what}; they are turned to y-up.  [default: {default}]",
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

columns_option = click.option(
    "--columns",
    metavar="COLUMNS",
    help="Columns of x, y and z in text, by name or number: x,y,z or 2,3,4. Of .bin files, how many there are: 5.",
)
include_option = click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Read only files of a folder that match, e.g. '*.ply'; repeatable.",
)
exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Pass over files of a folder that match, e.g. 'maps/*'; repeatable.",
)
readers_option = click.option(
    "--readers", default=0, show_default=True, help="Processes that read files; 0 reads in threads."
)


def reading_options(*, readers: bool = False) -> Callable[[Callback], Callback]:
    """`--columns`, `--include` and `--exclude`, which a command gets as one `reading`.

    Args:
        readers: With `--readers` too.
    """
    chosen = [columns_option, include_option, exclude_option, *([readers_option] if readers else [])]

    def decorate(command: Callback) -> Callback:
        @wraps(command)
        def call(
            *, columns: str | None, include: tuple[str, ...], exclude: tuple[str, ...], readers: int = 0, **others: Any
        ) -> None:
            from crosspoint.data.reading import Reading

            command(reading=Reading(columns, include, exclude, readers), **others)

        for option in reversed(chosen):
            call = option(call)
        return call

    return decorate


def sampling_options(what: str, up: str, *, points: str, draws: int | None = None) -> Callable[[Callback], Callback]:
    """`--points`, `--seed`, `--up` and `--draws`, which a command gets as one `sampling`.

    Args:
        what: What is read, e.g. "the inputs".
        up: The axis without `--up`.
        points: The help text of `--points`.
        draws: The default of `--draws`; None: the command draws once.
    """
    chosen: list[Callable[[Callback], Callback]] = [
        click.option("--points", type=int, help=points),
        click.option("--seed", default=0, show_default=True, help="Random seed of the points and of all other draws."),
        up_option(what, up),
    ]
    if draws is not None:
        text = "Draws of points from each cloud; their embeddings are averaged."
        chosen.append(click.option("--draws", default=draws, show_default=True, help=text))

    def decorate(command: Callback) -> Callback:
        @wraps(command)
        def call(*, points: int | None, seed: int, up: "Up | None", draws: int = 1, **others: Any) -> None:
            from crosspoint.runtime.options import Sampling

            command(sampling=Sampling(points, seed, up=up, draws=draws), **others)

        decorated: Callback = call
        for option in reversed(chosen):
            decorated = option(decorated)
        return decorated

    return decorate


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


OBJECT_OPTIONS = (
    click.option("--ground/--no-ground", default=None, help="Remove the ground, or keep it.  [default: remove]"),
    click.option("--walls/--no-walls", default=None, help="Remove walls and ceilings, or keep them.  [default: keep]"),
    click.option(
        "--ground-distance",
        type=float,
        help="Points up to this height above the ground are ground, in metres.  [default: 0.2]",
    ),
    click.option("--cluster-distance", type=float, help="Points closer than this join, in metres.  [default: 0.6]"),
    click.option("--least-points", type=int, help="Leave out objects with fewer points.  [default: 30]"),
    click.option("--largest-extent", type=float, help="Leave out objects longer than this, in metres.  [default: 12]"),
    click.option("--voxel", type=float, help="Voxel size, in metres.  [default: a quarter of --cluster-distance]"),
)


def object_options(function: Any) -> Any:
    """Add the options of how objects are found; one that is not given is None."""
    for option in reversed(OBJECT_OPTIONS):
        function = option(function)
    return function


def parse_object_options(**given: Any) -> "ObjectOptions":
    """Make `ObjectOptions` of the options that were given."""
    from crosspoint.data.objects.find import ObjectOptions

    return ObjectOptions(**{name: value for name, value in given.items() if value is not None})
