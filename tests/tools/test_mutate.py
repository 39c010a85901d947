"""Planting faults: each is one edit that compiles, and text that only a reader sees is left alone."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
SOURCE = '''"""A docstring with 10 + 10 in it."""
import numpy as np


def spread(values, seed, *, limit: int = 100):
    """Of 3 * values."""
    if len(values) > limit:
        raise ValueError(f"{limit + 1} are too many")
    rng = np.random.default_rng(seed)
    print("é", values.mean(axis=0, ddof=1))
    return values.std(axis=1) if limit else -values
'''


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    specification = importlib.util.spec_from_file_location("faults", TOOLS / "faults.py")
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "faults", module)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def found(tool: ModuleType, tmp_path: Path) -> list[tuple[str, str, str]]:
    (tmp_path / "module.py").write_text(SOURCE, encoding="utf-8")
    return [(fault.kind, fault.old, fault.new) for fault in tool.faults_of(tmp_path, "module.py")]


@pytest.mark.parametrize(
    "fault",
    [
        ("comparison", ">", ">="),
        ("check", "len(values) > limit", "False"),
        ("limit", "100", "1000"),
        ("seed", "seed", "0"),
        ("axis", "0", "1"),
        ("axis", "1", "0"),
        ("argument", ", ddof=1", ""),
        ("sign", "-values", "values"),
        ("name", "mean", "sum"),
        ("call", 'print("é", values.mean(axis=0, ddof=1))', "pass"),
        (
            "branch",
            "values.std(axis=1) if limit else -values",
            "-values if limit else values.std(axis=1)",
        ),
    ],
)
def test_it_finds(found: list[tuple[str, str, str]], fault: tuple[str, str, str]) -> None:
    assert fault in found


def test_docstrings_and_messages_are_left_alone(found: list[tuple[str, str, str]]) -> None:
    assert not [fault for fault in found if fault[1] in ("+", "10", "3", "*")]


def test_each_fault_is_one_edit_that_compiles(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(SOURCE, encoding="utf-8")
    for fault in tool.faults_of(tmp_path, "module.py"):
        planted = fault.planted(SOURCE)
        assert planted != SOURCE
        assert len(planted) - len(SOURCE) == len(fault.new) - len(fault.old)
        compile(planted, "module", "exec")
