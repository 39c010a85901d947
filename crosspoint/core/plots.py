"""Checks for matplotlib, which is optional on an edge device, and finds its font."""

from pathlib import Path
from typing import TYPE_CHECKING

from crosspoint.core.errors import require

if TYPE_CHECKING:
    from PIL import ImageFont


def require_plots() -> None:
    """Require matplotlib. Call it before the work whose result will be drawn.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    require("matplotlib", "plots", purpose="drawing a picture")


def label_font(size: int) -> "ImageFont.FreeTypeFont":
    """DejaVu Sans, the font of matplotlib's charts, `size` pixels high.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    from PIL import ImageFont

    matplotlib = require("matplotlib", "plots", purpose="drawing a picture")
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
