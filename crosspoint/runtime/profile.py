"""The shapes that an exported model takes, and how they are written on the command line."""

from dataclasses import dataclass

from crosspoint.core.errors import InputError

Range = tuple[int, int, int]  # smallest, usual, largest
Shape = tuple[int, ...]
USUAL_POINTS = 1024


@dataclass(frozen=True)
class Profile:
    """Shapes that an exported model is checked with, and that an engine is built for.

    Attributes:
        batch: Smallest, optimal and largest batch of an engine. An ONNX file takes any batch.
        points: Smallest, optimal and largest number of points; three equal numbers if it is fixed; None: any.
    """

    batch: Range
    points: Range | None

    @property
    def fixed_points(self) -> int | None:
        """The number of points if it is fixed, else None."""
        return self.points[0] if self.points is not None and self.points[0] == self.points[2] else None

    def tested_points(self, smallest: int) -> Range:
        """Numbers of points to check with; `smallest` is the least number that the network takes."""
        return self.points or (smallest, max(smallest, USUAL_POINTS), 2 * max(smallest, USUAL_POINTS))

    def shapes(self, name: str, width: int) -> tuple[Shape, Shape, Shape]:
        """Smallest, optimal and largest shape of an input: `points (B, N, 3)`, or `(B, width)`.

        Raises:
            InputError: The number of points has no bounds, which an engine needs.
        """
        if self.points is None:
            raise InputError("an engine needs bounds for the number of points; give --points min:opt:max")
        every: list[Shape] = [(batch, width) for batch in self.batch]
        if name == "points":
            every = [(batch, count, width) for batch, count in zip(self.batch, self.points, strict=True)]
        low, usual, high = every
        return low, usual, high


def make_profile(batch: str | int | Range, points: str | int | Range | None) -> Profile:
    """Make a profile from numbers, `min:opt:max`, or `"any"` (None) points.

    Raises:
        InputError: A value has another form, is not positive, or is not in order.
    """
    open_points = points is None or points == "any"
    return Profile(parse_range("--batch", batch), None if open_points else parse_range("--points", points))


def parse_range(option: str, value: str | int | Range | None) -> Range:
    """Parse a range: `"8"` or 8 is (8, 8, 8), `"1:8:32"` is (1, 8, 32).

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
        raise InputError(f"{option} {value} is invalid; give {kinds}, all at least 1")
    return numbers[0], numbers[1], numbers[2]
