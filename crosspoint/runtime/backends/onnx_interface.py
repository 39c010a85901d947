"""Reads from an ONNX file which inputs and outputs it has, and what its metadata say of the network."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.reading import reading, reason_of
from crosspoint.core.results import from_json
from crosspoint.data.points import normalise
from crosspoint.runtime.classifier import NOVELTY, SCORES, ClassifierInfo
from crosspoint.runtime.specification import OR_IMPORT, Specification, interface

PROBE = (1, 1024, 3)  # shape of a run that learns the width of the output, where the file leaves it open


class Value(Protocol):
    """An input or output of a session; a dimension that varies is a word, or None."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True)
class Metadata:
    """What a file says of its network; a foreign file says nothing, and has the values that fit any.

    Attributes:
        architecture: Of the network.
        precision: Of its layers.
        k: Neighbours that it looks at, and fewest points of a cloud.
        classifier: Classes and threshold; None of a plain encoder.
    """

    architecture: str
    precision: str
    k: int
    classifier: ClassifierInfo | None = None


def names_of(session: Any) -> dict[str, str]:
    """The file's names for `points` and `embedding`, where it has one input, and one output, of other names."""
    inputs, outputs = ([value.name for value in values] for values in (session.get_inputs(), session.get_outputs()))
    if len(inputs) != 1 or not (len(outputs) == 1 or "embedding" in outputs):
        return {}
    names = {"points": inputs[0], "embedding": "embedding" if "embedding" in outputs else outputs[0]}
    return {ours: theirs for ours, theirs in names.items() if ours != theirs}


def specify(session: Any, path: Path, *, digest: str, device: str, backend: str, engine: str) -> Specification:
    """Describe a file from its session; see `Specification`.

    Args:
        session: An open session of ONNX Runtime.
        path: The file.
        digest: Its SHA-256.
        device: Where it runs.
        backend: What runs it.
        engine: Name and version of that.

    Raises:
        InputError: Its inputs and outputs are not those of an encoder or a part segmenter.
    """
    with reading(path, "an ONNX model of crosspoint export", advice="export the model again"):  # names may not be UTF-8
        ours = {theirs: name for name, theirs in names_of(session).items()}
        inputs: dict[str, Value] = {ours.get(value.name, value.name): value for value in session.get_inputs()}
        outputs: dict[str, Value] = {ours.get(value.name, value.name): value for value in session.get_outputs()}
        metadata = _metadata(session)
    output = outputs[interface(path, inputs, outputs=outputs)]
    for value in (*inputs.values(), output):
        if value.type != "tensor(float)":
            raise InputError(f"{path}: {value.name} has the type {value.type}; inputs and outputs must be float32")
    shape, dim = inputs["points"].shape or [None] * 3, output.shape[-1] if output.shape else None
    if len(shape) != 3 or not (shape[2] == 3 or not isinstance(shape[2], int)):
        raise InputError(
            f"{path} maps {inputs['points'].name} {shape} to {output.name} {output.shape}; points must be (B, N, 3): "
            f"transpose them inside the network and export it again, {OR_IMPORT}"
        )
    encoder = "category" not in inputs
    if encoder and not (isinstance(dim, int) and len(output.shape) == 2):
        dim = _probe(session, path, inputs["points"], output)
    if not isinstance(dim, int):
        raise InputError(f"{path} does not say how many parts {output.name} {output.shape} has; export the model again")
    batch, points = (size if isinstance(size, int) else None for size in shape[:2])
    return Specification(
        architecture=metadata.architecture,
        dim=dim,
        points=points,
        max_batch=batch,
        precision=metadata.precision,
        backend=backend,
        device=device,
        sha256=digest,
        path=str(path),
        min_points=metadata.k,
        min_batch=batch or 1,
        categories=_categories(inputs, path),
        engine=engine,
        classifier=_classifier(outputs, metadata.classifier, path),
    )


def _probe(session: Any, path: Path, points: Value, output: Value) -> int:
    """Run clouds once to learn the width of the embedding, which exporters often do not state."""
    sizes = [size if isinstance(size, int) else usual for size, usual in zip(points.shape or PROBE, PROBE, strict=True)]
    clouds = normalise(np.random.default_rng(0).normal(size=sizes))
    try:
        shape = session.run([output.name], {points.name: clouds})[0].shape
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise InputError(
            f"{path} does not run on points {tuple(sizes)} ({reason_of(error)}); it has to map float32 (B, N, 3) to "
            f"(B, D): export the network again, {OR_IMPORT}"
        ) from error
    if len(shape) != 2 or shape[0] != sizes[0]:
        raise InputError(
            f"{path} maps points {tuple(sizes)} to {output.name} {shape}; an encoder gives (B, D): export the network "
            f"again without what follows its embedding, {OR_IMPORT}"
        )
    return int(shape[1])


def _classifier(outputs: dict[str, Value], classifier: ClassifierInfo | None, path: Path) -> ClassifierInfo | None:
    """What the metadata say of a classifier, whose file has a score for every class, and the novelty."""
    if classifier is None:
        return None
    for name, width in ((SCORES, len(classifier.classes)), (NOVELTY, 1)):
        value = outputs.get(name)
        if value is None or value.type != "tensor(float)" or list(value.shape)[1:] != [width]:
            raise InputError(f"{path} has no {name} (B, {width}); fit or export the classifier again")
    return classifier


def _categories(inputs: dict[str, Value], path: Path) -> int | None:
    if "category" not in inputs:
        return None
    shape = inputs["category"].shape
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise InputError(f"{path} takes category {shape}; it must be (B, categories) with a fixed number of categories")
    return shape[1]


def _metadata(session: Any) -> Metadata:
    """The metadata that the exporter wrote; empty for other files."""
    values = json.loads(session.get_modelmeta().custom_metadata_map.get("crosspoint", "{}"))
    model = values.get("model", {}) if isinstance(values, dict) else None
    if not isinstance(model, dict) or not 1 <= int(values.get("k") or 1) < 1 << 31:
        raise InputError("has damaged crosspoint metadata; export the model again")
    precision, k = str(values.get("precision", "fp32")), int(values.get("k") or 1)
    about = values.get("classifier")
    classifier = None if about is None else from_json(ClassifierInfo, about)
    return Metadata(str(model.get("architecture", "unknown")), precision, k, classifier)
