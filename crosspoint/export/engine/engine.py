"""Adds an engine to a bundle: builds it from the ONNX file, describes it in the manifest, runs it through the gate.

Nothing here needs torch or onnx, so that an edge device can run the same build and the same comparison.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.files import sha256, write_json
from crosspoint.core.outputs import check_folder, check_known, check_place, is_schema
from crosspoint.core.reading import read_json
from crosspoint.export.engine.builder import Builder, BuiltEngine, Options, build_engine
from crosspoint.export.manifest import BundleManifest, EngineEntry
from crosspoint.parity.clouds import CloudSet
from crosspoint.parity.gate import ODD, Gate
from crosspoint.parity.scores import require_head
from crosspoint.runtime.backends.tensorrt import TensorRTEncoder
from crosspoint.runtime.classifier import HEAD_FILE, parse_classifier
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.manifest import NAME, FileEntry, read_manifest
from crosspoint.runtime.profile import Profile

ONNX, PLAN = "encoder.onnx", "encoder.plan"


def add_engine(
    folder: Path,
    manifest: BundleManifest,
    *,
    builder: Builder,
    options: Options,
    profile: Profile,
    clouds: Sequence[CloudSet],
) -> BundleManifest:
    """Build a bundle's engine, and run it if this machine's GPU can.

    Args:
        folder: The bundle, with its ONNX file; the engine and the manifest are written into it.
        manifest: The manifest, without an engine.
        builder: What builds it.
        options: Options of the build.
        profile: Shapes that the engine takes.
        clouds: Clouds with the outputs of the trained network.

    Returns:
        The manifest with the engine and the result of running it.

    Raises:
        CheckFailed: The build failed, the engine has another precision, or its outputs do not match.
    """
    engine = build_engine(builder, (folder / ONNX).read_bytes(), profile=profile, options=options)
    _require_precision(manifest.precision.asked, engine)
    (folder / PLAN).write_bytes(engine.plan)
    entry = _entry(builder, options, engine)
    manifest = replace(
        manifest,
        files={**manifest.files, PLAN: file_entry(folder / PLAN)},
        versions={**manifest.versions, builder.name: builder.module.__version__},
        engine=entry,
    )
    write_json(folder / NAME, manifest.to_json())
    if builder.executes:
        manifest = replace(manifest, engine=_executed(folder, manifest.precision.asked, entry, clouds, profile))
        write_json(folder / NAME, manifest.to_json())
    return manifest


def check_ours(folder: Path) -> None:
    """Raise InputError if a folder is not a bundle, or holds other files, so that it must not be replaced."""
    path = folder / NAME
    values = read_json(path, "a manifest") if path.is_file() else None
    files = values.get("files") if is_schema(values, "manifest") else None
    if not isinstance(files, dict):
        raise InputError(f"{folder} holds files that are not a bundle; give a new folder for --out")
    check_known(folder, {NAME, f"{path.stem}.sig", *files}.__contains__)


def check_timing_cache(file: Path, bundle: Path) -> None:
    """Raise InputError if a timing cache cannot be written, or lies in the bundle, which is replaced."""
    check_place(file, "--timing-cache")
    check_folder(file.parent, "--timing-cache")
    if bundle.resolve() in file.resolve().parents:
        raise InputError(f"--timing-cache {file} lies in the bundle, which is replaced; give a place outside")


def file_entry(path: Path) -> FileEntry:
    """The manifest's entry for a file."""
    return FileEntry(sha256(path), path.stat().st_size)


def _require_precision(asked: str, engine: BuiltEngine) -> None:
    """Raise CheckFailed unless TensorRT's own types are those that were asked for."""
    found = set(engine.precision.split("+"))
    if asked not in found or not found <= {asked, "fp32"}:
        raise CheckFailed(f"{asked} was asked for, but the engine computes in {engine.precision}; nothing was written")


def _entry(builder: Builder, options: Options, engine: BuiltEngine) -> EngineEntry:
    return EngineEntry(
        builder=builder.name,
        version=builder.module.__version__,
        targets=builder.targets,
        executed=False,
        status="built, not executed",
        note=builder.note,
        tf32=engine.tf32,
        workspace=options.workspace,
        timing_cache=options.timing_cache is not None,  # no path of this machine
        types=engine.types,
        skipped_tactics=engine.skipped,
        parity=None,
    )


def _executed(
    folder: Path, asked: str, entry: EngineEntry, clouds: Sequence[CloudSet], profile: Profile
) -> EngineEntry:
    """Run the engine of a bundle through the gate; returns its entry with the result."""
    low, usual, high = profile.batch
    sizes = sorted({size for size in (low, 2, ODD, usual, high) if low <= size <= high})
    with TensorRTEncoder(folder / PLAN, read_manifest(folder, None), device="cuda") as encoder:
        try:
            report = Gate(None, clouds).check(encoder, _tier(asked, entry.tf32), batches=sizes, name=PLAN)
            _require_head(folder, encoder)
        except CheckFailed as error:
            raise CheckFailed(f"{error}; nothing was written") from error
        candidate = f"{encoder.specification.backend} on {encoder.specification.device}"
    parity = replace(report, candidate=candidate).result()
    return replace(entry, executed=True, status="executed, passed the parity gate", parity=parity)


def _require_head(folder: Path, encoder: Encoder) -> None:
    """Compare a classifier's scores with its head in float64; nothing of a plain encoder."""
    manifest = read_manifest(folder, None)
    if manifest.classifier is not None:
        path = folder / HEAD_FILE
        classifier = parse_classifier(path, manifest.read(path), info=manifest.classifier)
        require_head(encoder, classifier, name=PLAN)


def _tier(asked: str, tf32: bool) -> str:
    """The precision whose limits apply to an engine. TF32 has 10 bits of mantissa, like fp16."""
    return "fp16" if asked == "fp32" and tf32 else asked
