"""Which shapes an exported model is for, and how they are written on the command line."""

from dataclasses import dataclass

from crosspoint.core.errors import InputError

Range = tuple[int, int, int]  # smallest, usual, largest
Shape = tuple[int, ...]
USUAL_POINTS = 1024


@dataclass(frozen=True)
class Profile:
    """Shapes that an exported model is checked with, and that an engine is built for.

    Attributes:
        batch: Clouds at a time. An ONNX file takes any number; an engine these.
        points: Points of a cloud; three equal numbers where there is one, None where there may be any.
    """

    batch: Range
    points: Range | None

    @property
    def fixed_points(self) -> int | None:
        """The one number of points, or None where it varies."""
        return self.points[0] if self.points is not None and self.points[0] == self.points[2] else None

    def tested_points(self, smallest: int) -> Range:
        """Numbers of points to check with; `smallest` is what the network itself needs."""
        return self.points or (smallest, max(smallest, USUAL_POINTS), 2 * max(smallest, USUAL_POINTS))

    def shapes(self, name: str, width: int) -> tuple[Shape, Shape, Shape]:
        """Smallest, usual and largest shape of an input: `points (B, N, 3)`, or `(B, width)`.

        Raises:
            InputError: The number of points is open, which no engine is.
        """
        if self.points is None:
            raise InputError("an engine needs bounds for the number of points; give --points min:opt:max")
        every: list[Shape] = [(batch, width) for batch in self.batch]
        if name == "points":
            every = [(batch, count, width) for batch, count in zip(self.batch, self.points, strict=True)]
        low, usual, high = every
        return low, usual, high


def make_profile(batch: str | int | Range, points: str | int | Range | None) -> Profile:
    """A profile from what the command line or a caller gives: numbers, `min:opt:max`, or `"any"` (None) points.

    Raises:
        InputError: It is none of these, not positive, or not in order.
    """
    open_points = points is None or points == "any"
    return Profile(parse_range("--batch", batch), None if open_points else parse_range("--points", points))


def parse_range(option: str, value: str | int | Range | None) -> Range:
    """`"8"` or 8 as (8, 8, 8), `"1:8:32"` as (1, 8, 32).

    Raises:
        InputError: As in `make_profile`.
    """
    parts = value.split(":") if isinstance(value, str) else [value] if isinstance(value, int) else list(value or ())
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or numbers[0] < 1 or numbers != sorted(numbers):
        kinds = "a number, min:opt:max in ascending order" + (", or any" if option == "--points" else "")
        raise InputError(f"{option} {value} is not understood; give {kinds}, all at least 1")
    return numbers[0], numbers[1], numbers[2]
