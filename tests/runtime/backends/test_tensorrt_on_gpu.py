"""Engines that are built and executed on a GPU."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from threads import run_threads

from crosspoint.core.errors import InputError
from crosspoint.runtime import load_encoder, load_manifest

Clouds = Callable[..., np.ndarray]


def rewrite(bundle: Path, path: Path) -> None:
    """Make the manifest agree with a changed file."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    content = path.read_bytes()
    manifest["files"][path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.gpu
def test_splits_and_pads_to_the_profile(gpu_bundle: Path, clouds: Clouds) -> None:
    with load_encoder(gpu_bundle, "cuda") as encoder:
        assert encoder.specification.backend == load_manifest(gpu_bundle).engine.builder
        for batch, points in ((1, 8), (2, 16), (3, 9), (4, 32), (9, 16)):
            np.testing.assert_allclose(
                encoder.embed(clouds(batch, points)), small.reference(clouds(batch, points)), rtol=1e-4, atol=1e-5
            )


@pytest.mark.gpu
def test_every_thread_gets_its_own_embeddings_on_a_gpu(gpu_bundle: Path, clouds: Clouds) -> None:
    with load_encoder(gpu_bundle, "cuda") as encoder:

        def embed(thread: int) -> None:
            for i in range(50):
                given = clouds(3, (8, 16, 32)[i % 3], seed=100 * thread + i)
                np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-4, atol=1e-5)

        run_threads(*(partial(embed, thread) for thread in range(8)))


@pytest.mark.gpu
def test_a_damaged_engine_with_a_matching_hash_is_explained(gpu_bundle: Path) -> None:
    path = gpu_bundle / "encoder.plan"
    path.write_bytes(path.read_bytes()[:1000])
    rewrite(gpu_bundle, path)
    with pytest.raises(InputError, match=r"does not load: it .*rebuild it here"):
        load_encoder(gpu_bundle, "cuda")


@pytest.mark.gpu
def test_manifest_and_specification_agree(gpu_bundle: Path) -> None:
    manifest = load_manifest(gpu_bundle)
    with load_encoder(gpu_bundle, "cuda") as encoder:
        assert encoder.specification.sha256 == manifest.files["encoder.plan"].sha256
        assert (encoder.specification.min_batch, encoder.specification.max_batch) == (2, 4)


@pytest.mark.gpu
def test_a_repeated_shape_gives_the_same_from_its_graph(gpu_bundle: Path, clouds: Clouds) -> None:
    with load_encoder(gpu_bundle, "cuda") as encoder:
        for i in range(5):
            for points in (8, 16, 32):
                given = clouds(3, points, seed=i)
                np.testing.assert_allclose(encoder.embed(given), small.reference(given), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_arrays_on_the_gpu_are_used_where_they_lie(library: str, gpu_bundle: Path, clouds: Clouds) -> None:
    module = pytest.importorskip(library)
    if library == "torch" and not module.cuda.is_available():
        pytest.skip("torch has no CUDA")
    place = {"device": "cuda"} if library == "torch" else {}
    points = module.zeros((3, 16, 3), dtype=module.float32, **place)
    out = module.zeros((3, 4), dtype=module.float32, **place)
    with load_encoder(gpu_bundle, "cuda") as encoder:
        for i in range(5):
            points[...] = module.asarray(clouds(3, 16, seed=i), **place)
            encoder.embed_into(points, out)
            result = out.cpu().numpy() if library == "torch" else module.asnumpy(out)
            np.testing.assert_allclose(result, small.reference(clouds(3, 16, seed=i)), rtol=1e-4, atol=1e-5)
