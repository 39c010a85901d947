"""Every option of every command: its default, which scripts rely on, and that its value arrives under its name."""

import dataclasses
import itertools
import json
from importlib import import_module
from pathlib import Path

import click
import pytest
from calls import bound
from click.testing import CliRunner

from crosspoint.cli import crosspoint

DEFAULTS = {
    "quickstart": {"out": "quickstart", "seed": 0},
    "data list": {},
    "data verify": {},
    "data make-shapes": {"per_class": 50, "seed": 0, "views": 4, "size": 64, "points": 2048, "edition": 1},
    "data render": {"views": 8, "size": 224, "points": 2048, "seed": 0},
    "data scan": {"views": 4, "points": 2048, "pattern": "camera", "noise": 0.0, "size": 224, "seed": 0},
    "data pack": {"shard_mb": 256},
    "data objects": {"seed": 0},
    "train": {"probe_every": 1},
    "finetune partseg": {},
    "import": {},
    "export": {"precision": "fp32", "batch": "1:8:32", "points": "1024", "builder": "auto"},
    "build": {},
    "operators": {},
    "keygen": {},
    "models": {},
    "embed": {"out": "embeddings.npz", "seed": 0, "draws": 1, "batch": 32, "readers": 0, "device": "cpu"},
    "bench": {"batch": 8, "seconds": 5.0},
    "search": {"k": 5, "metric": "cosine", "device": "cpu"},
    "duplicates": {"level": "same", "seed": 0, "draws": 1, "device": "cpu"},
    "select": {},
    "fit": {
        "model": "dgcnn",
        "head": "auto",
        "draws": 4,
        "views": 0,
        "refuse": 0.05,
        "suggest": 0,
        "seed": 0,
        "device": "cpu",
    },
    "predict": {"top": 1, "draws": 1, "seed": 0, "batch": 32, "device": "cpu"},
    "segment": {"seed": 0, "device": "cpu"},
    "eval classify": {"draws": 1, "seed": 0, "device": "cpu"},
    "eval svm": {"points": 1024, "seed": 0, "seeds": 3, "device": "cpu"},
    "eval fewshot": {
        "ways": (5, 10),
        "shots": (10, 20),
        "queries": 20,
        "runs": 10,
        "points": 1024,
        "seed": 0,
        "device": "cpu",
    },
    "eval robustness": {"points": 1024, "seed": 0, "device": "cpu"},
    "eval image-fewshot": {"shots": (1, 5), "tasks": 600, "seed": 0, "device": "cpu"},
    "eval partseg": {"seed": 0, "seeds": 3, "device": "cpu"},
    "parity": {"seed": 0, "device": "cpu", "reference_device": "cpu"},
    "reproduce": {
        "train_seeds": 1,
        "seed": 0,
        "seeds": 3,
        "runs": 10,
        "tasks": 600,
        "device": "cpu",
        "out": "reproduction",
    },
    "diagnose": {"clouds": 16, "seed": 0, "device": "cpu", "reference_device": "cpu"},
    "report": {},
    "doctor": {},
}

BEHIND = {  # the function that a command calls with its options
    "quickstart": ("crosspoint.quickstart", "quickstart"),
    "data verify": ("crosspoint.data.sets.verify", "verify"),
    "data make-shapes": ("crosspoint.data.shapes.make_shapes", "make_shapes"),
    "data render": ("crosspoint.data.rendering.render", "render"),
    "data scan": ("crosspoint.data.rendering.scan", "scan"),
    "data pack": ("crosspoint.data.sets.pack", "pack"),
    "data objects": ("crosspoint.data.objects.folder", "write_objects"),
    "finetune partseg": ("crosspoint.train.partseg.finetune", "partseg"),
    "import": ("crosspoint.classify.imported", "import_checkpoint"),
    "export": ("crosspoint.export.bundle", "export"),
    "build": ("crosspoint.export.engine.on_device", "build_on_device"),
    "operators": ("crosspoint.runtime.backends.kernels.operators", "write_operators"),
    "embed": ("crosspoint.runtime.jobs.embed", "embed"),
    "bench": ("crosspoint.runtime.bench.bench", "bench"),
    "search": ("crosspoint.runtime.jobs.search", "search"),
    "duplicates": ("crosspoint.runtime.library.duplicates", "duplicates"),
    "select": ("crosspoint.runtime.library.select", "select"),
    "fit": ("crosspoint.classify.fit", "fit"),
    "predict": ("crosspoint.runtime.jobs.predict", "predict"),
    "segment": ("crosspoint.runtime.jobs.segment", "segment"),
    "eval classify": ("crosspoint.eval.classify", "classify"),
    "eval svm": ("crosspoint.eval.svm", "svm"),
    "eval fewshot": ("crosspoint.eval.fewshot", "fewshot"),
    "eval robustness": ("crosspoint.eval.robustness", "robustness"),
    "eval image-fewshot": ("crosspoint.eval.image.fewshot", "image_fewshot"),
    "eval partseg": ("crosspoint.eval.partseg", "partseg"),
    "parity": ("crosspoint.parity.parity", "parity"),
    "diagnose": ("crosspoint.parity.layers.diagnose", "diagnose"),
    "report": ("crosspoint.report.page", "report"),
}
GIVEN = {  # what an option takes that is no number, name or path
    "overrides": "batch=3",
    "rfs": "batch=3",
    "shard": "2/3",
    "batch": "2:3:5",
    "target": "sm86",
    "keep_fp32": "edge4,embed",
    "views": "2",
    "voxel": "0.25",  # at most half of the cluster distance
}
SUFFIXES = {"page": ".html"}  # where it is no picture
ARRIVES_AS = {  # where a word is read before it is handed on, or goes by another name
    "shard": ("shard", (2, 3)),
    "target": ("target", ("sm86",)),
    "keep_fp32": ("keep_fp32", ("edge4", "embed")),
    "folder": ("root", None),
    "rfs": ("overrides", None),
    "data_dir": ("data", None),
    "json_file": None,
    "objects": None,  # the inputs are `Scans` with it
    "verify_key": None,  # for the whole process, see the test of `--verify-key`
    "given": ("inputs", None),
    "part": ("size", None),
    "calibrate": ("calibration", None),
    "verify_data": ("data", None),
    "verify_clouds": ("clouds", None),
}
DRAWN = {
    ("bench", "out"),
    ("duplicates", "page"),
    ("embed", "picture"),
    ("export", "hub"),
}  # the command makes them itself
INSTEAD = {("bench", "layers"), ("export", "dry_run")}  # flags with which another function is called


