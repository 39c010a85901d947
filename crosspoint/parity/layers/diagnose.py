"""`crosspoint diagnose`: finds the layers at which two models differ, and why."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import CheckFailed
from crosspoint.core.outputs import check_file
from crosspoint.core.plots import require_plots
from crosspoint.parity.clouds import UNNORMALISED, CloudSet, gate_clouds, inputs_of
from crosspoint.parity.gate import Gate, Report, Seen
from crosspoint.parity.layers.cause import Cause, find_cause, swapped_layers
from crosspoint.parity.layers.compare import Difference, NamedClouds, compare
from crosspoint.parity.layers.diagnosis import CauseResult, Diagnosis, LayerErrors, LayerResult
from crosspoint.parity.layers.gate import LayersReference, ShownGraphs
from crosspoint.parity.layers.layers import GRAPH, LAYERS, Layer, Layers, common_layers
from crosspoint.parity.layers.onnx_layers import OnnxLayers
from crosspoint.parity.layers.whole import WholeModel
from crosspoint.parity.limits import LIMITS, Limits
from crosspoint.parity.measures import relative_l2
from crosspoint.parity.pair import check_pair
from crosspoint.parity.user_clouds import real_clouds
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import RunOn, Sampling
from crosspoint.runtime.released import trained

SYNTHETIC, SEEN = 8, 4  # synthetic clouds without data; clouds on which a fault is examined


def diagnose(
    reference: Path,
    candidate: Path,
    *,
    data: Path | None = None,
    clouds: int = 16,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    reference_device: str = "cpu",
    out: Path | None = None,
) -> Diagnosis:
    """Run two models layer by layer on the same clouds and find where they differ.

    Args:
        reference: The reference model; anything that `load_encoder` opens. For a released model, its trained network.
        candidate: The model to check.
        data: A data set, or a folder of clouds and meshes; None: synthetic clouds. Hostile clouds are always added.
        clouds: Largest number of clouds from `data`.
        sampling: Points per cloud, by default the number of a model if it is fixed, else 1024; the seed; and the axis
            that points up in `data`.
        run_on: Device of the candidate.
        reference_device: Device of the reference.
        out: PNG file to draw; None: no picture.

    Raises:
        InputError: A model or the data cannot be used, or the models are of different kinds.
    """
    if out is not None:
        check_file(out, kind=".png")
        require_plots()
    seed = sampling.seed
    with ExitStack() as stack:
        a = stack.enter_context(load_encoder(trained(reference), reference_device))
        b = stack.enter_context(load_encoder(candidate, run_on.device, backend=run_on.backend, trust=run_on.trust))
        points = sampling.points or b.specification.points or a.specification.points or 1024
        check_pair(a, b, points=points)
        precision = max((encoder.specification.precision for encoder in (a, b)), key=lambda name: LIMITS[name].channel)
        limits = LIMITS[precision]
        real = None if data is None else real_clouds(data, points, limit=clouds, seed=seed, up=sampling.up)
        sets = _cloud_sets(b, points, None if real is None else real.points, seed, limits)
        chosen = _named(sets, "cloud" if data is None else data.name)
        first, second = (open_layers(encoder) for encoder in (a, b))
        stack.callback(first.close)
        stack.callback(second.close)
        layers = _layers(first, second, chosen)
        report = _gate_report(first, second, b, layers, sets, precision)
        differences = _with_gate(compare(first, second, layers=layers, clouds=chosen), report, sets)
        result = _result(first, second, differences, chosen, limits, report)
        if result.passed:
            result = _as_run(result, first, second, (a, b), chosen, layers[-1].name)
    if real is not None:
        result = replace(result, frame=real.frame)
    if out is not None:
        from crosspoint.parity.layers.picture import draw_diagnosis

        draw_diagnosis(result, out)
    return result


def _cloud_sets(b: Encoder, points: int, real: NDArray[np.float32] | None, seed: int, limits: Limits) -> list[CloudSet]:
    """The clouds of the gate: the user's own instead of the ordinary ones, then the hostile ones."""
    sets = gate_clouds(points, categories=b.specification.categories, real=real, seed=seed, ordinary_clouds=SYNTHETIC)
    usual = next(one for one in sets if one.name == ("ordinary clouds" if real is None else "real clouds"))
    # lower precisions need not match on clouds that are not normalised
    return [usual, *(one for one in sets if one.ties and (limits.unnormalised or one.name not in UNNORMALISED))]


def _named(sets: list[CloudSet], prefix: str) -> NamedClouds:
    """All clouds in one array; the usual ones are numbered."""
    usual, *hostile = sets
    names = [f"{prefix} {i}" for i in range(len(usual))] + [one.name for one in hostile]
    points = np.concatenate([one.inputs["points"] for one in sets])
    return NamedClouds(points, names, [False] * len(usual) + [True] * len(hostile))


