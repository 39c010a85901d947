"""Targets: what the package itself writes and reads again. Weights, runs, embeddings, bundles, results."""

import contextlib
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.runtime.jobs.parts import PartOptions
from crosspoint.runtime.options import Sampling
from fuzzer import made
from fuzzer.cases import Files, Target
from fuzzer.made import CLOUDS, folder, place, to_bytes
from fuzzer.mutate import LONG
from fuzzer.run import is_line

DEEP = b"[" * 200_000
NO_JSON: dict[str, bytes | str] = {
    "deep": DEEP,
    "a list": b"[]",
    "null": b"null",
    "no UTF-8": b"\xff\xfe{}",
    "a long number": LONG.encode(),
    "a pipe": "pipe",
    "a device": "link /dev/zero",
    "a link to nothing": "link nowhere",
    "a folder": "folder",
    "a sparse file": "sparse",
}


def _instead(files: Callable[[], Files], name: str, others: dict[str, bytes | str]) -> Callable[[], dict[str, Files]]:
    """Attacks: one of the files is another one."""
    return lambda: {label: {**files(), name: content} for label, content in others.items()}


# Weights


def _weights(model: Any, recipe: dict[str, Any] | None = None) -> bytes:
    from crosspoint.models.weights import save_model

    files = folder(lambda root: save_model(model, root / "x.safetensors", recipe=recipe))
    return next(content for content in files.values() if isinstance(content, bytes))


@cache
def _pointnet() -> Files:
    import torch

    from crosspoint.models import PointNet

    torch.manual_seed(0)
    return {"encoder.safetensors": _weights(PointNet(), {"name": "clean", "k": 4})}


@cache
def _head() -> Files:
    from crosspoint.models.heads import PointHead

    return {"encoder.safetensors": _weights(PointHead(8))}


def _header(metadata: object, tensors: dict[str, object] | None = None) -> bytes:
    header = json.dumps({"__metadata__": {"crosspoint": metadata}, **(tensors or {})}).encode()
    return struct.pack("<Q", len(header)) + header


def _weight_attacks() -> dict[str, Files]:
    contents: dict[str, bytes | str] = {
        **{
            name: _header(json.dumps({"model": model, "recipe": None}))
            for name, model in {
                "dim 10^6": {"architecture": "point_head", "dim": 10**6},
                "dim 10^12": {"architecture": "point_head", "dim": 10**12},
                "many parts": {"architecture": "dgcnn_partseg", "parts": 10**7, "categories": 10**7, "k": 4},
                "no number": {"architecture": "point_head", "dim": "x"},
                "a depth": {"architecture": "resnet", "depth": 101},
                "another argument": {"architecture": "pointnet", "x": 1},
                "a list for a name": {"architecture": ["dgcnn"]},
                "k below 1": {"architecture": "dgcnn", "k": -1},
                "a config that is a list": [],
            }.items()
        },
        "deep metadata": _header(DEEP.decode()),
        "metadata that is a number": _header("3"),
        "metadata of 5,000 digits": _header(LONG),
        "a long header": struct.pack("<Q", 2**63) + b"{}",
        **{name: content for name, content in NO_JSON.items() if isinstance(content, str)},
    }
    return {name: {"encoder.safetensors": content} for name, content in contents.items()}


def _read_weights(root: Path) -> None:
    from crosspoint.eval.paper.roles import read_facts
    from crosspoint.models.weights import load_model

    model = load_model(root / "encoder.safetensors")
    assert all(tensor.device.type == "cpu" for tensor in model.state_dict().values())
    read_facts(root / "encoder.safetensors")


def _embed_with_weights(root: Path) -> None:
    from crosspoint.runtime.load import load_encoder

    with load_encoder(root / "encoder.safetensors", backend="pytorch") as encoder:
        assert encoder.embed(CLOUDS[:2]).shape == (2, encoder.specification.dim)


def _export_source(root: Path) -> None:
    """What `export` does with weights before it builds anything."""
    from crosspoint.export.bundle import _check_network, _network, trained_weights
    from crosspoint.models.weights import read_weights
    from crosspoint.runtime.profile import make_profile

    source = read_weights(trained_weights(root))
    network, _ = _network(source, True)
    _check_network(source.path, network, make_profile((1, 2, 4), 16))


