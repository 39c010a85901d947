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


class Commands(click.Group):
    """A group that lists its commands in the order of the workflow instead of by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order they were added."""
        return list(self.commands)


def write_result(json_file: Path | None, kind: str, result: dict[str, Any]) -> None:
    """Write `result` to `json_file`, if one was asked for, under the schema name `crosspoint.<kind>/1`."""
    if json_file is not None:
        from crosspoint.core.files import write_json

        write_json(json_file, {"schema": f"crosspoint.{kind}/1", **result})
