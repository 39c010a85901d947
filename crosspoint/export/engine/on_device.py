"""Building a bundle's engine on the device that it is for: `sh BUNDLE/build_on_device.sh`.

The export leaves in the bundle what this takes: the ONNX file, how to build from it, and clouds with what the trained
network gives for them. Neither torch nor onnx is needed: numpy, TensorRT and cuda-python are.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint import __version__
from crosspoint.core.arrays import Npz
from crosspoint.core.errors import CheckFailed, CrosspointError, InputError, MissingDependency
from crosspoint.core.files import atomic_folder, write_json, writing
from crosspoint.core.outputs import check_replaceable
from crosspoint.core.reading import read_bytes, reading
from crosspoint.export.engine.builder import Builder, Options, absence, find_builder
from crosspoint.export.engine.engine import PLAN, add_engine, check_ours, check_timing_cache, file_entry
from crosspoint.parity.clouds import CloudSet
from crosspoint.runtime.backends.cuda import compute_capability, device_count
from crosspoint.runtime.manifest import AGAIN, NAME, SCRIPT, Manifest, read_manifest, sign_bundle
from crosspoint.runtime.profile import Profile
from crosspoint.runtime.signing import SET, SigningKey, VerifyKeys, find_verify_keys, read_signing_key

REFERENCE = "reference.npz"
TEXT = """\
#!/bin/sh
# Builds this bundle's TensorRT engine on the machine that it lies on, runs it there, and compares it with the trained
# network. The bundle gains encoder.plan if it passes, and stays as it is if it does not (exit code 1).
# PYTHON names the interpreter; for the options: python -m crosspoint build --help
set -eu
bundle=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
"$python" -c 'import crosspoint' 2>/dev/null || {
    echo "crosspoint: $python lacks the package: pip install 'crosspoint3d>=VERSION' cuda-python" >&2
    exit 2
}
exec "$python" -m crosspoint build "$bundle" "$@"
"""


def add_build_script(
    folder: Path, manifest: dict[str, Any], *, options: Options, clouds: Sequence[CloudSet]
) -> dict[str, Any]:
    """Put into a bundle what building its engine elsewhere takes.

    Args:
        folder: The bundle, with its ONNX file; script, clouds and manifest are written into it.
        manifest: Without an engine.
        options: How the engine is to be built.
        clouds: With what the trained network gives for them.

    Returns:
        The manifest, which lists the files and has the options under `on_device`.
    """
    (folder / SCRIPT).write_text(TEXT.replace("VERSION", __version__))
    (folder / SCRIPT).chmod(0o755)
    write_reference(folder / REFERENCE, clouds)
    asked = {"tf32": options.tf32, "workspace": options.workspace}
    files = {**manifest["files"], **{name: file_entry(folder / name) for name in (REFERENCE, SCRIPT)}}
    manifest = {**manifest, "files": dict(sorted(files.items())), "on_device": asked}
    write_json(folder / NAME, manifest)
    return manifest


def write_reference(path: Path, clouds: Sequence[CloudSet]) -> None:
    """Write clouds and the network's float64 output; those whose neighbours are a matter of choice are left out."""
    arrays: dict[str, Any] = {}
    for one in clouds:
        if one.own_graphs is not None:
            arrays |= {f"{one.name}/{name}": array for name, array in one.inputs.items()}
            arrays[f"{one.name}/output"] = one.own_graphs
    with writing(path):
        np.savez_compressed(path, **arrays)


