"""The shape of the package: imports point one way, in no circle, and no folder is too full to be read at a glance."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import crosspoint

PACKAGE = Path(crosspoint.__file__).parent
FULL = 15  # files side by side
PARAMETERS = 8  # of a function that is no command and no kernel
PLACES = 2  # arguments of a call that may go without their name
OPENED = ("__init__", "__call__")  # called, though their names begin with an underscore

BASE = {"core"}
RUNTIME = BASE | {"data", "models", "runtime", "eval.metrics"}
ARROWS = {  # a room, and those that it may import from
    "core": set(),
    "data": BASE,
    "models": BASE,
    "runtime": BASE | {"data", "models"},
    "eval.metrics": BASE | {"data"},
    "train": RUNTIME,
    "eval": RUNTIME | {"train"},
    "parity": RUNTIME | {"eval"},
    "export": RUNTIME | {"eval", "parity"},
    "classify": RUNTIME | {"eval", "parity", "export"},
    "report": RUNTIME | {"eval", "parity"},
    "doctor": RUNTIME | {"train", "eval", "parity", "export"},
    "evaluate": RUNTIME | {"train", "eval"},
    "quickstart": RUNTIME | {"train", "eval", "parity", "export", "report"},
    "commands": RUNTIME | {"train", "eval", "parity", "export", "classify", "report", "doctor", "quickstart"},
    "cli": BASE | {"commands"},
}


def module_of(path):
    """`data.io.clouds` of `crosspoint/data/io/clouds.py`; of a package's `__init__.py` the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


FILES = [
    path for path in sorted(PACKAGE.rglob("*.py")) if path not in (PACKAGE / "__init__.py", PACKAGE / "__main__.py")
]
MODULES = {module_of(path): path for path in FILES}


def room_of(module):
    return "eval.metrics" if module.startswith("eval.metrics") else module.partition(".")[0]


def imports_of(path):
    """Modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "crosspoint":
            base = node.module.partition(".")[2]
            for alias in node.names:
                name = f"{base}.{alias.name}".lstrip(".")
                found.add(name if name in MODULES else base)
    return found - {""}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    allowed = ARROWS[room_of(module)] | {room_of(module)}
    assert {name for name in imports_of(MODULES[module]) if room_of(name) not in allowed} == set()


def test_no_imports_go_in_a_circle():
    TopologicalSorter({module: imports_of(path) - {module} for module, path in MODULES.items()}).prepare()


def test_a_circle_would_be_seen():
    with pytest.raises(ValueError, match="cycle"):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


def test_every_room_says_what_it_may_import():
    assert {room_of(module) for module in MODULES} <= set(ARROWS)


def test_no_folder_is_too_full():
    folders = {path.parent for path in MODULES.values()}
    counts = {folder.name: len([path for path in folder.glob("*.py") if path.stem != "__init__"]) for folder in folders}
    assert {name: count for name, count in counts.items() if count > FULL} == {}


def public_functions(path):
    """Functions and methods of a file whose names, and those of their classes, have no leading underscore."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner in (tree, *classes):
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and (node.name in OPENED or not node.name.startswith("_")):
                yield node


def positional(function):
    """Names of the arguments that a call can give by their place."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def is_command(function):
    """Whether click calls it, by keyword."""
    return any(
        "click." in ast.unparse(decorator) or ".command(" in ast.unparse(decorator)
        for decorator in function.decorator_list
    )


@pytest.mark.parametrize("module", MODULES)
def test_options_are_given_by_name(module):
    """After its first two arguments a public function takes the others by keyword."""
    functions = [function for function in public_functions(MODULES[module]) if not is_command(function)]
    assert {each.name: positional(each) for each in functions if len(positional(each)) > PLACES} == {}


def functions(path):
    """Every function of a file, methods and functions within functions too."""
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)]


def is_kernel(function):
    """Whether Triton compiles it: it takes pointers, sizes and constants one by one."""
    return any("triton.jit" in ast.unparse(decorator) for decorator in function.decorator_list)


def count_arguments(function):
    return len(positional(function)) + len(function.args.kwonlyargs)


@pytest.mark.parametrize("module", MODULES)
def test_functions_have_few_parameters(module):
    """More than eight are options in objects; only a command has as many as it has options."""
    checked = [each for each in functions(MODULES[module]) if not is_command(each) and not is_kernel(each)]
    assert {each.name: count_arguments(each) for each in checked if count_arguments(each) > PARAMETERS} == {}


UNTYPED = "dict" + "[str, Any]"
MOST_UNTYPED = 0


def test_values_whose_type_says_nothing_stay_few():
    """Results are dataclasses; JSON from outside is such a dictionary until it has been checked, and no longer."""
    lines = [line for path in PACKAGE.rglob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(UNTYPED in line for line in lines) <= MOST_UNTYPED


def test_a_class_name_means_one_thing():
    """With or without a leading underscore."""
    places = defaultdict(list)
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
