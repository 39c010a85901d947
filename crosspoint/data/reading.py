"""Options of reading that every command with inputs has."""

from dataclasses import dataclass

from crosspoint.data.io.folders import Patterns


@dataclass(frozen=True)
class Reading:
    """How files are found and read.

    Attributes:
        columns: Text: the columns of x, y and z, `"x,y,z"` or `"2,3,4"`. `.bin`: the number of columns, `"5"`.
        include: Patterns such as `*.ply`; of folders, only files that match one of them are read.
        exclude: Patterns; of folders, files that match one of them are skipped.
        readers: Reader processes; 0: read in threads of this process.
    """

    columns: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    readers: int = 0

    @property
    def patterns(self) -> Patterns:
        """Which files of folders are read."""
        return Patterns(self.include, self.exclude)
