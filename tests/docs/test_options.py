"""Every option of every command stands on the page of that command."""

import re
from pathlib import Path

import click
import pytest

from crosspoint.cli import crosspoint

ROOT = Path(__file__).parents[2]
PAGES = {
    "": "docs/commands.md",
    "quickstart": "docs/quickstart.md",
    "data list": "docs/data.md",
    "data verify": "docs/data.md",
    "data make-shapes": "docs/shapes.md",
    "data render": "docs/rendering.md",
    "data scan": "docs/rendering.md",
    "data pack": "docs/rendering.md",
    "data objects": "docs/objects.md",
    "train": "docs/training.md",
    "finetune partseg": "docs/segmentation.md",
    "import": "docs/import.md",
    "export": "docs/export.md",
    "build": "docs/jetson.md",
    "keygen": "SECURITY.md",
    "models": "docs/models.md",
    "embed": "docs/embed.md",
    "bench": "docs/benchmark.md",
    "search": "docs/search.md",
    "duplicates": "docs/duplicates.md",
    "select": "docs/duplicates.md",
    "fit": "docs/classify.md",
    "predict": "docs/classify.md",
    "segment": "docs/segmentation.md",
    "eval classify": "docs/classify.md",
    "eval svm": "docs/evaluation.md",
    "eval fewshot": "docs/evaluation.md",
    "eval robustness": "docs/evaluation.md",
    "eval image-fewshot": "docs/evaluation.md",
    "eval partseg": "docs/segmentation.md",
    "parity": "docs/evaluation.md",
    "reproduce": "docs/reproduce.md",
    "diagnose": "docs/diagnose.md",
    "report": "docs/report.md",
    "doctor": "docs/doctor.md",
}
EVERYWHERE = {"--help", "--version"}  # told by every --help


def commands(command, path=()):
    """Every command by its words, groups with options of their own too."""
    found = {" ".join(path): command}
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            found |= commands(child, (*path, name))
    return found


def options_of(command):
    """Long names, e.g. `--out`."""
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {name for option in options for name in (*option.opts, *option.secondary_opts) if name.startswith("--")}


OPTIONS = {name: options_of(command) - EVERYWHERE for name, command in commands(crosspoint).items()}
OPTIONS = {name: options for name, options in OPTIONS.items() if options}


def test_every_command_has_a_page():
    assert set(OPTIONS) <= set(PAGES)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_page_of_a_command_names_its_options(name):
    page = (ROOT / PAGES[name]).read_text(encoding="utf-8")
    missing = {option for option in OPTIONS[name] if not re.search(rf"{option}(?![\w-])", page)}
    assert missing == set(), f"{PAGES[name]} does not name them"


def test_an_option_that_only_begins_another_is_not_taken_for_it():
    assert re.search(r"--seed(?![\w-])", "`--seeds 3`, `--seed-x`") is None
