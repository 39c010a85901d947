"""What commands share: option declarations, the group class, and the machine-readable result."""

from pathlib import Path
from typing import Any

import click

PathArgument = click.Path(path_type=Path)
json_option = click.option("--json", "json_file", type=PathArgument, help="Write a machine-readable result here.")
device_option = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:<index>.")
backend_option = click.option("--backend", help="What runs the model.  [default: what its file is for]")
cache_option = click.option(
    "--cache", type=PathArgument, envvar="CROSSPOINT_CACHE", help="Keep features here and find them again."
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


def write_result(json_file: Path | None, kind: str, result: dict[str, Any]) -> None:
    """Write `result` to `json_file`, if one was asked for, under the schema name `crosspoint.<kind>/1`."""
    if json_file is not None:
        from crosspoint.artefacts import write_json

        write_json(json_file, {"schema": f"crosspoint.{kind}/1", **result})
