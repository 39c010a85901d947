"""Draws a picture with a few objects of every category and their names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.files import atomic_file
from crosspoint.core.plots import label_font
from crosspoint.data.rendering.raycast import camera, picture, solid
from crosspoint.data.shapes import Shape

TILE = 80  # width and height of an object, in pixels
GAP = 6
CAPTION = 18
BLOCKS = 3  # categories per row
AZIMUTH, ELEVATION = np.deg2rad(35.0), np.deg2rad(22.0)
BACKGROUND, INK = (255, 255, 255), (60, 60, 60)


def contact_sheet(objects: Mapping[str, Sequence[Shape]], file: Path) -> None:
    """Draw objects in rows with the names of their categories, and write a PNG.

    Args:
        objects: The shapes of each category; every category has the same number.
        file: The PNG to write.

    Raises:
        InputError: `file` cannot be written.
        MissingDependency: `embreex` or `matplotlib` is not installed.
    """
    from PIL import Image, ImageDraw

    each = max(len(shapes) for shapes in objects.values())
    block = (each * TILE + 3 * GAP, TILE + CAPTION + GAP)
    rows = -(-len(objects) // BLOCKS)
    sheet = Image.new("RGB", (BLOCKS * block[0] + GAP, rows * block[1] + GAP), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), label_font(12)
    for index, (name, shapes) in enumerate(objects.items()):
        x, y = 2 * GAP + index % BLOCKS * block[0], GAP + index // BLOCKS * block[1]
        for place, shape in enumerate(shapes):
            tile = Image.fromarray(_tile(shape))
            sheet.paste(tile, (x + place * TILE, y), tile)
        draw.text((x + len(shapes) * TILE / 2, y + TILE), name.replace("_", " "), INK, font, anchor="ma")
    with atomic_file(file) as temporary:
        sheet.quantize(64, dither=Image.Dither.NONE).save(temporary, optimize=True)


def _tile(shape: Shape) -> NDArray[np.uint8]:
    """The object from its front right, slightly from above: (TILE, TILE, 4) uint8."""
    return np.asarray(picture(solid(shape.vertices, shape.faces), camera(AZIMUTH, ELEVATION), size=TILE))
