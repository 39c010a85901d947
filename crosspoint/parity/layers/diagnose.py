"""`crosspoint diagnose`: where two models part, and why."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_file
from crosspoint.parity.clouds import hostile, ordinary
from crosspoint.parity.layers.cause import Cause, find_cause, swapped_layers
from crosspoint.parity.layers.compare import LIMITS, OVERLAP, Clouds, Difference, compare, relative_l2
from crosspoint.parity.layers.layers import LAYERS, Layer, Layers, common_layers
from crosspoint.parity.layers.onnx_layers import OnnxLayers, inputs_of
from crosspoint.parity.layers.whole import WholeModel
from crosspoint.parity.user_clouds import real_clouds
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.released import trained

MADE, SEEN = 8, 4  # clouds: how many are made without data, and on how many a fault is looked into
UNNORMALISED = ("size 0.0001", "100 away")  # of the hostile clouds
OUTPUT_LIMITS = (1e-4, 1e-2)  # of an engine: median and largest relative L2 error of outputs, as at its export


def diagnose(
    reference: Path,
    candidate: Path,
    data: Path | None = None,
    points: int | None = None,
    clouds: int = 16,
    seed: int = 0,
    device: str = "cpu",
    backend: str | None = None,
    reference_device: str = "cpu",
    out: Path | None = None,
) -> dict[str, Any]:
    """Run two models layer by layer on the same clouds and find where they part.

    Args:
        reference: The model to be equal to; whatever `load_encoder` opens, of a released model its trained network.
        candidate: The model in question.
        data: A dataset or a folder of clouds and meshes; None for synthetic clouds. Hostile clouds are always added.
        points: Points per cloud; None for the number that a model fixes, else 1024.
        clouds: At most this many of `data`.
        seed: Of every random choice.
        device: Where the candidate runs.
        backend: What runs the candidate; None for the usual one.
        reference_device: Where the reference runs.
        out: A PNG to draw.

    Returns:
        JSON-serialisable: `layers` with their errors and overlaps, `causes`, `advice` (one sentence), and `passed`.

    Raises:
        InputError: A model or the data cannot be used, or the models are of different kinds.
    """
    if out is not None:
        check_file(out, kind=".png")
    with ExitStack() as stack:
        a = stack.enter_context(load_encoder(trained(reference), reference_device))
        b = stack.enter_context(load_encoder(candidate, device, backend))
        chosen = _clouds(a, b, data, points, clouds, seed)
        _check_pair(a, b)
        first, second = (open_layers(encoder) for encoder in (a, b))
        stack.callback(first.close)
        stack.callback(second.close)
        layers = _layers(first, second, chosen)
        differences = compare(first, second, layers, chosen)
        result = _result(first, second, differences, chosen, _limit(a, b))
        if result["passed"]:
            result |= _as_run(first, second, (a, b), chosen, layers[-1].name)
    if out is not None:
        from crosspoint.parity.layers.picture import draw_diagnosis

        draw_diagnosis(result, out)
    return result


def _as_run(
    first: Layers, second: Layers, encoders: tuple[Encoder, Encoder], clouds: Clouds, output: str
) -> dict[str, Any]:
    """A verdict on the runtimes: whether the models as users run them give what their layers give one by one."""
    usual = clouds.points[~np.array(clouds.hostile)]
    inputs = inputs_of(usual, encoders[1].specification.categories)
    for layers, encoder in zip((first, second), encoders, strict=True):
        whole = WholeModel(encoder).compute([output], inputs)[output]
        error = float(np.median(relative_l2(layers.compute([output], inputs)[output], whole)))
        limit = max(OUTPUT_LIMITS[0], LIMITS.get(encoder.specification.precision, 0.0))
        if not error <= limit:
            text = (
                f"{encoder.specification.path} as a whole is {error:.1e} from what its own layers give one by one, "
                f"which are right: {encoder.specification.backend} runs it wrongly; report it with crosspoint doctor"
            )
            return {"passed": False, "advice": f"{text}."}
    return {}


def _clouds(a: Encoder, b: Encoder, data: Path | None, points: int | None, clouds: int, seed: int) -> Clouds:
    points = points or b.specification.points or a.specification.points or 1024
    for encoder in (a, b):
        encoder.specification.check_points(points)
    usual = ordinary(MADE, points, seed) if data is None else real_clouds(data, points, clouds, seed).points
    hurting = hostile(points, seed + 1)
    if _limit(a, b) > LIMITS["fp32"]:  # fewer digits do not hold what was not normalised, and need not
        hurting = {name: cloud for name, cloud in hurting.items() if name not in UNNORMALISED}
    names = [f"{'cloud' if data is None else data.name} {i}" for i in range(len(usual))] + [*hurting]
    flags = [False] * len(usual) + [True] * len(hurting)
    return Clouds(np.concatenate([usual, *(cloud[None] for cloud in hurting.values())]), names, flags)


def _limit(a: Encoder, b: Encoder) -> float:
    """That of the coarser precision."""
    return max(LIMITS.get(encoder.specification.precision, LIMITS["fp32"]) for encoder in (a, b))


def _check_pair(a: Encoder, b: Encoder) -> None:
    first, second = a.specification, b.specification
    if first.dim != second.dim or first.categories != second.categories:
        raise InputError(
            f"{first.path} gives {first.dim} values and {second.path} {second.dim}; "
            "diagnose compares two forms of one network"
        )


def open_layers(encoder: Encoder) -> Layers:
    """The layers of an open model; of an engine, whose inside cannot be seen, its output alone."""
    specification = encoder.specification
    if specification.backend == "pytorch":
        from crosspoint.models.weights import load_model
        from crosspoint.parity.layers.pytorch_layers import PyTorchLayers

        return PyTorchLayers(load_model(Path(specification.path)), specification)
    if specification.backend == "onnxruntime":
        return OnnxLayers(Path(specification.path), specification)
    return WholeModel(encoder)


def _layers(a: Layers, b: Layers, clouds: Clouds) -> tuple[Layer, ...]:
    """Those that both models show in the same shape."""
    names = [model.specification.architecture for model in (a, b)]
    architecture = next((name for name in names if name in LAYERS), "unknown")
    seen = a.names & b.names
    inputs = inputs_of(clouds.points[:1], b.specification.categories)
    first, second = (model.compute(sorted(seen), inputs) for model in (a, b))
    graphs = {layer.graph for layer in LAYERS.get(architecture, ())}
    compared = {name: -1 if name in graphs else None for name in seen}  # k is one of the things that can be wrong
    same = {name for name, end in compared.items() if first[name].shape[:end] == second[name].shape[:end]}
    return common_layers(architecture, frozenset(same))


def _result(a: Layers, b: Layers, differences: list[Difference], clouds: Clouds, limit: float) -> dict[str, Any]:
    whole = len(differences) == 1
    causes = [] if whole else _causes(a, b, differences, clouds, limit)
    passed = _outputs_agree(differences[0], clouds) if whole else not causes
    rows = [_row(difference, clouds, limit) for difference in differences]
    return {
        "reference": asdict(a.specification),
        "candidate": asdict(b.specification),
        "clouds": {"usual": clouds.hostile.count(False), "hostile": clouds.hostile.count(True)}
        | {"points": clouds.points.shape[1]},
        "limits": {"introduced": limit, "overlap": OVERLAP},
        "layers": rows,
        "causes": [_cause_entry(cause, differences, clouds, limit) for cause in causes],
        "advice": _advice_on_outputs(rows[0], passed) if whole else _advice(causes, differences, clouds, limit),
        "passed": passed,
    }


def _causes(a: Layers, b: Layers, differences: list[Difference], clouds: Clouds, limit: float) -> list[Cause]:
    """Of every layer that adds a difference of its own, in order."""
    causes = []
    for difference in differences:
        bad = np.flatnonzero(difference.bad(limit))
        if len(bad):
            usual = [i for i in bad if not clouds.hostile[i]]
            chosen = (usual or bad)[:SEEN]
            inputs = inputs_of(clouds.points[chosen], b.specification.categories)
            names = difference.layer.inputs
            features = inputs | a.compute([name for name in names if name not in inputs], inputs)
            at_these = _only(difference, chosen)
            causes.append(find_cause(a, b, at_these, {name: features[name] for name in names}, limit))
    return causes


def _only(difference: Difference, rows: Any) -> Difference:
    """Some of the clouds."""
    own, shares = difference.own_overlap, difference.overlap
    return Difference(
        difference.layer,
        difference.total[rows],
        difference.introduced[rows],
        difference.channels[rows],
        None if shares is None else shares[rows],
        None if own is None else own[rows],
        difference.widths,
    )


def _row(difference: Difference, clouds: Clouds, limit: float) -> dict[str, Any]:
    sets = {"usual": ~np.array(clouds.hostile), "hostile": np.array(clouds.hostile)}
    return {
        "name": difference.layer.name,
        "inputs": list(difference.layer.inputs),
        "parts": bool(difference.bad(limit).any()),
        **{name: _numbers(_only(difference, np.flatnonzero(rows))) for name, rows in sets.items()},
    }


def _numbers(difference: Difference) -> dict[str, float | None]:
    def least(shares: Any) -> float | None:
        return None if shares is None else float(shares.min())

    return {
        "total_max": float(difference.total.max()),
        "total_median": float(np.median(difference.total)),
        "introduced_max": float(difference.introduced.max()),
        "introduced_median": float(np.median(difference.introduced)),
        "channel_max": float(difference.channels.max()),
        "overlap_min": least(difference.overlap),
        "own_overlap_min": least(difference.own_overlap),
    }


def _bad_clouds(name: str, differences: Sequence[Difference], clouds: Clouds, limit: float) -> list[int]:
    difference = next(one for one in differences if one.layer.name == name)
    return [int(i) for i in np.flatnonzero(difference.bad(limit))]


def _usual(name: str, differences: list[Difference], clouds: Clouds, limit: float) -> bool:
    """Whether a layer parts on a cloud that is not one of the hostile ones."""
    return not all(clouds.hostile[i] for i in _bad_clouds(name, differences, clouds, limit))


def _cause_entry(cause: Cause, differences: list[Difference], clouds: Clouds, limit: float) -> dict[str, Any]:
    where = [clouds.names[i] for i in _bad_clouds(cause.layer, differences, clouds, limit)]
    return {
        "layer": cause.layer,
        "kind": cause.kind,
        "text": cause.text,
        "advice": cause.advice,
        "facts": cause.facts,
        "clouds": where,
    }


def _advice(causes: list[Cause], differences: list[Difference], clouds: Clouds, limit: float) -> str:
    """One sentence."""
    if not causes:
        return _advice_on_equals(differences, clouds, limit)
    swapped = swapped_layers(causes)
    if swapped:
        one, other = swapped
        return (
            f"The batch normalisations of {one.layer} and {other.layer} have each other's statistics: copy running "
            "mean and running variance again, or export again."
        )
    first = next((cause for cause in causes if _usual(cause.layer, differences, clouds, limit)), causes[0])
    others = [cause for cause in causes if cause is not first]
    bad = _bad_clouds(first.layer, differences, clouds, limit)
    usual = _usual(first.layer, differences, clouds, limit)
    only = "" if usual else f", on hostile clouds alone ({clouds.names[bad[0]]})"
    later = f" (so do {', '.join(cause.layer for cause in others)}, by themselves)" if others else ""
    return f"They part at {first.layer}{later}{only}: {first.layer} {first.text}; {first.advice}."


def _advice_on_equals(differences: list[Difference], clouds: Clouds, limit: float) -> str:
    most = max(differences, key=lambda difference: float(difference.channels.max()))
    added = f"{most.channels.max():.1e} ({most.layer.name})"
    total = differences[-1].total
    usual = float(total[~np.array(clouds.hostile)].max())
    text = f"No difference: no layer adds more than {added}, and the outputs agree to {usual:.1e}"
    if total.max() > limit:
        where = clouds.names[int(total.argmax())]
        text += f" ({total.max():.1e} on {where}: of points that are all but equally far, either may be a neighbour)"
    return f"{text}."


def _outputs_agree(difference: Difference, clouds: Clouds) -> bool:
    """Hostile clouds are left out: their neighbours are a matter of choice, and the engine's cannot be seen."""
    errors = difference.total[~np.array(clouds.hostile)]
    return bool(np.median(errors) <= OUTPUT_LIMITS[0] and errors.max() <= OUTPUT_LIMITS[1])


def _advice_on_outputs(row: dict[str, Any], passed: bool) -> str:
    median, largest = row["usual"]["total_median"], row["usual"]["total_max"]
    if passed:
        return (
            f"No difference in the outputs, the only layer that both show: {median:.1e} usually, {largest:.1e} at most."
        )
    return (
        f"The outputs are {median:.1e} apart usually and {largest:.1e} at most, and one of the models shows no layers: "
        "of an engine, diagnose the bundle's encoder.onnx; if that is equal, building the engine made the difference."
    )
