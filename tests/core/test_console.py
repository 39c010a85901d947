"""Progress bars: shown on a terminal, for more than one item; every item is passed on in any case."""

import io
import subprocess
import sys

from crosspoint.core.console import track, verbosity


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, items, **options):
    """What `track` writes on a terminal while it passes on the items."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    expected = list(items)
    assert list(track(iter(expected) if options else expected, "Reading", **options)) == expected
    return terminal.getvalue()


def test_a_bar_counts_the_items_on_a_terminal(monkeypatch):
    text = shown(monkeypatch, [0, 1, 2])
    assert "Reading" in text
    assert "3/3" in text


def test_a_generator_has_a_bar_if_its_length_is_given(monkeypatch):
    assert "2/2" in shown(monkeypatch, "ab", total=2)


def test_one_item_has_no_bar(monkeypatch):
    assert shown(monkeypatch, ["one"]) == ""
    assert shown(monkeypatch, ["one"], total=1) == ""


def test_quiet_commands_have_no_bar(monkeypatch):
    with verbosity(quiet=True):
        assert shown(monkeypatch, [0, 1, 2]) == ""


def test_without_a_terminal_there_is_no_bar_and_rich_is_not_imported():
    code = (
        "import sys; from crosspoint.core.console import track; "
        "assert list(track(range(3), 'Reading')) == [0, 1, 2]; assert 'rich' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
