"""A path that the system refuses is one line from every command."""

import sys

import pytest

from crosspoint.cli import main

LONG = "y" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("embed", "dgcnn", LONG, "--out", "out.npz"),
        ("embed", LONG, "cloud.npy", "--out", "out.npz"),
        ("bench", LONG),
        ("report", LONG),
        ("import", f"{LONG}.pth", "--k", "4", "--out", "out.safetensors"),
        ("export", LONG, "--out", "bundle"),
        ("data", "verify", LONG),
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["crosspoint", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("crosspoint: ")
    assert error.count("\n") == 1
    assert LONG in error
