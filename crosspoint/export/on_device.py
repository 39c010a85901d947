"""Building a bundle's engine on the device that it is for: `sh BUNDLE/build_on_device.sh`.

The export leaves in the bundle what this takes: the ONNX file, how to build from it, and clouds with what the trained
network gives for them. Neither torch nor onnx is needed: numpy, TensorRT and cuda-python are.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint import __version__
from crosspoint.core.arrays import Npz
from crosspoint.core.files import atomic_folder, write_json, writing
from crosspoint.core.outputs import check_replaceable
from crosspoint.core.reading import read_bytes, read_json, reading
from crosspoint.errors import CheckFailed, CrosspointError, InputError, MissingDependency
from crosspoint.export.engine import PLAN, add_engine, check_ours, check_timing_cache, file_entry
from crosspoint.export.gate import Clouds
from crosspoint.export.profile import Profile
from crosspoint.export.tensorrt import Builder, Options, absence, find_builder
from crosspoint.runtime.cuda import compute_capability, device_count
from crosspoint.runtime.manifest import NAME, SCRIPT, load_manifest, verify_files

REFERENCE = "reference.npz"
AGAIN = "copy the bundle again, or export the model again"
TEXT = """\
#!/bin/sh
# Builds this bundle's TensorRT engine on the machine that it lies on, runs it there, and compares it with the trained
# network. The bundle gains encoder.plan if it passes, and stays as it is if it does not (exit code 1).
# PYTHON names the interpreter; options: --timing-cache FILE, --workspace MIB, --json FILE.
set -eu
bundle=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
"$python" -c 'import crosspoint' || {
    echo "crosspoint: $python lacks the package: pip install 'crosspoint3d>=VERSION' cuda-python" >&2
    exit 2
}
exec "$python" -m crosspoint build "$bundle" "$@"
"""


def add_build_script(
    folder: Path, manifest: dict[str, Any], options: Options, prepared: list[Clouds]
) -> dict[str, Any]:
    """Put into a bundle what building its engine elsewhere takes.

    Args:
        folder: The bundle, with its ONNX file; script, clouds and manifest are written into it.
        manifest: Without an engine.
        options: How the engine is to be built.
        prepared: Clouds, and what the trained network gives for them.

    Returns:
        The manifest, which lists the files and has the options under `on_device`.
    """
    (folder / SCRIPT).write_text(TEXT.replace("VERSION", __version__))
    (folder / SCRIPT).chmod(0o755)
    write_reference(folder / REFERENCE, prepared)
    asked = {"tf32": options.tf32, "workspace": options.workspace}
    files = {**manifest["files"], **{name: file_entry(folder / name) for name in (REFERENCE, SCRIPT)}}
    manifest = {**manifest, "files": dict(sorted(files.items())), "on_device": asked}
    write_json(folder / NAME, manifest)
    return manifest


def write_reference(path: Path, prepared: list[Clouds]) -> None:
    """Write clouds and the network's float64 output; those whose neighbours are a matter of choice are left out."""
    arrays: dict[str, Any] = {}
    for clouds in prepared:
        if clouds.own_graphs is not None:
            arrays |= {f"{clouds.name}/{name}": array for name, array in clouds.inputs.items()}
            arrays[f"{clouds.name}/output"] = clouds.own_graphs
    with writing(path):
        np.savez_compressed(path, **arrays)


def read_reference(path: Path) -> list[Clouds]:
    """What `write_reference` wrote.

    Raises:
        InputError: The file is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    content = read_bytes(path)
    with reading(path, "the reference of a bundle", AGAIN):
        archive = Npz(content)
        for key in archive.names:
            name, _, part = key.rpartition("/")
            found.setdefault(name, {})[part] = array = archive[key]
            if array.dtype.kind != "f" or array.ndim < 1 or (part == "points" and array.shape[2:] != (3,)):
                raise InputError(f"{key} holds {array.dtype} {array.shape}, no clouds or their outputs; {AGAIN}")
        for parts in found.values():
            if not {"points", "output"} <= set(parts) or len({len(array) for array in parts.values()}) > 1:
                raise InputError(f"its clouds and their outputs are not as many; {AGAIN}")
        return [Clouds(name, parts, parts.pop("output")) for name, parts in found.items()]


def build_on_device(bundle: Path, timing_cache: Path | None = None, workspace: int | None = None) -> dict[str, Any]:
    """Build the engine of a bundle for this machine's GPU, run it, and replace the bundle by one that holds it.

    Args:
        bundle: From `crosspoint export --trt --builder device`.
        timing_cache: File of kernel timings to use and to add to.
        workspace: Most GPU memory in MiB that a layer may take; None for what the export said.

    Returns:
        The manifest.

    Raises:
        InputError: The bundle is damaged or another kind, or there is no GPU.
        MissingDependency: TensorRT or cuda-python is not installed.
        CheckFailed: The build failed, or the engine computes something else; the bundle is as it was.
    """
    bundle = Path(bundle).resolve()  # a link to it stays
    check_replaceable(bundle, check_ours, "the bundle")
    if timing_cache is not None:
        check_timing_cache(timing_cache, bundle)
    listed = load_manifest(bundle)
    verify_files(listed, sorted(set(listed.files) - {PLAN}))
    manifest = read_json(bundle / NAME, "a manifest", AGAIN)
    if REFERENCE not in listed.files or not isinstance(manifest.get("on_device"), dict):
        raise InputError(f"{bundle} was not exported for this; export it with --trt --builder device")
    if listed.batch is None or listed.points is None:
        raise InputError(f"{bundle} has no bounds for its shapes; export it with --points min:opt:max")
    builder = _builder()
    options = replace(_asked(bundle, manifest["on_device"]), timing_cache=timing_cache)
    options = replace(options, workspace=workspace or options.workspace)
    profile, prepared = Profile(listed.batch, listed.points), read_reference(bundle / REFERENCE)
    with atomic_folder(bundle, check_ours) as folder:
        for name in listed.files:
            if name != PLAN:
                shutil.copy2(bundle / name, folder / name)
        manifest = add_engine(folder, {**manifest, "engine": None}, builder, options, profile, prepared)
        _require_executed(manifest)
    return manifest


def _asked(bundle: Path, values: Any) -> Options:
    """The options that the export was given."""
    match values:
        case {"tf32": bool(tf32), "workspace": None}:
            return Options(tf32)
        case {"tf32": bool(tf32), "workspace": int(workspace)} if workspace > 0:
            return Options(tf32, workspace)
    raise InputError(f"{bundle / NAME} is damaged (on_device is {values!r}); export the model again")


def _builder() -> Builder:
    """TensorRT, or else TensorRT-RTX for the GPU that is here."""
    try:
        device_count()
    except InputError as error:
        raise InputError(
            f"{error}. An engine is built where a GPU is; on a Jetson, cuda-python has to be of JetPack's own CUDA: "
            "pip install 'cuda-python<13' for JetPack 6"
        ) from error
    gpu = compute_capability(0)
    try:
        return find_builder((gpu,), "tensorrt")
    except MissingDependency:
        pass
    try:
        return find_builder((gpu,), "rtx")
    except CrosspointError as error:
        raise MissingDependency(
            f"{absence('tensorrt')} for {sys.executable} ({error}); on a Jetson it comes with JetPack (apt install "
            "python3-libnvinfer) and is seen by a venv made with --system-site-packages"
        ) from error


def _require_executed(manifest: dict[str, Any]) -> None:
    if not manifest["engine"]["executed"]:
        raise CheckFailed("the engine was built and did not run here; nothing was written")
