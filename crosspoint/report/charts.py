"""Charts of the report as inline SVG in the page's own colours, and views of clouds as small pictures."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError, require
from crosspoint.core.pictures import read_picture
from crosspoint.report.html import Html, join, picture, tag

Floats = NDArray[np.float64]
Ticks = Sequence[tuple[float, str]]  # places on an axis and what stands there
WIDTH, HEIGHT = 440, 250  # of a line chart
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 22, 36  # its margins
COLOURS = 6  # of lines
MAP = (1000, 760)
MOST_POINTS = 300  # of a line


@dataclass(frozen=True)
class Plane:
    """Where values lie on a line chart: the ends of either axis."""

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, x: Floats | float) -> Floats | float:
        """Places `(n,)` from left to right."""
        return LEFT + (x - self.x[0]) / max(self.x[1] - self.x[0], 1e-12) * (WIDTH - LEFT - RIGHT)

    def up(self, y: Floats | float) -> Floats | float:
        """Places `(n,)` from the top."""
        return HEIGHT - BOTTOM - (y - self.y[0]) / max(self.y[1] - self.y[0], 1e-12) * (HEIGHT - TOP - BOTTOM)

    def frame(self, x_ticks: Ticks, y_ticks: Ticks, foot: str) -> list[Html]:
        """Lines across and labels at the ticks, and what the horizontal axis is."""
        grid = [_tick(LEFT, float(self.up(y)), WIDTH - RIGHT, label) for y, label in y_ticks]
        labels = [_text(float(self.across(x)), HEIGHT - 20, label, "axis", "middle") for x, label in x_ticks]
        return [*grid, *labels, _text(WIDTH - RIGHT, HEIGHT - 5, foot, "axis", "end")]


def line_chart(title: str, note: str, step: Floats, series: dict[str, Floats]) -> Html:
    """Lines over steps (n,), one for each named series (n,); many steps are averaged into fewer points."""
    lines = {name: _thin(step, values) for name, values in series.items()}
    low = min(float(y.min()) for _, y in lines.values())
    high = max(float(y.max()) for _, y in lines.values())
    ends = float(step.min()), float(step.max())
    y_ticks, x_ticks = _ticks(low, high), _ticks(*ends, whole=True)
    plane = Plane(ends, (min(low, y_ticks[0]), max(high, y_ticks[-1])))
    frame = plane.frame([(x, f"{x:g}") for x in x_ticks], [(y, _short(y)) for y in y_ticks], "step")
    curves = [
        tag("polyline", points=_path(plane.across(x), plane.up(y)), class_=f"s{number}")
        for number, (x, y) in enumerate(lines.values())
    ]
    names = _legend(list(lines)) if len(lines) > 1 else []
    return _chart(title, note, [*frame, *curves, *names])


@dataclass(frozen=True)
class Curve:
    """Shares of one over some of the places of a chart.

    Attributes:
        places: `(n,)`, numbers of the places.
        values: `(n,)`.
        low: `(n,)`, the lower ends of their intervals.
        high: `(n,)`, the upper ends.
        kind: The class of its colour, see `line_kind`.
    """

    places: Floats
    values: Floats
    low: Floats
    high: Floats
    kind: str


def share_chart(title: str, places: Sequence[str], curves: Sequence[Curve]) -> Html:
    """Curves with their intervals from 0 to 100 %, over evenly spaced places with these labels.

    Of curves that lie on each other each is seen: the first is the thickest.
    """
    plane = Plane((-0.25, len(places) - 0.75), (0.0, 1.0))
    ticks = [(share, f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    frame = plane.frame(list(enumerate(places)), ticks, "severity")
    bands = [tag("polygon", points=_band(plane, curve), class_=curve.kind) for curve in curves]
    above = [min(len(curves) - 1 - number, 3) for number in range(len(curves))]
    lines = [part for curve, count in zip(curves, above, strict=True) for part in _curve(plane, curve, count)]
    return _chart(title, "", [*frame, *bands, *lines])


def line_kind(number: int) -> str:
    """The class that colours the line of this number; of a second round of colours lines are dashed."""
    return f"s{number % COLOURS}" + (" dashed" if number >= COLOURS else "")


def _band(plane: Plane, curve: Curve) -> str:
    around = np.concatenate([curve.places, curve.places[::-1]])
    return _path(plane.across(around), plane.up(np.concatenate([curve.low, curve.high[::-1]])))


def _curve(plane: Plane, curve: Curve, above: int) -> list[Html]:
    """A line with its dots, thicker by the number of lines that may cover it."""
    line = tag(
        "polyline",
        points=_path(plane.across(curve.places), plane.up(curve.values)),
        class_=curve.kind,
        style=f"stroke-width:{1.8 + 1.6 * above:.1f}",
    )
    places = zip(curve.places, curve.values, strict=True)
    return [line, *(_dot(plane, x, y, 3 + above, curve.kind) for x, y in places)]


def _dot(plane: Plane, x: float, y: float, radius: int, kind: str) -> Html:
    return tag("circle", cx=f"{plane.across(x):.1f}", cy=f"{plane.up(y):.1f}", r=radius, class_=kind)


def _chart(title: str, note: str, content: Sequence[Html]) -> Html:
    drawing = tag("svg", *content, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title)
    return tag("figure", tag("figcaption", tag("b", title), tag("span", note, class_="quiet")), drawing)


def _thin(step: Floats, values: Floats) -> tuple[Floats, Floats]:
    """At most MOST_POINTS points, each the mean of neighbouring steps."""
    parts = min(len(step), MOST_POINTS)
    pairs = zip(np.array_split(step, parts), np.array_split(values, parts), strict=True)
    means = np.array([(x.mean(), y.mean()) for x, y in pairs])  # (parts, 2)
    return means[:, 0], means[:, 1]


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    ticker = require("matplotlib.ticker", "plots", "a chart of the report")
    if high <= low:
        low, high = low - 0.5, high + 0.5
    ticks = ticker.MaxNLocator(5, integer=whole).tick_values(low, high)
    inside = [float(tick) for tick in ticks if low <= tick <= high]
    return inside or [low, high]


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _tick(left: float, y: float, right: float, label: str) -> Html:
    line = tag("line", x1=f"{left:.1f}", y1=f"{y:.1f}", x2=f"{right:.1f}", y2=f"{y:.1f}", class_="grid")
    return join([line, _text(left - 6, y + 4, label, "axis", "end")])


def _text(x: float, y: float, content: str, kind: str, anchor: str) -> Html:
    return tag("text", content, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind, text_anchor=anchor)


def _path(x: Floats | float, y: Floats | float) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(np.atleast_1d(x), np.atleast_1d(y), strict=True))


def _legend(names: Sequence[str]) -> list[Html]:
    places = np.cumsum([LEFT, *(7.5 * len(name) + 20 for name in names)])
    return [_text(float(x), 12, name, f"s{i}", "start") for i, (x, name) in enumerate(zip(places, names, strict=False))]


def scatter(places: Floats, classes: Sequence[str], clouds: Sequence[NDArray[np.float32] | None]) -> Html:
    """Dots at `places` (n, 2), coloured and labelled by class; a dot knows its cloud (P, 3), which pointing shows."""
    spread = np.maximum(np.ptp(places, axis=0), 1e-12)
    at: Floats = 30 + (places - places.min(axis=0)) / spread * (np.array(MAP) - 60)  # (n, 2)
    names = sorted(set(classes))
    colours = {name: colour(i) for i, name in enumerate(names)}
    shown = [cloud for cloud in clouds if cloud is not None]
    points = len(shown[0]) if shown else 0
    numbers = iter(range(len(shown)))
    dots = []
    for (x, y), name, cloud in zip(at, classes, clouds, strict=True):
        known = {} if cloud is None else {"data_cloud": next(numbers)}
        dot = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 5, "fill": colours[name], "aria_label": name or "cloud"}
        dots.append(tag("circle", *([] if known or not name else [tag("title", name)]), **dot, **known))
    named = [name for name in names if name]
    middles = np.array([np.median(at[np.array(classes) == name], axis=0) for name in named]).reshape(-1, 2)
    above = middles - [0, 15]  # so that a name does not cover a small group
    spots = place_labels(above, [7.2 * len(name) + 6 for name in named], 17, MAP)
    labels = [_text(float(x), float(y) + 4, name, "", "middle") for (x, y), name in zip(spots, named, strict=True)]
    extra = {"data_clouds": _packed(shown), "data_points": points} if shown else {}
    box = f"0 0 {MAP[0]} {MAP[1]}"
    svg = tag("svg", *dots, *labels, viewBox=box, role="img", aria_label="t-SNE of the embeddings", **extra)
    return tag("div", svg, class_="wide map")


def colour(number: int) -> str:
    """The colour of a class: neighbours in number are far apart in hue, and all are legible on light and dark."""
    return f"hsl({number * 137.508 % 360:.0f} {(72, 50)[number % 2]}% {(46, 58, 52)[number % 3]}%)"


def place_labels(middles: Floats, widths: Sequence[float], height: float, box: tuple[int, int]) -> Floats:
    """Centres (n, 2) of labels near `middles` (n, 2) that were pushed apart until none overlaps, inside `box`."""
    at: Floats = middles.astype(np.float64)
    half = np.array([[width / 2, height / 2] for width in widths]).reshape(-1, 2)
    for _ in range(300):
        moved = False
        for i in range(len(at)):
            for j in range(i):
                gap = at[i] - at[j]
                overlap = half[i] + half[j] - np.abs(gap)
                if (overlap <= 0).any():
                    continue
                axis = int(overlap[1] <= overlap[0])
                push = (overlap[axis] / 2 + 0.5) * (1.0 if gap[axis] >= 0 else -1.0)
                at[i, axis], at[j, axis], moved = at[i, axis] + push, at[j, axis] - push, True
        at = np.clip(at, half, np.array(box) - half)
        if not moved:
            break
    return at


def _packed(clouds: Sequence[NDArray[np.float32]]) -> str:
    """Clouds (P, 3) within the unit ball as bytes in base64, one after the other."""
    stacked = np.clip(np.stack(clouds), -1, 1)
    return base64.b64encode(np.rint((stacked + 1) * 127.5).astype(np.uint8).tobytes()).decode()


def draw_cloud(points: NDArray[np.float32], size: int = 220) -> bytes:
    """A PNG, transparent around a normalised cloud (N, 3) seen from above at an angle; the nearer, the darker."""
    from PIL import Image, ImageDraw

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


def shrunk(path: Path, description: str, side: int = 1500) -> Html | None:
    """A drawn picture, at most `side` pixels wide and high, that scrolls within itself; None where it is none."""
    try:
        small = read_picture(path, "RGB")
    except InputError:
        return None
    small.thumbnail((side, side))
    drawn = picture(to_png(small.quantize(48)), description, class_="drawn", loading="lazy")
    return tag("div", drawn, class_="wide")


def to_png(image: object) -> bytes:
    """The bytes of a PIL image as a PNG."""
    from PIL import Image

    assert isinstance(image, Image.Image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
