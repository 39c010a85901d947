"""Targets: bundles, their manifests, and the outputs that an engine is compared with."""

import contextlib
import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np

from fuzzer import made
from fuzzer.attacks import NO_JSON, instead
from fuzzer.cases import Files, Target
from fuzzer.made import CLOUDS, folder


def _seal_bundle(files: Files) -> Files:
    """With a manifest that lists the files as they are."""
    manifest = json.loads(files["manifest.json"])
    for name, content in files.items():
        if name in manifest["files"] and isinstance(content, bytes):
            manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {**files, "manifest.json": json.dumps(manifest).encode()}


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


BUNDLES = (
    Target("manifest", lambda: [made.bundle()], _read_manifest, instead(made.bundle, "manifest.json", NO_JSON)),
    Target("bundle", lambda: [made.bundle()], _read_bundle, program=True, seal=_seal_bundle),
    Target("reference", lambda: [_reference()], _read_reference),
)