def _gate_report(
    first: Layers, second: Layers, candidate: Encoder, layers: tuple[Layer, ...], sets: list[CloudSet], precision: str
) -> Report:
    """Run the gate; on the candidate's graphs if both models show their layers."""
    gate, output = Gate(LayersReference(first, layers), sets), layers[-1].name
    if len(layers) == 1:
        return gate.measure(candidate, precision, batches=[len(sets[0])])
    names = [layer.graph for layer in layers if layer.graph]
    cases = []
    for clouds in gate.clouds:
        made = second.compute([output, *names], clouds.inputs)
        graphs = ShownGraphs({name.removesuffix(GRAPH): made[name] for name in names})
        cases.append(gate.compare(clouds, made[output], precision=precision, batch=len(clouds), graphs=graphs))
    return Report(precision, second.specification.path, tuple(cases), gate.limits[precision], Seen.GRAPHS)


def _with_gate(differences: list[Difference], report: Report, sets: list[CloudSet]) -> list[Difference]:
    """Add the gate's results to the differences: right neighbours, and hostile clouds that passed."""
    if report.seen is not Seen.GRAPHS:
        return differences
    passed = [np.full(len(one), one.ties and report.holds(case)) for one, case in zip(sets, report.cases, strict=True)]
    found = []
    for difference in differences:
        edge = (difference.layer.graph or "").removesuffix(GRAPH)
        shares = None
        if edge:
            pairs = zip(sets, report.cases, strict=True)
            shares = np.concatenate([np.full(len(one), case.overlap[edge]) for one, case in pairs])
        found.append(replace(difference, overlap=shares, passed=np.concatenate(passed)))
    return found


def _as_run(
    result: Diagnosis,
    first: Layers,
    second: Layers,
    encoders: tuple[Encoder, Encoder],
    clouds: NamedClouds,
    output: str,
) -> Diagnosis:
    """Check that the models, run as a whole, give what their layers give one by one; otherwise the runtime is wrong."""
    usual = clouds.points[~np.array(clouds.hostile)]
    inputs = inputs_of(usual, encoders[1].specification.categories)
    for layers, encoder in zip((first, second), encoders, strict=True):
        whole = WholeModel(encoder).compute([output], inputs)[output]
        error = float(np.median(relative_l2(layers.compute([output], inputs)[output], whole)))
        if not error <= LIMITS[encoder.specification.precision].channel:
            advice = (
                f"{encoder.specification.path} as a whole is {error:.1e} from what its own layers give one by one, "
                f"which are right: {encoder.specification.backend} runs it wrongly; report it with crosspoint doctor."
            )
            return replace(result, advice=advice, passed=False)
    return result


def open_layers(encoder: Encoder) -> Layers:
    """The layers of an open model; for an engine, only its output."""
    specification = encoder.specification
    if specification.backend == "pytorch":
        from crosspoint.models.weights import load_model
        from crosspoint.parity.layers.pytorch_layers import PyTorchLayers

        return PyTorchLayers(load_model(Path(specification.path)), specification)
    if specification.backend == "onnxruntime":
        return OnnxLayers(Path(specification.path), specification)
    return WholeModel(encoder)


def _layers(a: Layers, b: Layers, clouds: NamedClouds) -> tuple[Layer, ...]:
    """The layers that both models show, with equal shapes."""
    names = [model.specification.architecture for model in (a, b)]
    architecture = next((name for name in names if name in LAYERS), "unknown")
    seen = a.names & b.names
    inputs = inputs_of(clouds.points[:1], b.specification.categories)
    first, second = (model.compute(sorted(seen), inputs) for model in (a, b))
    graphs = {layer.graph for layer in LAYERS.get(architecture, ())}
    compared = {name: -1 if name in graphs else None for name in seen}  # k is one of the things that can be wrong
    same = {name for name, end in compared.items() if first[name].shape[:end] == second[name].shape[:end]}
    return common_layers(architecture, frozenset(same))


def _result(
    a: Layers,
    b: Layers,
    differences: list[Difference],
    clouds: NamedClouds,
    limits: Limits,
    report: Report,
) -> Diagnosis:
    whole = len(differences) == 1
    causes = [] if whole else _causes(a, b, differences, clouds, limits)
    passed = _passes(report) if whole else not causes
    rows = [_row(difference, clouds, limits) for difference in differences]
    return Diagnosis(
        reference=a.specification,
        candidate=b.specification,
        clouds={
            "usual": clouds.hostile.count(False),
            "hostile": clouds.hostile.count(True),
            "points": clouds.points.shape[1],
        },
        limits={"introduced": limits.channel, "overlap": limits.overlap},
        layers=rows,
        causes=[_cause_result(cause, differences, clouds, limits) for cause in causes],
        advice=_advice_on_outputs(rows[0], passed) if whole else _advice(causes, differences, clouds, limits),
        passed=passed,
    )