@cache
def _with_head() -> Files:
    from crosspoint.models.heads import PointHead

    recipe = {"name": "clean", "k": 4}
    return {**_pointnet(), "projection.safetensors": _weights(PointHead(1024), recipe)}


@cache
def _official(segmenter: bool) -> Files:
    import torch

    from crosspoint.models import DGCNN, DGCNNSegmenter
    from crosspoint.models.official import BACKBONE_LAYERS, DGCNN_LAYERS, HEAD_LAYERS, STATISTICS, _layer_names

    torch.manual_seed(0)
    if segmenter:
        model: Any = DGCNNSegmenter(4, 2, k=3)
        layers = {f"backbone.{ours}": theirs for ours, theirs in BACKBONE_LAYERS.items()} | HEAD_LAYERS
        single = {"classify.weight": "conv11.weight"}
        for name in ("linear1.weight", "linear2.weight", "transform.weight", "transform.bias"):
            single[f"backbone.transform.{name}"] = f"transform_net.{name}"
        for ours, theirs in (("norm1", "bn3"), ("norm2", "bn4")):
            for entry in STATISTICS:
                single[f"backbone.transform.{ours}.{entry}"] = f"transform_net.{theirs}.{entry}"
    else:
        model, layers, single = DGCNN(3), DGCNN_LAYERS, {}
    names = single | _layer_names(model, layers)
    state = {f"module.{names[name]}": value for name, value in model.state_dict().items()}
    state = {name: value[..., None] if name.endswith("conv11.weight") else value for name, value in state.items()}
    return {"official.pth": to_bytes(lambda file: torch.save(state, file))}


def _official_attacks() -> dict[str, Files]:
    import pickle

    import torch

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (Path("/tmp/crosspoint-fuzz-executed"),)

    state = torch.load(io.BytesIO(_official(True)["official.pth"]), weights_only=True)  # type: ignore[arg-type]
    huge = torch.zeros(1).expand(10**9, 128, 1)
    wide = torch.zeros(1).expand(64, 10**9, 1)
    contents: dict[str, bytes | str] = {
        "a billion parts of one number": to_bytes(lambda f: torch.save({**state, "module.conv11.weight": huge}, f)),
        "a billion categories": to_bytes(lambda f: torch.save({**state, "module.conv7.0.weight": wide}, f)),
        "a scalar": to_bytes(lambda f: torch.save({**state, "module.conv11.weight": torch.zeros(())}, f)),
        "names are numbers": to_bytes(lambda f: torch.save({1: torch.zeros(3)}, f)),
        "a pickle that runs": pickle.dumps(Evil()),
        "an archive that unpacks to much": _torch_bomb(),
        "a pipe": "pipe",
        "a device": "link /dev/zero",
    }
    return {name: {"official.pth": content} for name, content in contents.items()}


@cache
def _torch_bomb() -> bytes:
    """An archive of `torch.save` with a compressed storage of 400 MB in 400 kB."""
    import torch

    whole = to_bytes(lambda f: torch.save({"conv1.0.weight": torch.zeros(100_000_000)}, f))
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return packed.getvalue()


def _read_official(root: Path) -> None:
    from crosspoint.models.official import import_official

    import_official(root / "official.pth", 3, out=root / "out.safetensors")
    assert not Path("/tmp/crosspoint-fuzz-executed").exists()


# Runs


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
        "an archive that unpacks to much": _torch_bomb(),
        "a pipe": "pipe",
        "a device": "link /dev/zero",
        "a folder": "folder",
    }
    return {name: {"step-00000003.pt": content} for name, content in contents.items()}


METRICS = b"".join(json.dumps({"step": step, "loss": 1 / step, "spread": 0.5}).encode() + b"\n" for step in range(1, 5))


@cache
def _run(kind: str) -> Files:
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


# Embeddings


