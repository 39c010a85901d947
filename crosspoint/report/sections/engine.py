"""Section: the bundle, and whether its engine was executed or only built."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command, model_of
from crosspoint.report.read import Pieces


def engine(pieces: Pieces) -> Markup | Missing:
    """Values from the manifest."""
    manifest = pieces.manifest
    if manifest is None:
        return Missing("the exported model", command(pieces, "export", model_of(pieces), "--trt --out", Path("bundle")))
    shapes = {"inputs": manifest.inputs, "outputs": manifest.outputs}
    return render(
        "engine",
        manifest=manifest,
        batch=_range(manifest.profile.batch),
        points="fixed" if manifest.profile.points is None else _range(manifest.profile.points),
        shapes={
            way: ", ".join(f"{name}: {' × '.join(map(str, shape))}" for name, shape in own.items())
            for way, own in shapes.items()
        },
    )


def _range(values: Sequence[int]) -> str:
    low, usual, high = values
    return f"{low}" if low == high else f"{low} to {high}, usually {usual}"
