"""Reads PNG and JPEG pictures. The format is found by content, so that no other decoder or program is started."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from crosspoint.core.content import read_once
from crosspoint.core.errors import require
from crosspoint.core.reading import check_announced, reading

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG")
PIXEL = 4  # bytes of a pixel


def read_picture(path: Path, mode: str) -> "Image.Image":
    """Read a picture completely and convert it to `mode`, e.g. `"RGB"`.

    Raises:
        InputError: It cannot be opened, is damaged, is neither PNG nor JPEG, or has far more pixels than bytes.
        MissingDependency: pillow is not installed.
    """
    require("PIL.Image", "render", purpose=f"reading {path.name}")
    from PIL import Image

    content = read_once(path).data  # in memory no chunk can be read that is longer than the file
    with reading(path, "a PNG or JPEG picture"), Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        check_announced(picture.width * picture.height * PIXEL, len(content))
        decoded: Image.Image = picture.convert(mode)
    return decoded