def read_reference(path: Path) -> list[CloudSet]:
    """What `write_reference` wrote.

    Raises:
        InputError: The file is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    content = read_bytes(path)
    with reading(path, "the reference of a bundle", advice=AGAIN):
        archive = Npz(content)
        for key in archive.names:
            name, _, part = key.rpartition("/")
            found.setdefault(name, {})[part] = array = archive[key]
            if array.dtype.kind != "f" or array.ndim < 1 or (part == "points" and array.shape[2:] != (3,)):
                raise InputError(f"{key} holds {array.dtype} {array.shape}, no clouds or their outputs; {AGAIN}")
        for parts in found.values():
            if not {"points", "output"} <= set(parts) or len({len(array) for array in parts.values()}) > 1:
                raise InputError(f"its clouds and their outputs are not as many; {AGAIN}")
        return [CloudSet(name, parts, parts.pop("output")) for name, parts in found.items()]


def build_on_device(
    bundle: Path, timing_cache: Path | None = None, *, workspace: int | None = None, sign: Path | None = None
) -> dict[str, Any]:
    """Build the engine of a bundle for this machine's GPU, run it, and replace the bundle by one that holds it.

    Args:
        bundle: From `crosspoint export --trt --builder device`.
        timing_cache: File of kernel timings to use and to add to.
        workspace: Most GPU memory in MiB that a layer may take; None for what the export said.
        sign: Private key to sign the result with, which the signature of the export does not cover.

    Returns:
        The manifest.

    Raises:
        InputError: The bundle is damaged, another kind or not signed with a key that is set, `sign` is none of these
            keys, or there is no GPU.
        MissingDependency: TensorRT or cuda-python is not installed.
        CheckFailed: The build failed, or the engine computes something else; the bundle is as it was.
    """
    bundle = Path(bundle).resolve()  # a link to it stays
    check_replaceable(bundle, check_ours, option="the bundle")
    if timing_cache is not None:
        check_timing_cache(timing_cache, bundle)
    keys = find_verify_keys()
    listed = read_manifest(bundle, keys)
    key = _signing_key(sign, keys)
    if REFERENCE not in listed.files or "on_device" not in listed.values:
        raise InputError(f"{bundle} was not exported for this; export it with --trt --builder device")
    if listed.batch is None or listed.points is None:
        raise InputError(f"{bundle} has no bounds for its shapes; export it with --points min:opt:max")
    options = replace(_asked(listed), timing_cache=timing_cache)
    options = replace(options, workspace=workspace or options.workspace)
    with atomic_folder(bundle, check_ours) as folder:
        _copy(listed, folder)
        builder, clouds = _builder(), read_reference(folder / REFERENCE)
        profile = Profile(listed.batch, listed.points)
        manifest = add_engine(
            folder, {**listed.values, "engine": None}, builder=builder, options=options, profile=profile, clouds=clouds
        )
        _require_executed(manifest)
        if key is not None:
            sign_bundle(folder, key)
    return manifest


def _signing_key(sign: Path | None, keys: VerifyKeys | None) -> SigningKey | None:
    """What the result is signed with: where keys are set, one of them, or the result could not be opened."""
    key = None if sign is None else read_signing_key(sign)
    if keys is not None and (key is None or key.fingerprint not in keys.by_fingerprint):
        raise InputError(
            f"a new engine ends the bundle's signature, and {SET}: the result could not be opened. Give --sign with a "
            "key of this device (crosspoint keygen --out KEY), and set KEY.pub beside the public key that is set"
        )
    return key


def _asked(listed: Manifest) -> Options:
    """How the export said that the engine is to be built."""
    match listed.values["on_device"]:
        case {"tf32": bool(tf32), "workspace": None}:
            return Options(tf32)
        case {"tf32": bool(tf32), "workspace": int(workspace)} if workspace > 0:
            return Options(tf32, workspace)
        case values:
            raise InputError(f"{listed.folder / NAME} is damaged (on_device is {values!r}); {AGAIN}")


def _copy(listed: Manifest, folder: Path) -> None:
    """Copy a bundle without its engine: the very bytes that were compared with the manifest."""
    for name in listed.files:
        if name != PLAN:
            (folder / name).write_bytes(listed.read(listed.folder / name))
            shutil.copymode(listed.folder / name, folder / name)


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
