"""Builds the page into `dist/`: the ONNX file of a model, embeddings of parametric shapes, and ONNX Runtime Web.

Run `npm install --prefix examples/browser` first.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

import crosspoint
from crosspoint.data.io.meshes import sample_surface
from crosspoint.data.points import Points, normalise
from crosspoint.data.shapes import CATEGORIES
from crosspoint.data.shapes.make_shapes import Item, draw
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.open_model import read_same

HERE = Path(__file__).parent
PAGE = ("index.html", "style.css", "app.js", "preprocessing.js", "reading.js", "view.js")
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
SAMPLES = ("chair", "mug", "airplane", "guitar", "plant")
POINTS, THUMB_POINTS = 1024, 300
THUMB = 32767  # int16 of a coordinate of 1


def build(model: str, out: Path, *, per_class: int = 3, packages: Path = HERE / "node_modules") -> None:
    """Write the page.

    Args:
        model: A bundle of `crosspoint fit` or `export`, or the name of a shipped encoder.
        out: Folder of the page.
        per_class: Made shapes of each category.
        packages: The folder `node_modules` with onnxruntime-web.
    """
    (out / "data").mkdir(parents=True, exist_ok=True)
    (out / "ort").mkdir(exist_ok=True)
    for name in PAGE:
        shutil.copyfile(HERE / name, out / name)
    for name in RUNTIME:
        shutil.copyfile(packages / "onnxruntime-web" / "dist" / name, out / "ort" / name)
    with crosspoint.load(model) as encoder:
        write_data(encoder, out / "data", per_class)


def write_data(encoder: Encoder, folder: Path, per_class: int) -> None:
    """Write the model, and the names, embeddings and small clouds of the shapes."""
    about = encoder.specification
    classifier = about.classifier
    count = about.points or (None if classifier is None else classifier.points) or POINTS
    items = [Item(category, "train", number, edition=2) for category in CATEGORIES for number in range(per_class)]
    clouds = np.stack([made_cloud(item, count) for item in items])
    vectors = np.concatenate([encoder.embed(clouds[start : start + 8]) for start in range(0, len(clouds), 8)])
    (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4").tofile(folder / "embeddings.bin")
    np.round(clouds[:, :THUMB_POINTS] * THUMB).astype("<i2").tofile(folder / "clouds.bin")
    for name in SAMPLES:
        np.save(folder / f"{name}.npy", made_cloud(Item(name, "test", 0), 2048))
    (folder / "encoder.onnx").write_bytes(read_same(Path(about.path), about.sha256))
    values = {
        "names": [f"{item.category}/{item.number}" for item in items],
        "points": count,
        "thumb_points": min(THUMB_POINTS, count),
        "samples": SAMPLES,
        "classes": None if classifier is None else classifier.classes,
        "threshold": None if classifier is None else classifier.threshold,
    }
    (folder / "about.json").write_text(json.dumps(values), encoding="utf-8")


def made_cloud(item: Item, count: int) -> Points:
    """Points of a parametric shape, normalised: (count, 3)."""
    shape = draw(item, seed=0)
    points, _ = sample_surface(shape.vertices, shape.faces, count=count, rng=np.random.default_rng(item.number))
    return normalise(points)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Builds the page of examples/browser.")
    parser.add_argument("model", nargs="?", default="dgcnn", help="bundle of crosspoint fit or export, or a name")
    parser.add_argument("--out", type=Path, default=HERE / "dist", help="folder of the page")
    arguments = parser.parse_args()
    build(arguments.model, arguments.out)
    print(f"python -m http.server --directory {arguments.out}")
