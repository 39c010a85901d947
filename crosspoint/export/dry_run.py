"""`crosspoint export --trt --dry-run`: the command lines of other tools that build and check the same engine."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.export.bundle import check_options
from crosspoint.export.engine.engine import ONNX, PLAN
from crosspoint.export.options import ExportOptions
from crosspoint.export.trained import read_trained, trained_weights
from crosspoint.runtime.profile import Profile, Range, Shape, make_profile

PARITY = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2, "int8": 0.25}  # relative L2 of a cloud, as in the gate


@dataclass(frozen=True)
class EquivalentCommands:
    """Command lines that do what the export does.

    Attributes:
        export: Of this package, without the dry run: it writes the ONNX file that the others read.
        trtexec: Builds the engine.
        polygraphy: Builds the same engine.
        compare: Compares that engine's network with ONNX Runtime.
    """

    export: str
    trtexec: str
    polygraphy: str
    compare: str


def equivalent_commands(
    model: Path,
    out: Path,
    *,
    precision: str = "fp32",
    batch: str | int | Range = (1, 8, 32),
    points: str | int | Range | None = 1024,
    options: ExportOptions = ExportOptions(),
) -> EquivalentCommands:
    """The command lines, with shapes. Nothing is written; the model is read, because its inputs decide the shapes.

    Args:
        model: As for `export`.
        out: As for `export`.
        precision: As for `export`. It is in the ONNX file, so that no flag of the other tools names it.
        batch: As for `export`.
        points: As for `export`.
        options: As for `export`.

    Raises:
        InputError: As `export` for its options, or the builder has no equivalent.
    """
    profile = make_profile(batch, points)
    check_options(profile, options, trt=True)
    source = read_trained(trained_weights(model), k=options.k)
    if options.builder == "rtx" or options.target:
        raise InputError(
            "trtexec and polygraphy build with TensorRT, not with TensorRT-RTX; leave --builder rtx and --target out"
        )
    shapes = {"points": profile.shapes("points", 3)}
    if "categories" in source.config:
        shapes["category"] = profile.shapes("category", int(source.config["categories"]))
    return EquivalentCommands(
        _export(model, out, precision, profile, options),
        _trtexec(out, shapes, options),
        _convert(out, shapes, options),
        _compare(out, shapes, PARITY[precision], options),
    )


def _export(model: Path, out: Path, precision: str, profile: Profile, options: ExportOptions) -> str:
    batch = ":".join(map(str, profile.batch))
    points = ":".join(map(str, profile.points or ()))
    words = ["crosspoint", "export", str(model), "--out", str(out), "--precision", precision]
    words += ["--batch", batch, "--points", points]
    words += ["--k", str(options.k)] if options.k is not None else []
    return shlex.join([*words, *(["--projection"] if options.projection else [])])


def _trtexec(out: Path, shapes: dict[str, tuple[Shape, Shape, Shape]], options: ExportOptions) -> str:
    words = ["trtexec", f"--onnx={Path(out) / ONNX}", f"--saveEngine={Path(out) / PLAN}", "--stronglyTyped"]
    words += [] if options.build.tf32 else ["--noTF32"]
    for position, name in enumerate(("min", "opt", "max")):
        named = (f"{value}:{'x'.join(map(str, sizes[position]))}" for value, sizes in shapes.items())
        words.append(f"--{name}Shapes={','.join(named)}")
    if options.build.workspace is not None:
        words.append(f"--memPoolSize=workspace:{options.build.workspace}")  # MiB
    if options.build.timing_cache is not None:
        words.append(f"--timingCacheFile={options.build.timing_cache}")
    return shlex.join([*words, "--skipInference"])


def _polygraphy_shapes(shapes: dict[str, tuple[Shape, Shape, Shape]]) -> list[str]:
    words = []
    for position, name in enumerate(("min", "opt", "max")):
        named = (f"{value}:[{','.join(map(str, sizes[position]))}]" for value, sizes in shapes.items())
        words += [f"--trt-{name}-shapes", *named]
    return words


def _polygraphy_build(options: ExportOptions) -> list[str]:
    words = ["--strongly-typed"]
    words += ["--tf32"] if options.build.tf32 else []
    if options.build.workspace is not None:
        words += ["--pool-limit", f"workspace:{options.build.workspace}M"]
    if options.build.timing_cache is not None:
        words += ["--load-timing-cache", str(options.build.timing_cache)]
    return words


def _convert(out: Path, shapes: dict[str, tuple[Shape, Shape, Shape]], options: ExportOptions) -> str:
    words = ["polygraphy", "convert", str(Path(out) / ONNX), "--convert-to", "trt", "--output", str(Path(out) / PLAN)]
    return shlex.join([*words, *_polygraphy_build(options), *_polygraphy_shapes(shapes)])


def _compare(out: Path, shapes: dict[str, tuple[Shape, Shape, Shape]], limit: float, options: ExportOptions) -> str:
    usual = (f"{name}:[{','.join(map(str, sizes[1]))}]" for name, sizes in shapes.items())
    words = ["polygraphy", "run", str(Path(out) / ONNX), "--onnxrt", "--trt", *_polygraphy_build(options)]
    words += [*_polygraphy_shapes(shapes), "--input-shapes", *usual]
    return shlex.join([*words, "--check-error-stat", "mean", "--rtol", f"{limit:g}", "--atol", f"{limit:g}"])