@cache
def _embeddings(suffix: str) -> Files:
    from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, save

    about = FileAbout("dgcnn", 16, at_most=False, seed=0, base="/data")
    vectors = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    made_ = Embeddings(vectors, [f"c/{i}.ply" for i in range(5)], "0" * 64, about)
    return folder(lambda root: save(root / f"embeddings{suffix}", made_))


def _read_embeddings(suffix: str, root: Path) -> None:
    from crosspoint.runtime.jobs.embeddings import FileAbout, PartAbout, load

    found = load(root / f"embeddings{suffix}")
    assert found.vectors.dtype == np.float32
    assert found.vectors.ndim == 2
    assert len(found.names) == len(found.vectors)
    assert all(isinstance(name, str) for name in found.names)
    assert isinstance(found.about, FileAbout | PartAbout)


def _search(suffix: str, root: Path) -> None:
    from crosspoint.runtime.jobs.search import SearchOptions, search

    found = search("c/1.ply", root / f"embeddings{suffix}", options=SearchOptions(2))
    assert all(np.isfinite(row.distance) for row in found.results)
    json.dumps(found.to_json()).encode()


def _seal_embeddings(files: Files) -> Files:
    """With the right checksums in files of embeddings."""
    return {name: _sealed(name, content) for name, content in files.items()}


def _sealed(name: str, content: bytes | str) -> bytes | str:
    from crosspoint.runtime.jobs.embeddings import CHECKSUM, KEY, ZEROS

    if isinstance(content, str) or not name.endswith((".npz", ".parquet")):
        return content
    if CHECKSUM not in content and name.endswith(".npz"):
        memory = io.BytesIO(content)
        with zipfile.ZipFile(memory, "a") as archive:
            archive.comment = CHECKSUM + ZEROS
        content = memory.getvalue()
    elif CHECKSUM not in content:
        from pyarrow import parquet

        table = parquet.read_table(io.BytesIO(content))
        metadata = {**(table.schema.metadata or {}), KEY + b".checksum": CHECKSUM + ZEROS}
        content = to_bytes(lambda file: parquet.write_table(table.replace_schema_metadata(metadata), file))
    at = content.rindex(CHECKSUM) + len(CHECKSUM)
    blank = content[:at] + ZEROS + content[at + len(ZEROS) :]
    return blank[:at] + hashlib.sha256(blank).hexdigest().encode() + blank[at + len(ZEROS) :]


def _seal_bundle(files: Files) -> Files:
    """With a manifest that lists the files as they are."""
    manifest = json.loads(files["manifest.json"])
    for name, content in files.items():
        if name in manifest["files"] and isinstance(content, bytes):
            manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {**files, "manifest.json": json.dumps(manifest).encode()}


@cache
def _job(form: str) -> Files:
    from crosspoint.runtime.jobs.embed import embed

    def make(root: Path) -> None:
        (root / "model.onnx").write_bytes(made.small_onnx())
        (root / "in").mkdir()
        for i, cloud in enumerate(CLOUDS[:3]):
            np.save(root / "in" / f"{i}.npy", cloud)
        embed(root / "model.onnx", [root / "in"], out=f"{root / 'job'}/", parts=PartOptions(size=2, form=form))

    return {name.removeprefix("job/"): content for name, content in folder(make).items() if name != "model.onnx"}


def _read_job(root: Path) -> None:
    from crosspoint.data.sources import find_sources
    from crosspoint.runtime.jobs import parts
    from crosspoint.runtime.jobs.search import SearchOptions, search

    plan = parts.read_plan(root)
    parts.kept(plan, root, sources=find_sources([root / "in"], None, seed=0), indices=range(min(plan.count, 2)))
    assert sum(len(part.names) for part in parts.load_parts(root)) <= plan.sources
    search("0.npy", root, options=SearchOptions(2))


# Bundles


def _read_manifest(root: Path) -> None:
    from crosspoint.runtime.manifest import load_manifest, verify_files

    manifest = load_manifest(root)
    verify_files(manifest)


