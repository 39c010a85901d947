import pickle

import pytest

from crosspoint.core.console import print_table, say
from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.core.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("chair/a 1.off", "chair/a 1.off"),
        ("Stühle 椅子 🪑\u00a0x", "Stühle 椅子 🪑\u00a0x"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x07\x9b", r"\x1b[31mred\x07\x9b"),
        ("gnp.\u202ezyx", r"gnp.\u202ezyx"),
        ("a\u2028b\u2029c\u0085", r"a\u2028b\u2029c\x85"),
        ("\udcff\udcfe.xyz", r"\xff\xfe.xyz"),
        ("\ud800", r"\ud800"),
        ("\u200b\ufeff", r"\u200b\ufeff"),
    ],
)
def test_what_cannot_be_shown_is_escaped(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    shown.encode("utf-8")


def test_errors_are_one_line_whatever_stands_in_them():
    error = InputError("a\n\x1b[2J\udcff: is damaged")
    assert str(error) == r"a\n\x1b[2J\xff: is damaged"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert isinstance(error, CrosspointError)


def test_tables_and_lines_are_escaped(capsys):
    print_table("a\x1bb", ["c\nd"], rows=[["e\udcfff"], ["[red]g"]])
    say("h\ni\x1bj", err=True)
    out, err = capsys.readouterr()
    for shown in (r"a\x1bb", r"c\nd", r"e\xfff", "[red]g"):
        assert shown in out
    assert err == "h\\ni\\x1bj\n"
