"""Draws a query and its nearest neighbours side by side."""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import CrosspointError
from crosspoint.core.files import atomic_file
from crosspoint.core.plots import label_font
from crosspoint.data.frames import Up, to_y_up
from crosspoint.data.io.files import is_mesh
from crosspoint.data.io.meshes import read_mesh
from crosspoint.data.points import Coordinates, normalise
from crosspoint.data.rendering.raycast import camera, picture, solid
from crosspoint.runtime.jobs.originals import Originals

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

TILE, GAP, LINE = 220, 12, 18  # pixels
COLUMNS = 6  # the query and five neighbours in a row
SHOWN = 4096  # points that are drawn per mesh or cloud
AXES = camera(np.deg2rad(35.0), np.deg2rad(22.0))
NEAR, FAR = np.array([24, 66, 110]), np.array([176, 204, 228])  # colours of points
PAPER, INK, QUIET, MARK = (255, 255, 255), (40, 40, 40), (120, 120, 120), (214, 96, 30)


def draw(
    file: Path,
    query: str,
    *,
    results: Sequence[tuple[str, float]],
    originals: Originals,
    metric: str,
    up: Up | None,
) -> None:
    """Draw meshes as surfaces if `embreex` is installed, else as points. The tile of a missing file stays empty.

    Args:
        file: Output file.
        query: A file, or a name.
        results: Names and distances, from near to far.
        originals: Finds the files of the names.
        metric: Metric, shown with each distance.
        up: Axis that points up in the query; None: as its format states, else as was assumed of the inputs.

    Raises:
        InputError: `file` cannot be written.
    """
    from PIL import Image, ImageDraw

    tiles = [(query, "query"), *((name, f"{metric} distance {far:.4f}") for name, far in results)]
    paths = [Path(query) if Path(query).is_file() else originals.path(query)]
    paths += [originals.path(name) for name, _ in results]
    columns, rows = min(len(tiles), COLUMNS), -(-len(tiles) // COLUMNS)
    step = TILE + GAP, TILE + 2 * LINE + GAP
    sheet = Image.new("RGB", (columns * step[0] + GAP, rows * step[1] + GAP), PAPER)
    canvas = ImageDraw.Draw(sheet)
    for i, ((name, note), path) in enumerate(zip(tiles, paths, strict=True)):
        x, y = GAP + i % COLUMNS * step[0], GAP + i // COLUMNS * step[1]
        if (tile := draw_tile(name, path, originals=originals, up=originals.up if i else up)) is not None:
            sheet.paste(tile, (x, y), tile)
        else:
            _text(canvas, "not found", x, y + TILE // 2, QUIET)
        _text(canvas, name, x, y + TILE, INK)
        _text(canvas, note, x, y + TILE + LINE, QUIET if i else MARK)
    canvas.rectangle((GAP // 2, GAP // 2, GAP // 2 + step[0], GAP // 2 + step[1] - 1), outline=MARK, width=2)
    with atomic_file(file) as temporary:
        sheet.save(temporary)


def draw_tile(name: str, path: Path | None, *, originals: Originals, up: Up | None) -> "Image.Image | None":
    """Draw an object, `TILE` pixels wide: a mesh as a surface if `embreex` is installed, else as points.

    Args:
        name: Name in the embeddings.
        path: Its file, if it has its own.
        originals: Finds it otherwise.
        up: Axis that points up in the file; None: as its format states, else as was assumed of the inputs.

    Returns:
        The picture; None if the object is not found or cannot be read.
    """
    from PIL import Image

    try:
        if path is not None and is_mesh(path) and importlib.util.find_spec("embreex") is not None:
            mesh = read_mesh(path)
            vertices = to_y_up(np.asarray(mesh.vertices), (up or originals.up_of(path)))
            return Image.fromarray(np.asarray(picture(solid(vertices, mesh.faces), AXES, size=TILE)))
        if path is not None:
            read = replace(originals, up=up or originals.up_of(path))
            points: Coordinates | None = read.points(path, SHOWN)[0]
        elif (points := originals.cloud(name)) is not None:
            points = points[:: max(1, len(points) // SHOWN)]
    except CrosspointError:
        return None
    return None if points is None or not len(points) else _dots(points)


def _dots(points: Coordinates) -> "Image.Image":
    """Draw a cloud `(N, 3)` as discs in parallel projection; near ones are darker and cover far ones."""
    from PIL import Image, ImageDraw

    size = 2 * TILE  # drawn at twice the size for smooth edges
    seen = normalise(points) @ AXES.T  # (N, 3): right, up, towards the viewer
    low, high = seen.min(0), seen.max(0)
    place = (seen - (low + high) / 2) / max(float((high - low)[:2].max()), 1e-9) * 0.88 * size * [1, -1, 1] + size / 2
    depth = (seen[:, 2] - low[2]) / max(float(high[2] - low[2]), 1e-9)
    colours: NDArray[np.int64] = np.rint(FAR + depth[:, None] * (NEAR - FAR)).astype(int)
    image = Image.new("RGBA", (size, size))
    canvas = ImageDraw.Draw(image)
    radius = max(2.0, 0.35 * size / np.sqrt(len(points)) ** 1.1)
    for i in np.argsort(depth):
        x, y = place[i, :2]
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colours[i].tolist(), 255))
    return image.resize((TILE, TILE), Image.Resampling.LANCZOS)


def _text(canvas: "ImageDraw.ImageDraw", text: str, x: int, y: int, colour: tuple[int, int, int]) -> None:
    """Write text centred under a tile. A long text loses its beginning: the end of a name tells most."""
    font = label_font(13)
    text = "".join(letter if letter.isprintable() else "?" for letter in text[-TILE:])
    while canvas.textlength(text, font) > TILE:
        text = "…" + text.removeprefix("…")[1:]
    canvas.text((x + TILE / 2, y), text, colour, font, anchor="ma")
