"""What a training run says while it goes on."""

import io
import re

import pytest

from crosspoint.train.engine import progress
from crosspoint.train.engine.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_the_speed_is_objects_over_the_time_of_the_step(clock):
    with Progress("training", 0, total=10, visible=False) as bar:
        clock.now += 2.0
        assert bar.advance({"loss": 1.0}, 64) == 32.0
        clock.now += 100.0
        bar.pause_ended()
        clock.now += 4.0
        assert bar.advance({"loss": 1.0}, 64) == 16.0
        assert bar.rate == pytest.approx(0.9 * 32 + 0.1 * 16)
    assert bar.done == 2


def test_without_a_terminal_a_line_now_and_then_says_what_is_left(clock, capsys):
    with Progress("training", 6, total=10) as bar:
        clock.now += 10.0
        bar.advance({"loss_imid": 0.5, "spread": 3.0}, 100)
        assert capsys.readouterr().err == ""
        clock.now += 30.0
        bar.advance({"loss_imid": 0.25, "spread": 3.0}, 300)
    said = capsys.readouterr().err
    assert re.fullmatch(r"training: step 8/10  imid 0\.250  10\.0 objects/s  1 min left\n", said)


def test_the_last_step_is_always_said(clock, capsys):
    with Progress("training", 9, total=10) as bar:
        clock.now += 1.0
        bar.advance({"loss": 0.5}, 8)
    assert "step 10/10" in capsys.readouterr().err


def test_on_a_terminal_the_bar_is_drawn_and_ended(clock, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("training", 0, total=2) as bar:
        assert bar.bar.live.is_started
        clock.now += 1.0
        bar.advance({"loss": 0.5}, 8)
    assert not bar.bar.live.is_started
    assert "training" in screen.getvalue()
