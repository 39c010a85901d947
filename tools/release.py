"""Make the files of a released model from a trained run, and its entry in the registry.

    python tools/release.py RUN --name dgcnn [--version 1] [--points 1024] [--data DIR] [--json FILE]

RUN is a run folder or a .safetensors file. Written into `crosspoint/weights/`: `NAME.safetensors`, whose matrices are
float16, `NAME.onnx`, made by `crosspoint export` from exactly these weights in float32 and through its parity gate, and
NAME's entry in `registry.json`. The same run gives the same bytes.

Nothing is written if float16 storage changes what the model says: the embeddings of ordinary clouds may move by
RELATIVE of their norm at most, and with --data (labelled clouds, as for `crosspoint eval svm`) the linear SVM's
accuracy, by either rule, by ACCURACY at most.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from crosspoint.core.errors import CheckFailed, CrosspointError
from crosspoint.core.files import atomic_file, sha256, write_json
from crosspoint.core.results import to_json
from crosspoint.eval.svm import svm
from crosspoint.export.bundle import export
from crosspoint.models.weights import load_model, read_metadata
from crosspoint.parity.clouds import ordinary
from crosspoint.runtime import load_encoder
from crosspoint.runtime import released as named
from crosspoint.runtime.options import Sampling

RELATIVE = 2e-2  # of an embedding's norm, the largest over CLOUDS clouds: their cosine stays above 0.9998
ACCURACY = 0.002  # of one: the gate of half precision
MEGABYTES = 9.0  # all released files together
CLOUDS = 16


def release(
    run: Path, name: str, version: str = "1", points: int = 1024, data: Path | None = None, folder: Path = named.FOLDER
) -> dict[str, Any]:
    """Write the files and the registry entry of one released model.

    Args:
        run: A run folder, or a `.safetensors` file.
        name: Of the release.
        version: Counts up when the weights change.
        points: Points of a cloud that the model was trained for.
        data: Labelled clouds for the comparison of accuracies.
        folder: Where the registry lies.

    Returns:
        `name`, `version`, `files` (SHA-256 by name), `bytes` of all files in the registry, `relative`, `svm`.

    Raises:
        InputError: The run or the data cannot be used.
        CheckFailed: float16 changes the model too much, the export failed its gate, or the files are too large.
    """
    source = Path(run) / "encoder.safetensors" if Path(run).is_dir() else Path(run)
    with tempfile.TemporaryDirectory() as place:
        half = Path(place) / f"{name}.safetensors"
        save_half(source, half)
        relative = compare_embeddings(source, half, points)
        accuracy = None if data is None else compare_accuracy(source, half, data, points)
        export(half, Path(place) / "bundle", points=None)
        contents = {half.name: half, f"{name}.onnx": Path(place) / "bundle" / "encoder.onnx"}
        files = {file: sha256(path) for file, path in sorted(contents.items())}
        entry = {"version": version, "points": points, "files": files}
        total = check_size(name, contents, folder)
        for file, path in contents.items():
            with atomic_file(folder / file) as temporary:
                temporary.write_bytes(path.read_bytes())
    models = {**_entries(folder), name: entry}
    write_json(folder / named.REGISTRY, {"schema": named.SCHEMA, "models": dict(sorted(models.items()))})
    return {"name": name, **entry, "bytes": total, "relative": relative, "svm": accuracy}


def save_half(source: Path, path: Path) -> None:
    """Store a network's matrices as float16; vectors, some 1 % of the numbers, stay as they are.

    Raises:
        CheckFailed: A weight is too large for float16.
    """
    tensors = {}
    for name, tensor in load_model(source).state_dict().items():
        stored = tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor
        if not stored.isfinite().all():
            raise CheckFailed(f"{source}: {name} holds values that float16 cannot; nothing was released")
        tensors[name] = stored.contiguous()
    save_file(tensors, path, {"crosspoint": json.dumps(to_json(read_metadata(source)), sort_keys=True)})


def compare_embeddings(source: Path, half: Path, points: int) -> float:
    """Largest `|a − b| / |a|` over the embeddings of ordinary clouds, a of the original, b of the stored weights."""
    clouds = torch.from_numpy(ordinary(CLOUDS, points))
    with torch.inference_mode():
        a, b = (_embed(load_model(path), clouds).double() for path in (source, half))
    relative = float(((a - b).norm(dim=1) / a.norm(dim=1)).max())
    if not relative <= RELATIVE:
        raise CheckFailed(f"float16 moves an embedding by {relative:.1e} of its norm, more than {RELATIVE:.0e}")
    return relative


def _embed(model: nn.Module, clouds: torch.Tensor) -> torch.Tensor:
    return torch.cat([model(piece) for piece in torch.split(clouds, 8)])


def compare_accuracy(source: Path, half: Path, data: Path, points: int) -> dict[str, dict[str, float]]:
    """Linear-SVM accuracy by both rules, of the original and of the stored weights."""
    results = {}
    for kind, path in (("fp32", source), ("fp16", half)):
        found = svm(path, data, sampling=Sampling(points, seeds=1))
        results[kind] = {"official": found.official.accuracy, "clean": found.clean.accuracy}
    for rule in ("official", "clean"):
        change = abs(results["fp16"][rule] - results["fp32"][rule])
        if change > ACCURACY:
            raise CheckFailed(f"float16 changes the {rule} SVM accuracy by {change:.4f}, more than {ACCURACY}")
    return results


def check_size(name: str, contents: dict[str, Path], folder: Path) -> int:
    """Bytes of all released files once this release is in; CheckFailed if they are more than MEGABYTES."""
    others = [folder / file for other, entry in _entries(folder).items() if other != name for file in entry["files"]]
    total: int = sum(path.stat().st_size for path in (*others, *contents.values()))
    if total > MEGABYTES * 1e6:
        raise CheckFailed(f"the released files would have {total / 1e6:.2f} MB, more than {MEGABYTES}")
    return total


def _entries(folder: Path) -> dict[str, Any]:
    path = folder / named.REGISTRY
    entries: dict[str, Any] = json.loads(path.read_text())["models"] if path.is_file() else {}
    return entries


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, release, and load what was released by its name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="1")
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    try:
        result = release(given.run, given.name, given.version, given.points, given.data)
        for backend in ("onnxruntime", "pytorch"):
            load_encoder(given.name, backend=backend).close()
        if given.json is not None:
            write_json(given.json, {"schema": "crosspoint.release/1", **result})
    except CrosspointError as error:
        print(f"release: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{given.name}@{given.version}: {result['bytes'] / 1e6:.2f} MB with all released models; {result}")


if __name__ == "__main__":
    main()