def _read_bundle(root: Path) -> None:
    from crosspoint.core.errors import CrosspointError
    from crosspoint.export.engine.on_device import build_on_device
    from crosspoint.runtime.bench.bench import _backends
    from crosspoint.runtime.load import load_encoder

    _backends(root)
    with contextlib.suppress(CrosspointError):  # there is no GPU, and this is no such bundle
        build_on_device(root)
    with load_encoder(root, threads=1) as encoder:
        assert encoder.embed(CLOUDS[:2]).shape == (2, encoder.specification.dim)


@cache
def _reference() -> Files:
    def make(root: Path) -> None:
        from crosspoint.export.engine.on_device import write_reference
        from crosspoint.parity.clouds import CloudSet

        write_reference(root / "reference.npz", [CloudSet("usual", {"points": CLOUDS}, np.ones((6, 4)))])

    return folder(make)


def _read_reference(root: Path) -> None:
    from crosspoint.export.engine.on_device import read_reference

    for clouds in read_reference(root / "reference.npz"):
        assert clouds.inputs["points"].ndim == 3
        assert len(clouds.inputs["points"]) == len(clouds.own_graphs)


# Results


@cache
def _results() -> Files:
    """A folder as the quickstart leaves it, its results made by the commands."""
    from click.testing import CliRunner

    from crosspoint.cli import crosspoint
    from crosspoint.runtime.jobs.embed import embed

    def make(root: Path) -> None:
        model, data = root / "model.onnx", place(made.modelnet(), root / "set")
        model.write_bytes(made.small_onnx())
        small = ("--data", data, "--points", 16)
        for kind, line in {
            "svm": ("eval", "svm", model, *small, "--seeds", 1),
            "fewshot": ("eval", "fewshot", model, *small, "--ways", 2, "--shots", 1, "--queries", 1),
            "robustness": ("eval", "robustness", model, *small, "--corruption", "rotation"),
            "bench": ("bench", model, "--points", 16, "--batch", 2, "--threads", 1, "--seconds", 0, "--device", "cpu"),
        }.items():
            words = [str(word) for word in (*line, "--json", root / f"{kind}.json")]
            done = CliRunner().invoke(crosspoint, words)
            assert done.exit_code == 0, done.output
        embed(model, [data], out=root / "embeddings.npz", sampling=Sampling(16))
        model.unlink()
        place(_run("pretrain"), root / "run")
        place(made.bundle(), root / "bundle")
        steps = [{"name": "train", "seconds": 3.0, "status": "ran"}]
        summary = {"schema": "crosspoint.quickstart/1", "seed": 4, "accuracy": {}, "steps": steps}
        (root / "quickstart.json").write_text(json.dumps(summary))
        place(made.parts(), root / "parts")

    return folder(make)


def _read_report(root: Path) -> None:
    from crosspoint.report.page import report

    result = report(root)
    assert all(map(is_line, result.remarks)), result.remarks
    (root / "report.html").read_text(encoding="utf-8")


SPECIFICATION = ("dgcnn", 8, None, None, "fp32", "onnxruntime", "cpu", "0" * 64, "model.onnx")


@cache
def _cache() -> Files:
    from crosspoint.eval.cache import cached
    from crosspoint.runtime.specification import Specification

    features = np.ones((6, 8), np.float32)
    return folder(lambda root: cached(root, Specification(*SPECIFICATION), clouds=CLOUDS, compute=lambda: features))


def _read_cache(root: Path) -> None:
    from crosspoint.eval.cache import cached
    from crosspoint.runtime.specification import Specification

    features = np.ones((6, 8), np.float32)
    assert (cached(root, Specification(*SPECIFICATION), clouds=CLOUDS, compute=lambda: features) == 1).all()


def _registry() -> Files:
    from crosspoint.runtime.released import FOLDER, REGISTRY

    return {REGISTRY: (FOLDER / REGISTRY).read_bytes()}


def _read_registry(root: Path) -> None:
    from crosspoint.runtime import released as named

    usual, named.FOLDER = named.FOLDER, root
    try:
        for name in named.releases():
            named.find_release(name)
        named.find_hash("0" * 64)
        named.names()
        named.resolve("dgcnn", ".onnx")
    except named.InputError as error:
        if "is missing or is not the released file" not in str(error):  # the models do not lie beside this registry
            raise
    finally:
        named.FOLDER = usual


