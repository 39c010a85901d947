"""Line charts as inline SVG in the page's own colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from crosspoint.report.html import render

Floats = NDArray[np.float64]
WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 22, 36  # margins
COLOURS = 6  # number of line colours
MOST_POINTS = 300  # most points of a line


@dataclass(frozen=True)
class Plane:
    """The range of both axes of a chart; converts values to positions in it."""

    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, x: Floats | float) -> Floats | float:
        """Horizontal positions of values, `(n,)`."""
        return LEFT + (x - self.x[0]) / max(self.x[1] - self.x[0], 1e-12) * (WIDTH - LEFT - RIGHT)

    def up(self, y: Floats | float) -> Floats | float:
        """Vertical positions of values, `(n,)`, from the top."""
        return HEIGHT - BOTTOM - (y - self.y[0]) / max(self.y[1] - self.y[0], 1e-12) * (HEIGHT - TOP - BOTTOM)

    def path(self, x: Floats, y: Floats) -> str:
        """A line through points `(n,)`, `(n,)` as an SVG path."""
        pairs = zip(np.atleast_1d(self.across(x)), np.atleast_1d(self.up(y)), strict=True)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)


@dataclass(frozen=True)
class Line:
    """A line of a chart: points, optional band, dots `(x, y)` with a radius, and style."""

    points: str
    kind: str
    width: float = 1.8
    band: str = ""
    dots: tuple[tuple[float, float], ...] = ()
    radius: int = 3


def line_chart(title: str, note: str, *, step: Floats, series: dict[str, Floats]) -> Markup:
    """A chart of named series (n,) over steps (n,); long series are averaged into fewer points."""
    thinned = [_thin(step, values) for values in series.values()]
    low, high = min(float(y.min()) for _, y in thinned), max(float(y.max()) for _, y in thinned)
    ends = float(step.min()), float(step.max())
    rows = ticks(low, high)
    plane = Plane(ends, (min(low, rows[0]), max(high, rows[-1])))
    lines = [Line(plane.path(x, y), f"s{number}") for number, (x, y) in enumerate(thinned)]
    at = np.cumsum([LEFT, *(7.5 * len(name) + 20 for name in series)])
    legend = list(zip(at, series, strict=False)) if len(series) > 1 else []
    columns = [(x, f"{x:g}") for x in ticks(*ends, whole=True)]
    return _chart(plane, title, note, columns, [(y, _short(y)) for y in rows], "step", lines, legend)


@dataclass(frozen=True)
class Curve:
    """Shares from 0 to 1 at some of the places of a chart.

    Attributes:
        places: `(n,)`, indices of the places.
        values: `(n,)`.
        low: `(n,)`, lower ends of the intervals.
        high: `(n,)`, upper ends of the intervals.
        kind: CSS class of its colour, see `line_kind`.
    """

    places: Floats
    values: Floats
    low: Floats
    high: Floats
    kind: str


def share_chart(title: str, places: Sequence[str], *, curves: Sequence[Curve]) -> Markup:
    """A chart of curves with intervals, from 0 to 100 %, over evenly spaced places with these labels.

    Curves that cover each other are all visible: the first is drawn thickest.
    """
    plane = Plane((-0.25, len(places) - 0.75), (0.0, 1.0))
    lines = [_line(plane, curve, min(len(curves) - 1 - number, 3)) for number, curve in enumerate(curves)]
    rows = [(share, f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return _chart(plane, title, "", list(enumerate(places)), rows, "severity", lines, [])


def line_kind(number: int) -> str:
    """CSS class of the line with this number; after `COLOURS` lines the colours repeat as dashed lines."""
    return f"s{number % COLOURS}" + (" dashed" if number >= COLOURS else "")


def _line(plane: Plane, curve: Curve, above: int) -> Line:
    """A curve as a line; the more lines may cover it, the thicker it is."""
    around, ends = np.concatenate([curve.places, curve.places[::-1]]), np.concatenate([curve.low, curve.high[::-1]])
    dots = zip(np.atleast_1d(plane.across(curve.places)), np.atleast_1d(plane.up(curve.values)), strict=True)
    return Line(
        plane.path(curve.places, curve.values),
        curve.kind,
        width=1.8 + 1.6 * above,
        band=plane.path(around, ends),
        dots=tuple(dots),
        radius=3 + above,
    )


def _chart(
    plane: Plane,
    title: str,
    note: str,
    columns: Sequence[tuple[float, str]],
    rows: Sequence[tuple[float, str]],
    foot: str,
    lines: Sequence[Line],
    legend: Sequence[tuple[float, str]],
) -> Markup:
    return render(
        "chart",
        title=title,
        note=note,
        columns=[(plane.across(x), label) for x, label in columns],
        rows=[(plane.up(y), label) for y, label in rows],
        foot=foot,
        lines=lines,
        legend=legend,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
    )


def _thin(step: Floats, values: Floats) -> tuple[Floats, Floats]:
    """At most MOST_POINTS points, each the mean of several steps."""
    parts = min(len(step), MOST_POINTS)
    pairs = zip(np.array_split(step, parts), np.array_split(values, parts), strict=True)
    means = np.array([(x.mean(), y.mean()) for x, y in pairs])  # (parts, 2)
    return means[:, 0], means[:, 1]


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Three to six round numbers from `low` to `high`, in steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    apart = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    apart = max(apart, 1.0) if whole else apart
    inside = [number * apart for number in range(math.ceil(low / apart), math.floor(high / apart) + 1)]
    return inside or [low, high]


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
