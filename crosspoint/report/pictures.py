"""Small pictures: clouds seen from above, and drawn figures scaled to the page."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from crosspoint.core.errors import InputError
from crosspoint.core.pictures import read_picture
from crosspoint.report.html import data_uri


def draw_cloud(points: NDArray[np.float32], size: int = 220) -> bytes:
    """A transparent PNG of a normalised cloud (N, 3), seen from above at an angle; near points are darker."""
    turn, tilt = np.radians(35), np.radians(25)
    x, y, z = points.T.astype(np.float64)
    right, near = np.cos(turn) * x - np.sin(turn) * z, np.sin(turn) * x + np.cos(turn) * z
    up, near = np.cos(tilt) * y - np.sin(tilt) * near, np.sin(tilt) * y + np.cos(tilt) * near
    canvas = Image.new("RGBA", (2 * size, 2 * size), (255, 255, 255, 0))
    pen = ImageDraw.Draw(canvas)
    radius = size * float(np.clip(0.4 / np.sqrt(len(points)), 0.010, 0.03))
    for i in np.argsort(near):
        a, b = size * (1 + 0.93 * right[i]), size * (1 - 0.93 * up[i])
        shade = 0.5 - 0.5 * float(np.clip(near[i], -1, 1))  # 0 nearest, 1 farthest
        fill = (int(25 + 150 * shade), int(75 + 115 * shade), int(140 + 85 * shade), 255)
        pen.ellipse((a - radius, b - radius, a + radius, b + radius), fill=fill)
    return to_png(canvas.resize((size, size), Image.Resampling.LANCZOS))


def shrunk(path: Path, side: int = 1500) -> str | None:
    """The data URI of a picture, at most `side` pixels wide and high; None if the file is missing."""
    try:
        small = read_picture(path, "RGB")
    except InputError:
        return None
    small.thumbnail((side, side))
    return data_uri(to_png(small.quantize(48)))


def to_png(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
