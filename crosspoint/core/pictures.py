"""Pictures: PNG or JPEG by their content, whatever their name, so that no other program is started to read one."""

from pathlib import Path
from typing import TYPE_CHECKING

from crosspoint.core.reading import check_announced, reading, regular

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG")
PIXEL = 4  # bytes


def read_picture(path: Path, mode: str) -> "Image.Image":
    """A picture decoded to its end, in `mode`, e.g. `"RGB"`.

    Raises:
        InputError: It cannot be opened, is damaged, neither PNG nor JPEG, or has far more pixels than bytes.
    """
    from PIL import Image

    size = regular(path).st_size
    with reading(path, "a PNG or JPEG picture"), Image.open(path, formats=FORMATS) as picture:
        check_announced(picture.width * picture.height * PIXEL, size)
        decoded: Image.Image = picture.convert(mode)
    return decoded