class Called(Exception):
    """Of a function, instead of its work."""


def commands(group=crosspoint, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())


def default_of(parameter):
    value = parameter.to_info_dict()["default"]
    return value if isinstance(value, str | int | float | tuple | list) and not isinstance(value, bool) else None


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_are_those_that_scripts_rely_on(name):
    found = {parameter.name: default_of(parameter) for parameter in COMMANDS[name].params}
    assert {option: value for option, value in found.items() if value not in (None, (), [])} == DEFAULTS[name]


def leaves(arguments):
    """Names and values, those within dataclasses too."""
    for name, value in arguments.items():
        if dataclasses.is_dataclass(value):
            yield from leaves({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
        else:
            yield name, value


def words_for(command, numbers):
    """A call with every option set to a value of its own, and these values by name."""
    words, values = [], {}
    for parameter in command.params:
        if parameter.name == "json_file" or (command.name, parameter.name) in INSTEAD:
            continue
        if getattr(parameter, "is_flag", False):
            given, value = [], True
        elif isinstance(parameter.type, click.Choice):
            value = parameter.type.choices[-1]
            given = [value]
        elif isinstance(parameter.type, click.Path):
            value = Path(f"{parameter.name}{next(numbers)}{SUFFIXES.get(parameter.name, '.png')}").absolute()
            given = [str(value)]
        elif parameter.type.name.startswith("integer"):
            value = next(numbers)
            given = [str(value)]
        elif parameter.type.name.startswith("float"):
            value = float(GIVEN.get(parameter.name, next(numbers) + 0.5))
            given = [str(value)]
        else:
            value = GIVEN.get(parameter.name, f"{parameter.name}{next(numbers)}")
            given = [value]
        words += given if parameter.param_type_name == "argument" else [parameter.opts[0], *given]
        values[parameter.name] = (value,) if parameter.multiple or parameter.nargs == -1 else value
    return words, values


class Anything(dict):
    """A result whose every part is empty."""

    rank = 0  # of the main process

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything()

    def __missing__(self, name):
        return Anything()

    def to_json(self):
        return {"schema": "crosspoint.anything/1"}

    def __call__(self, *arguments, **options):
        return self

    def __format__(self, how):
        return ""

    def __float__(self):
        return 0.0

    def __add__(self, other):
        return 0


@pytest.mark.parametrize("name", BEHIND)
def test_every_value_arrives_under_its_name(name, monkeypatch, tmp_path):
    module, function = import_module(BEHIND[name][0]), BEHIND[name][1]
    original = getattr(module, function)

    def called(*arguments, **options):
        raise Called(bound(original, arguments, options))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crosspoint.data.objects.scan.read_scan", lambda *_, **__: None)  # none is there
    monkeypatch.setattr(import_module("crosspoint.export.hub"), "write_hub", lambda *_, **__: Anything())
    monkeypatch.setattr(module, function, called)
    words, values = words_for(COMMANDS[name], itertools.count(3))
    with pytest.raises(Called) as found:
        CliRunner().invoke(crosspoint, [*name.split(), *words], catch_exceptions=False)
    arrived = dict(leaves(found.value.args[0]))
    for option, value in values.items():
        where = ARRIVES_AS.get(option, (option, None))
        if where is not None and (name, option) not in DRAWN:
            key, read = where
            assert arrived[key if key in arrived else option] == (value if read is None else read), option


SCHEMAS = {"export": "export", "build": "export"}
"""Of commands that put the result together themselves; all others write it as it is."""


@pytest.mark.parametrize("name", BEHIND)
def test_what_is_found_is_written_as_json(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crosspoint.data.objects.scan.read_scan", lambda *_, **__: None)  # none is there
    monkeypatch.setattr(import_module("crosspoint.export.hub"), "write_hub", lambda *_, **__: Anything())
    monkeypatch.setattr(import_module(BEHIND[name][0]), BEHIND[name][1], lambda *_, **__: Anything())
    for table in ("bench", "diagnose", "doctor", "eval", "export", "partseg"):
        shown = import_module(f"crosspoint.commands.tables.{table}")
        for drawn in [each for each in vars(shown) if each.startswith(("print_", "draw_"))]:
            monkeypatch.setattr(shown, drawn, lambda *_, **__: None)
    words, _ = words_for(COMMANDS[name], itertools.count(3))
    CliRunner().invoke(crosspoint, [*name.split(), *words, "--json", "result.json"])
    schema = SCHEMAS.get(name, "anything")
    assert json.loads(Path("result.json").read_text())["schema"] == f"crosspoint.{schema}/1"
