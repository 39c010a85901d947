"""A progress bar for training: losses, speed and time left."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from crosspoint.core.console import is_quiet

LINE_SECONDS = 30.0  # seconds between lines if standard error is not a terminal


class Progress:
    """Shows a bar on a terminal, or a line from time to time elsewhere.

    Args:
        title: Text before the bar.
        done: Steps done before.
        total: Steps in all.
        visible: Whether to show anything.
    """

    def __init__(self, title: str, done: int, *, total: int, visible: bool = True) -> None:
        console = Console(stderr=True, quiet=is_quiet() or not visible)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Bar(*columns, TextColumn("{task.fields[state]}"), console=console, disable=not console.is_terminal)
        self.console, self.title, self.done, self.total = console, title, done, total
        self.task = self.bar.add_task(title, total=total, completed=done, state="")
        self.last = self.printed = time.monotonic()
        self.rate: float | None = None

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def pause_ended(self) -> None:
        """Exclude the time since the last step from the speed."""
        self.last = time.monotonic()

    def advance(self, values: dict[str, float], clouds: int) -> float:
        """Count one step with `clouds` objects; returns the objects per second of this step."""
        now = time.monotonic()
        rate = clouds / max(now - self.last, 1e-9)
        self.last = now
        self.rate = rate if self.rate is None else 0.9 * self.rate + 0.1 * rate
        self.done += 1
        losses = "  ".join(
            f"{name.removeprefix('loss_')} {value:.3f}" for name, value in values.items() if name.startswith("loss")
        )
        state = f"{losses}  {self.rate:.1f} objects/s"
        self.bar.update(self.task, completed=self.done, state=state)
        if not self.console.is_terminal and (now - self.printed > LINE_SECONDS or self.done == self.total):
            self.printed = now
            left = (self.total - self.done) * clouds / self.rate
            line = f"{self.title}: step {self.done}/{self.total}  {state}  {left / 60:.0f} min left"
            self.console.print(line, soft_wrap=True, highlight=False)
        return rate