def _write_json(root: Path) -> None:
    """Whatever JSON can hold is written and is the same when it is read, or is refused in one line."""
    from crosspoint.core.files import write_json
    from crosspoint.core.reading import read_json

    value = read_json(root / "value.json", "JSON")
    write_json(root / "out.json", value)
    assert repr(read_json(root / "out.json", "JSON")) == repr(value)
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


def _json() -> Files:
    value = {"name": "añ", "numbers": [1, 2.5, -3], "none": None, "inner": {"true": True, "text": "x\ny"}}
    return {"value.json": json.dumps(value).encode()}


METRIC_LINES: dict[str, bytes | str] = {"no step": b"{}\n", "a list": b"[1]\n", "a text": b'{"step": "x"}\n'}
OVERRIDES = (
    b"clean\nk=4\nepochs=3",
    b"partseg\nk=4\nstretch=1.5",
    b"rfs\nepochs=3\nlearning_rate=0.1",
    b"quick\ncrop=true\nbackbone=pointnet",
)


def _starts(kind: str) -> Target:
    """The target of a run's folder."""
    make = partial(_run, kind)
    name = "run" if kind == "pretrain" else "partseg-run"
    return Target(name, lambda: [make()], partial(_read_run, kind), _instead(make, "config.json", NO_JSON))


def _of_embeddings(suffix: str) -> tuple[Target, Target]:
    """The targets of a file of embeddings."""

    def seeds() -> list[Files]:
        return [_embeddings(suffix)]

    return (
        Target(f"embeddings{suffix}", seeds, partial(_read_embeddings, suffix), seal=_seal_embeddings),
        Target(f"search{suffix}", seeds, partial(_search, suffix), seal=_seal_embeddings),
    )


def _reports() -> list[Files]:
    """Results, and once in eight cases with the embeddings, whose map takes long to draw."""
    whole = _results()
    return [whole] + 7 * [{name: content for name, content in whole.items() if name != "embeddings.npz"}]


ARTEFACTS = (
    Target("weights", lambda: [_pointnet(), _head()], _read_weights, _weight_attacks),
    Target("weights-embed", lambda: [_pointnet()], _embed_with_weights, _weight_attacks),
    Target("weights-export", lambda: [_with_head()], _export_source, _weight_attacks),
    Target("official", lambda: [_official(False), _official(True)], _read_official, _official_attacks),
    Target("checkpoint", lambda: [_checkpoint()], _read_checkpoint, _checkpoint_attacks),
    _starts("pretrain"),
    _starts("partseg"),
    Target("recipes", lambda: [{"overrides.txt": text} for text in OVERRIDES], _recipe, _recipe_attacks),
    Target(
        "metrics",
        lambda: [{"metrics.jsonl": METRICS}],
        _read_metrics,
        _instead(dict, "metrics.jsonl", NO_JSON | METRIC_LINES),
    ),
    *_of_embeddings(".npz"),
    *_of_embeddings(".parquet"),
    Target(
        "job-parquet",
        lambda: [_job("parquet")],
        _read_job,
        _instead(partial(_job, "parquet"), "job.json", NO_JSON),
        seal=_seal_embeddings,
    ),
    Target("job-npz", lambda: [_job("npz")], _read_job, seal=_seal_embeddings),
    Target("manifest", lambda: [made.bundle()], _read_manifest, _instead(made.bundle, "manifest.json", NO_JSON)),
    Target("bundle", lambda: [made.bundle()], _read_bundle, program=True, seal=_seal_bundle),
    Target("reference", lambda: [_reference()], _read_reference),
    Target("report", _reports, _read_report, _instead(_results, "svm.json", NO_JSON)),
    Target("cache", lambda: [_cache()], _read_cache),
    Target("registry", lambda: [_registry()], _read_registry, _instead(_registry, "registry.json", NO_JSON)),
    Target("write-json", lambda: [_json()], _write_json),
)
