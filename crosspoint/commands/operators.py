"""`crosspoint operators`."""

from pathlib import Path

import click

from crosspoint.commands.common import Command, PathArgument, json_option, save_result, verify_key_option


@click.command("operators", cls=Command, example="crosspoint operators --onnx bundle --out fast")
@click.option(
    "--onnx",
    "model",
    required=True,
    type=PathArgument,
    metavar="BUNDLE",
    help="Bundle, .onnx file of crosspoint export, or name of a released model.",
)
@click.option("--out", required=True, type=PathArgument, help="Folder to write; an earlier result there is replaced.")
@verify_key_option
@json_option
def operators_command(model: Path, out: Path, json_file: Path | None) -> None:
    """Write a graph with CPU operators, for other programs.

    The package runs DGCNN on the CPU with operators of its own. This command writes the graph with these operators, and
    their library for this platform, so that C++, C#, Triton and other programs with ONNX Runtime run as fast. The
    outputs are compared with the standard graph; if they differ, nothing is written and the exit code is 1.
    """
    from crosspoint.runtime.operators import write_operators

    result = write_operators(model, out)
    save_result(json_file, result)
    nodes = ", ".join(f"{count} {name}" for name, count in result.operators.items())
    print(f"{out / result.graph}: {nodes}; relative L2 to the standard graph {result.relative_l2:.1e}")
    print(f"{out / result.library}: the operators; register it before the graph is opened")
