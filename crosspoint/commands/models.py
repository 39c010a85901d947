"""`crosspoint models`."""

from pathlib import Path

import click

from crosspoint.commands.common import Command, json_option, save_result


@click.command("models", cls=Command, example="crosspoint models")
@json_option
def models_command(json_file: Path | None) -> None:
    """List the pretrained encoders that come with the package.

    Their names are taken wherever a command takes a model. Nothing is downloaded.
    """
    from crosspoint.core.console import print_table, say
    from crosspoint.runtime.installed import installed_models
    from crosspoint.runtime.released import FOLDER

    result = installed_models()
    save_result(json_file, result)
    rows = [
        (
            f"{model.name}@{model.version}" + " (default)" * model.default,
            model.architecture,
            model.dim,
            model.points,
            f"{model.least_points} or more",
            *(f"{model.files[suffix].bytes / 1e6:.2f} MB" for suffix in (".onnx", ".safetensors")),
        )
        for model in result.models
    ]
    columns = (
        "model",
        "network",
        "numbers per cloud",
        "points in training",
        "points it takes",
        ".onnx",
        ".safetensors",
    )
    print_table("Released models", columns, rows=rows)
    say(f"their files, licence and card are in {FOLDER}")
