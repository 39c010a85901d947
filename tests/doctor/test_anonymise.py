import getpass
import socket

import pytest

from crosspoint.doctor.anonymise import scrub
from crosspoint.doctor.facts import Broken


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/anna/work/run/encoder.onnx is damaged", "…/encoder.onnx is damaged"),
        ("cannot open '/tmp/xyz/a b', nor ~/data/clouds", "cannot open '…/a b', nor …/clouds"),
        (r"C:\Users\anna\model.plan", "…/model.plan"),
        ("see https://pytorch.org/get-started/locally", "see https://pytorch.org/get-started/locally"),
        ("Linear 1/2, and/or 3", "Linear 1/2, and/or 3"),
        ("anna@robot-7 failed, annabel did not", "<user>@<host> failed, annabel did not"),
    ],
)
def test_places_and_names_are_taken_out(text, expected, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "anna")
    monkeypatch.setattr(socket, "gethostname", lambda: "robot-7")
    assert scrub(text) == expected


def test_it_reaches_everything_within_and_leaves_the_rest():
    value = {"a": [{"b": "/x/y/z"}, 1, None, 2.5, True], "c": ("/x/y/w",)}
    assert scrub(value) == {"a": [{"b": "…/z"}, 1, None, 2.5, True], "c": ("…/w",)}
    assert scrub(Broken(installed=True, reason="/x/y/z")) == Broken(installed=True, reason="…/z")
