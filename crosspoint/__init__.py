"""CrossPoint: label-free pretraining, TensorRT export and edge inference for point-cloud encoders.

    import crosspoint as cp

    with cp.load("dgcnn") as encoder:                # a released model, or a path
        embeddings = encoder.embed(["a.ply", "b.ply"])  # (2, 2048)

| name | what it does |
| --- | --- |
| `load(model, device)` | opens a model |
| `RunOn(device, backend)`, `Sampling(points, seed)` | where a model runs; which points are drawn |
| `Reading(columns, include, exclude, readers)` | how files are found and read |
| `embed(model, inputs, out=…)` | embeds files into a file or a folder of parts, as `crosspoint embed` |
| `fit(data, out, …)` | makes a classifier from a few labelled objects |
| `predict(classifier, inputs, out=…)` | names the class of each object |
| `read_points(path, count, seed=…)` | reads a point cloud or draws points from a mesh, `(n, N, 3)` |
| `train(data, out, …)` | pretrains an encoder |
| `export(model, out, …)` | exports a trained network to ONNX and TensorRT |
| `parity(reference, candidate, data=…)` | compares two models |
| `evaluate.svm`, `.fewshot`, `.partseg`, `.image_fewshot`, `.robustness` | the protocols of the paper |

Each name is imported when it is first used, so that `import crosspoint` is quick and needs no PyTorch.

`train`, `export` and `parity` are also names of packages. **The name always means the function**, also after
`import crosspoint.export.bundle`. Import from the packages with `from`:

    from crosspoint.export.bundle import Verification   # works
    from crosspoint.export import bundle                # works
    import crosspoint.export.bundle as bundle           # ImportError: Python looks for it in the function

`crosspoint.export.bundle` is no expression either, nor a target of `monkeypatch.setattr("crosspoint.export.bundle.…")`;
give `importlib.import_module("crosspoint.export.bundle")` there.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from crosspoint.core.lazy import lazy

if TYPE_CHECKING:
    from crosspoint import evaluate as evaluate
    from crosspoint.classify.fit import fit as fit
    from crosspoint.data.io.files import read_points as read_points
    from crosspoint.export.bundle import export as export
    from crosspoint.parity.parity import parity as parity
    from crosspoint.runtime.encoder import Encoder
    from crosspoint.runtime.jobs.embed import embed as embed
    from crosspoint.runtime.jobs.predict import predict as predict
    from crosspoint.runtime.options import Reading as Reading
    from crosspoint.runtime.options import RunOn as RunOn
    from crosspoint.runtime.options import Sampling as Sampling
    from crosspoint.train.pretrain.pretrain import train as train

# ONNX Runtime reads this variable when it is first imported. Without it, ONNX Runtime stores a device number and a
# queue of events in the user's cache and sends them to Microsoft. A value set by the user is kept.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "Reading",
    "RunOn",
    "Sampling",
    "__version__",
    "embed",
    "evaluate",
    "export",
    "fit",
    "load",
    "parity",
    "predict",
    "read_points",
    "train",
]

_functions = {
    "Reading": "crosspoint.runtime.options",
    "RunOn": "crosspoint.runtime.options",
    "Sampling": "crosspoint.runtime.options",
    "embed": "crosspoint.runtime.jobs.embed",
    "export": "crosspoint.export.bundle",
    "fit": "crosspoint.classify.fit",
    "parity": "crosspoint.parity.parity",
    "predict": "crosspoint.runtime.jobs.predict",
    "read_points": "crosspoint.data.io.files",
    "train": "crosspoint.train.pretrain.pretrain",
}
_get = lazy(__name__, _functions, torch=frozenset({"export", "fit", "train"}))


def __getattr__(name: str) -> object:
    if name == "evaluate":
        from importlib import import_module

        return import_module("crosspoint.evaluate")
    return _get(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(model: Path | str, device: str = "cpu", *, backend: str | None = None) -> "Encoder":
    """Open a released model by its name, `"dgcnn"`, `"dgcnn-scan"` or `"pointnet"`, or any other model by its path.

    The same as `crosspoint.runtime.load_encoder`, which lists all kinds of models and errors. Nothing is downloaded.
    PyTorch is needed only for the backend `"pytorch"`.

    Args:
        model: Name or path.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.
        backend: Inference backend; None: chosen from the file type.

    Example:
        >>> with crosspoint.load("dgcnn") as encoder:      # doctest: +SKIP
        ...     embeddings = encoder.embed(points)         # (B, N, 3) to (B, 2048)
    """
    from crosspoint.runtime.load import load_encoder

    return load_encoder(model, device, backend=backend)
