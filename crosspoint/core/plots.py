"""What drawing needs: matplotlib, which an edge device can do without, and its font."""

from pathlib import Path
from typing import TYPE_CHECKING

from crosspoint.core.errors import require

if TYPE_CHECKING:
    from PIL import ImageFont


def require_plots() -> None:
    """Call it before the work whose result is to be drawn, so that nothing is computed in vain.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    require("matplotlib", "plots", purpose="drawing a picture")


def label_font(size: int) -> "ImageFont.FreeTypeFont":
    """The font of matplotlib's charts, DejaVu Sans, `size` pixels high.

    Raises:
        MissingDependency: matplotlib is not installed.
    """
    from PIL import ImageFont

    matplotlib = require("matplotlib", "plots", purpose="drawing a picture")
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
