"""Builds a bundle's engine on the device that will run it: `sh BUNDLE/build_on_device.sh`.

The bundle holds all that is needed: the ONNX file, the options of the build, and clouds with the outputs of the trained
network. The device needs numpy, TensorRT and cuda-python, and neither torch nor onnx.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crosspoint import __version__
from crosspoint.core.arrays import Npz, write_npz
from crosspoint.core.errors import CheckFailed, CrosspointError, InputError, MissingDependency
from crosspoint.core.files import atomic_folder, write_json, writing
from crosspoint.core.outputs import check_replaceable
from crosspoint.core.reading import read_bytes, reading
from crosspoint.export.engine.builder import Builder, Options, absence, find_builder
from crosspoint.export.engine.engine import PLAN, add_engine, check_ours, check_timing_cache, file_entry
from crosspoint.export.manifest import BundleManifest, OnDevice, parse_bundle_manifest
from crosspoint.parity.clouds import CloudSet
from crosspoint.parity.measures import Array
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
    echo "crosspoint: $python lacks the package: copy the wheel or the checkout of crosspoint3d VERSION here, then:" \
        "$python -m pip install WHEEL-OR-CHECKOUT cuda-python" >&2
    exit 2
}
exec "$python" -m crosspoint build "$bundle" "$@"
"""


def add_build_script(
    folder: Path, manifest: BundleManifest, *, options: Options, clouds: Sequence[CloudSet]
) -> BundleManifest:
    """Add the build script and its files to a bundle.

    Args:
        folder: The bundle, with its ONNX file; script, clouds and manifest are written to it.
        manifest: The manifest, without an engine.
        options: Options of the build on the device.
        clouds: Clouds with the outputs of the trained network.

    Returns:
        The manifest, which lists the files and has the options under `on_device`.
    """
    (folder / SCRIPT).write_text(TEXT.replace("VERSION", __version__))
    (folder / SCRIPT).chmod(0o755)
    write_reference(folder / REFERENCE, clouds)
    files = {**manifest.files, **{name: file_entry(folder / name) for name in (REFERENCE, SCRIPT)}}
    asked = OnDevice(options.tf32, options.workspace)
    manifest = replace(manifest, files=dict(sorted(files.items())), on_device=asked)
    write_json(folder / NAME, manifest.to_json())
    return manifest


def write_reference(path: Path, clouds: Sequence[CloudSet]) -> None:
    """Write clouds and the network's float64 outputs. Clouds with ties among neighbours are left out."""
    arrays: dict[str, Array] = {}
    for one in clouds:
        if one.own_graphs is not None:
            arrays |= {f"{one.name}/{name}": array for name, array in one.inputs.items()}
            arrays[f"{one.name}/output"] = one.own_graphs
    with writing(path):
        write_npz(path, arrays, compressed=True)


def read_reference(path: Path) -> list[CloudSet]:
    """Read a file that `write_reference` wrote.

    Raises:
        InputError: The file is damaged.
    """
    found: dict[str, dict[str, Array]] = {}
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
) -> BundleManifest:
    """Build the engine of a bundle for this machine's GPU, run it, and add it to the bundle.

    Args:
        bundle: A bundle of `crosspoint export --trt --builder device`.
        timing_cache: File of kernel timings to read and update.
        workspace: Largest GPU workspace of one layer, in MiB; None: as given to the export.
        sign: Private key to sign the result with; the signature of the export does not cover the engine.

    Returns:
        The manifest.

    Raises:
        InputError: The bundle is damaged, of another kind, or not signed with a key that is set; `sign` is none of
            these keys; or there is no GPU.
        MissingDependency: TensorRT or cuda-python is not installed.
        CheckFailed: The build failed, or the outputs do not match. The bundle is unchanged.
    """
    bundle = Path(bundle).resolve()  # a link to it stays
    check_replaceable(bundle, check_ours, option="the bundle")
    if timing_cache is not None:
        check_timing_cache(timing_cache, bundle)
    keys = find_verify_keys()
    listed = read_manifest(bundle, keys)
    key = _signing_key(sign, keys)
    manifest = parse_bundle_manifest(listed)
    if REFERENCE not in listed.files or manifest.on_device is None:
        raise InputError(f"{bundle} was not exported for this; export it with --trt --builder device")
    if listed.batch is None or listed.points is None:
        raise InputError(f"{bundle} has no bounds for its shapes; export it with --points min:opt:max")
    options = Options(manifest.on_device.tf32, workspace or manifest.on_device.workspace, timing_cache)
    with atomic_folder(bundle, check_ours) as folder:
        _copy(listed, folder)
        builder, clouds = _builder(), read_reference(folder / REFERENCE)
        profile = Profile(listed.batch, listed.points)
        manifest = add_engine(
            folder, replace(manifest, engine=None), builder=builder, options=options, profile=profile, clouds=clouds
        )
        if manifest.engine is None or not manifest.engine.executed:
            raise CheckFailed("the engine was built and did not run here; nothing was written")
        if key is not None:
            sign_bundle(folder, key)
    return manifest


def _signing_key(sign: Path | None, keys: VerifyKeys | None) -> SigningKey | None:
    """The key that signs the result. If public keys are set, it must belong to one of them."""
    key = None if sign is None else read_signing_key(sign)
    if keys is not None and (key is None or key.fingerprint not in keys.by_fingerprint):
        raise InputError(
            f"a new engine ends the bundle's signature, and {SET}: the result could not be opened. Give --sign with a "
            "key of this device (crosspoint keygen --out KEY), and set KEY.pub beside the public key that is set"
        )
    return key


def _copy(listed: Manifest, folder: Path) -> None:
    """Copy a bundle without its engine: exactly the bytes that were compared with the manifest."""
    for name in listed.files:
        if name != PLAN:
            (folder / name).write_bytes(listed.read(listed.folder / name))
            shutil.copymode(listed.folder / name, folder / name)


def _builder() -> Builder:
    """TensorRT, or else TensorRT-RTX, for this machine's GPU."""
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
