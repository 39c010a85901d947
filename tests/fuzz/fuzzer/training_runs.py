"""Targets: training runs. Checkpoints, configurations, recipes, metrics."""

import io
import json
from functools import cache, partial
from pathlib import Path
from typing import Any

from fuzzer.attacks import NO_JSON, instead, torch_bomb
from fuzzer.cases import Files, Target
from fuzzer.made import folder, to_bytes
from fuzzer.mutate import LONG


def _network() -> tuple[Any, Any]:
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    return network, torch.optim.Adam(network.parameters())


@cache
def _checkpoint() -> Files:
    import torch

    from crosspoint.train.engine.checkpoint import save_checkpoint

    network, optimiser = _network()
    network(torch.randn(5, 3)).sum().backward()
    optimiser.step()
    state = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "data": "abc",
        "scaler": {},
        "best": None,
    }
    return folder(lambda root: save_checkpoint(root, 3, state=state))


def _read_checkpoint(root: Path) -> None:
    from crosspoint.train.engine.checkpoint import load_checkpoint, restore

    network, optimiser = _network()
    state = restore(root, network, optimiser=optimiser, data="abc")
    assert isinstance(state["step"], int)
    assert state["step"] >= 0
    load_checkpoint(root)


def _checkpoint_attacks() -> dict[str, Files]:
    import torch

    def saved(**changes: Any) -> bytes:
        whole = torch.load(io.BytesIO(_checkpoint()["step-00000003.pt"]), weights_only=True)  # type: ignore[arg-type]
        return to_bytes(lambda f: torch.save({**whole, **changes}, f))

    contents: dict[str, bytes | str] = {
        "a list": to_bytes(lambda f: torch.save([1], f)),
        "a step that is text": saved(step="three"),
        "no network": saved(network=None),
        "an optimiser of something else": saved(optimiser={"state": {}, "param_groups": []}),
        "a tensor of a billion": saved(network={"0.weight": torch.zeros(1).expand(10**9)}),
        "an archive that unpacks to much": torch_bomb(),
        "a pipe": "pipe",
        "a device": "link /dev/zero",
        "a folder": "folder",
    }
    return {name: {"step-00000003.pt": content} for name, content in contents.items()}


METRICS = b"".join(json.dumps({"step": step, "loss": 1 / step, "spread": 0.5}).encode() + b"\n" for step in range(1, 5))


@cache
def run_folder(kind: str) -> Files:
    from crosspoint.train.partseg.recipes import PartSegRecipe
    from crosspoint.train.pretrain.recipes import Recipe

    recipe: Any = Recipe("clean", "pointnet", objective="imid") if kind == "pretrain" else PartSegRecipe("clean")
    config = {
        "schema": "crosspoint.run/1" if kind == "pretrain" else "crosspoint.partseg-run/1",
        "recipe": recipe.as_dict(),
        "data": {"objects": 12, "sha256": "0" * 64},
        "initial": {"path": "/nowhere", "sha256": "0" * 64, "architecture": "dgcnn_seg", "k": 4, "tensors": 3},
        "init_sha256": None,
        "device": "cpu",
        "versions": {"crosspoint": "1", "torch": "2"},
    }  # fmt: skip
    return {"config.json": json.dumps(config).encode(), "metrics.jsonl": METRICS}


def _read_run(kind: str, root: Path) -> None:
    """What `train --resume` does before it trains: recipe, origin, network, metrics."""
    from crosspoint.train.engine.metrics import Recorder
    from crosspoint.train.engine.run_folder import check_origin, resolve_recipe
    from crosspoint.train.partseg import finetune
    from crosspoint.train.partseg import recipes as partseg_recipes
    from crosspoint.train.pretrain import pretrain, recipes

    found: Any = recipes.RECIPES if kind == "pretrain" else partseg_recipes.RECIPES
    recipe = resolve_recipe(root, None, overrides=(), resume=True, recipes=found)
    check_origin(root, None)
    if kind == "pretrain":
        pretrain.make_network(recipe)
        pretrain.learning_rate(recipe, 0)
    else:
        finetune.learning_rate(recipe, 0)
        finetune._settle_initial(root, None)
    with Recorder(root, 2) as recorder:
        recorder.write(3, {"loss": 1.0})


def _recipe(root: Path) -> None:
    """Overrides from the command line, one a line."""
    from crosspoint.core.reading import read_bytes
    from crosspoint.eval.image.rfs_recipe import make_rfs_recipe
    from crosspoint.train.engine.recipes import choose_recipe
    from crosspoint.train.partseg.recipes import RECIPES
    from crosspoint.train.pretrain.recipes import make_recipe

    lines = read_bytes(root / "overrides.txt").decode("utf-8", "replace").splitlines()
    name, overrides = lines[0] if lines else "", lines[1:]
    make: Any = {"partseg": lambda given: choose_recipe(RECIPES, "clean", overrides=given), "rfs": make_rfs_recipe}.get(
        name
    )
    (make or partial(make_recipe, name))(overrides)


def _recipe_attacks() -> dict[str, Files]:
    values = (
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e308",
        LONG,
        "1_0",
        "٣",
        "0x10",
        "None",
        "[]",
        "true",
        "",
        " ",
        "\x1b[31m",
    )
    fields = ("seed", "learning_rate")
    return {
        f"{name} {field}={value[:10]}": {"overrides.txt": f"{name}\n{field}={value}".encode()}
        for name in ("clean", "partseg", "rfs")
        for field in fields
        for value in values
    }


def _read_metrics(root: Path) -> None:
    from crosspoint.train.engine.metrics import Recorder

    with Recorder(root, 2) as recorder:
        recorder.write(3, {"loss": 1.0})
        recorder.flush()


METRIC_LINES: dict[str, bytes | str] = {"no step": b"{}\n", "a list": b"[1]\n", "a text": b'{"step": "x"}\n'}
OVERRIDES = (
    b"clean\nk=4\nepochs=3",
    b"partseg\nk=4\nstretch=1.5",
    b"rfs\nepochs=3\nlearning_rate=0.1",
    b"quick\ncrop=true\nbackbone=pointnet",
)


def _starts(kind: str) -> Target:
    """The target of a run's folder."""
    make = partial(run_folder, kind)
    name = "run" if kind == "pretrain" else "partseg-run"
    return Target(name, lambda: [make()], partial(_read_run, kind), instead(make, "config.json", NO_JSON))


TRAINING_RUNS = (
    Target("checkpoint", lambda: [_checkpoint()], _read_checkpoint, _checkpoint_attacks),
    _starts("pretrain"),
    _starts("partseg"),
    Target("recipes", lambda: [{"overrides.txt": text} for text in OVERRIDES], _recipe, _recipe_attacks),
    Target(
        "metrics",
        lambda: [{"metrics.jsonl": METRICS}],
        _read_metrics,
        instead(dict, "metrics.jsonl", NO_JSON | METRIC_LINES),
    ),
)