def _passes(report: Report) -> bool:
    try:
        report.require()
    except CheckFailed:
        return False
    return True


def _causes(a: Layers, b: Layers, differences: list[Difference], clouds: NamedClouds, limits: Limits) -> list[Cause]:
    """The cause of every layer that adds a difference of its own, in order."""
    causes = []
    for difference in differences:
        bad = [int(i) for i in np.flatnonzero(difference.bad(limits))]
        if bad:
            usual = [i for i in bad if not clouds.hostile[i]]
            chosen = (usual or bad)[:SEEN]
            inputs = inputs_of(clouds.points[chosen], b.specification.categories)
            names = difference.layer.inputs
            features = inputs | a.compute([name for name in names if name not in inputs], inputs)
            at_these = difference.at(chosen)
            causes.append(
                find_cause(a, b, difference=at_these, features={name: features[name] for name in names}, limits=limits)
            )
    return causes


def _row(difference: Difference, clouds: NamedClouds, limits: Limits) -> LayerResult:
    hostile = np.array(clouds.hostile)
    usual, others = (_errors(difference.at(np.flatnonzero(rows))) for rows in (~hostile, hostile))
    parts = bool(difference.bad(limits).any())
    return LayerResult(difference.layer.name, list(difference.layer.inputs), parts, usual, others)


def _errors(difference: Difference) -> LayerErrors:
    def least(shares: NDArray[np.float64] | None) -> float | None:
        return None if shares is None else float(shares.min())

    return LayerErrors(
        total_max=float(difference.total.max()),
        total_median=float(np.median(difference.total)),
        introduced_max=float(difference.introduced.max()),
        introduced_median=float(np.median(difference.introduced)),
        channel_max=float(difference.channels.max()),
        overlap_min=least(difference.overlap),
        own_overlap_min=least(difference.own_overlap),
    )


def _bad_clouds(name: str, differences: list[Difference], clouds: NamedClouds, limits: Limits) -> list[int]:
    difference = next(one for one in differences if one.layer.name == name)
    return [int(i) for i in np.flatnonzero(difference.bad(limits))]


def _usual(name: str, differences: list[Difference], clouds: NamedClouds, limits: Limits) -> bool:
    """Whether a layer differs on a cloud that is not hostile."""
    return not all(clouds.hostile[i] for i in _bad_clouds(name, differences, clouds, limits))


def _cause_result(cause: Cause, differences: list[Difference], clouds: NamedClouds, limits: Limits) -> CauseResult:
    where = [clouds.names[i] for i in _bad_clouds(cause.layer, differences, clouds, limits)]
    return CauseResult(cause.layer, cause.kind, cause.text, cause.advice, cause.facts, where)


def _advice(causes: list[Cause], differences: list[Difference], clouds: NamedClouds, limits: Limits) -> str:
    """One sentence."""
    if not causes:
        return _advice_on_equals(differences, clouds, limits)
    swapped = swapped_layers(causes)
    if swapped:
        one, other = swapped
        return (
            f"The batch normalisations of {one.layer} and {other.layer} have each other's statistics: copy running "
            "mean and running variance again, or export again."
        )
    first = next((cause for cause in causes if _usual(cause.layer, differences, clouds, limits)), causes[0])
    others = [cause for cause in causes if cause is not first]
    bad = _bad_clouds(first.layer, differences, clouds, limits)
    usual = _usual(first.layer, differences, clouds, limits)
    only = "" if usual else f", on hostile clouds alone ({clouds.names[bad[0]]})"
    later = f" (so do {', '.join(cause.layer for cause in others)}, by themselves)" if others else ""
    return f"They part at {first.layer}{later}{only}: {first.layer} {first.text}; {first.advice}."


def _advice_on_equals(differences: list[Difference], clouds: NamedClouds, limits: Limits) -> str:
    most = max(differences, key=lambda difference: float(difference.channels.max()))
    added = f"{most.channels.max():.1e} ({most.layer.name})"
    total = differences[-1].total
    usual = float(total[~np.array(clouds.hostile)].max())
    text = f"No difference: no layer adds more than {added}, and the outputs agree to {usual:.1e}"
    if total.max() > limits.channel:
        where = clouds.names[int(total.argmax())]
        text += f" ({total.max():.1e} on {where}: of points that are all but equally far, either may be a neighbour)"
    return f"{text}."


def _advice_on_outputs(layer: LayerResult, passed: bool) -> str:
    median, largest = layer.usual.total_median, layer.usual.total_max
    if passed:
        return (
            f"No difference in the outputs, the only layer that both show: {median:.1e} usually, {largest:.1e} at most."
        )
    return (
        f"The outputs are {median:.1e} apart usually and {largest:.1e} at most, and one of the models shows no layers: "
        "of an engine, diagnose the bundle's encoder.onnx; if that is equal, building the engine made the difference."
    )
