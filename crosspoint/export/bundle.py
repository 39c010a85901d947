"""`crosspoint export`: writes a bundle of ONNX file, engine and manifest, if it passes the parity gate."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from crosspoint import __version__
from crosspoint.core.errors import InputError, require
from crosspoint.core.files import atomic_folder, write_json
from crosspoint.core.outputs import check_replaceable
from crosspoint.core.results import OPTIONAL
from crosspoint.data.frames import Up, parse_up
from crosspoint.data.sets.taxonomy import parse_taxonomy
from crosspoint.export.classifier import (
    add_classifier,
    check_classifier,
    find_classifier,
    score_agreement,
)
from crosspoint.export.engine.builder import find_builder
from crosspoint.export.engine.engine import ONNX, add_engine, check_ours, check_timing_cache, file_entry
from crosspoint.export.engine.on_device import add_build_script
from crosspoint.export.golden import GOLDEN, write_golden
from crosspoint.export.manifest import (
    BeforeLowering,
    BundleManifest,
    ExportParity,
    Precision,
    Preprocessing,
    TrainedWeights,
    WeightsEntry,
)
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.calibrate import CalibrationSet, calibration_set
from crosspoint.export.onnx.candidate_check import EXECUTED, CandidateCheck
from crosspoint.export.onnx.choose import Chosen, choose_half, choose_int8
from crosspoint.export.onnx.classifier_head import append_classifier, head_products
from crosspoint.export.onnx.file import read_precision, shapes, write_onnx
from crosspoint.export.onnx.fold import deploy, deploy_head
from crosspoint.export.onnx.gain import measure_gain
from crosspoint.export.onnx.lint import require_clean
from crosspoint.export.onnx.precision import product_precisions, require_precision
from crosspoint.export.onnx.projection import Projected, append_head, load_head
from crosspoint.export.options import ExportOptions
from crosspoint.export.trained import read_trained, trained_weights
from crosspoint.export.triton import check_repository, write_repository
from crosspoint.models.weights import Weights
from crosspoint.parity.accuracy import SvmAccuracy, inner_accuracy, require_objects, verification_clouds
from crosspoint.parity.clouds import CLOUDS, gate_clouds, inputs_of
from crosspoint.parity.gate import Gate
from crosspoint.parity.limits import LIMITS
from crosspoint.parity.part_accuracy import PartAccuracy, verification_parts
from crosspoint.parity.reference import Reference, embed_network
from crosspoint.parity.scores import ScoreAgreement, classifier_clouds
from crosspoint.runtime.classifier import Classifier, ClassifierInfo
from crosspoint.runtime.manifest import NAME, sign_bundle
from crosspoint.runtime.profile import Profile, Range, make_profile
from crosspoint.runtime.signing import read_signing_key


@dataclass(frozen=True)
class Provenance:
    """What the ONNX file says of itself."""

    model: dict[str, int | str]
    dim: int | str | None
    points: int | None
    k: int | str | None
    precision: str
    preprocessing: Preprocessing
    source_sha256: str
    version: str
    classifier: ClassifierInfo | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class Verification:
    """Data for verification and calibration, in addition to synthetic clouds.

    Attributes:
        data: Labelled clouds: in ModelNet40's or another known format for SVM accuracy; in ShapeNetPart's format for
            the mIoU of a part segmenter.
        clouds: Largest number of them to use; None: all.
        max_drop: Largest loss of SVM accuracy or mIoU, in percentage points; None: the limit of the precision.
        calibrate: Clouds for int8 calibration.
        up: The axis that points up in both; None for what they say themselves, else y.
    """

    data: Path | None = None
    clouds: int | None = None
    max_drop: float | None = None
    calibrate: Path | None = None
    up: Up | None = None

    def check(self, precision: str) -> None:
        """Raise InputError if an option is given without the option that it belongs to."""
        if self.up is not None:
            parse_up(self.up)
            if self.data is None and self.calibrate is None:
                raise InputError("--up is about clouds that are read; give --verify-data or --calibrate with it")
        if self.calibrate is not None and precision != "int8":
            raise InputError("--calibrate needs --precision int8; add it, or leave --calibrate out")
        if self.data is None and (self.max_drop is not None or self.clouds is not None):
            raise InputError("--max-drop and --verify-clouds need labelled data; add --verify-data, or leave them out")
        if self.max_drop is not None and not self.max_drop >= 0:
            raise InputError(f"--max-drop is {self.max_drop}; give percentage points, 0 or more")
        if self.clouds is not None and self.clouds < 1:
            raise InputError(f"--verify-clouds is {self.clouds}; give 1 or more")


def export(
    model: Path,
    out: Path,
    *,
    trt: bool = False,
    precision: str = "fp32",
    batch: str | int | Range = (1, 8, 32),
    points: str | int | Range | None = 1024,
    verification: Verification = Verification(),
    options: ExportOptions = ExportOptions(),
) -> BundleManifest:
    """Export a trained network to ONNX and, if asked, TensorRT, and check that the outputs match.

    The bundle is written only if it passes the gate: ONNX Runtime is compared with PyTorch in float64, at several batch
    sizes and numbers of points, on ordinary and hostile clouds; so is the engine if this machine's GPU can run it. The
    graph must pass in float32 first, so that a lower precision adds rounding errors only.

    Args:
        model: A released model's name, a run folder with `encoder.safetensors`, a `.safetensors` file, a classifier of
            `crosspoint fit`, another bundle of a released model, or a checkpoint that `crosspoint import` reads.
        out: Folder of the bundle; an earlier bundle there is replaced.
        trt: Also build a TensorRT engine.
        precision: Precision of the layers: `"fp32"`, `"fp16"`, `"bf16"` or `"int8"`. Distances stay float32.
        batch: Batch sizes of the engine, `min:opt:max`. An ONNX file takes any batch.
        points: Number of points of a cloud; a range `min:opt:max`; or None (`"any"`) for any number.
        verification: Labelled data and calibration clouds.
        options: Options of the engine build, the projection head, a Triton repository and a signature.

    Returns:
        The manifest.

    Raises:
        InputError: The model, an option or the output folder cannot be used.
        CheckFailed: The linter, the gate or the build failed. Nothing is written.
        MissingDependency: A package is not installed.
    """
    if precision not in LIMITS:
        raise InputError(f"--precision {precision} is not known; give one of {', '.join(LIMITS)}")
    profile = make_profile(batch, points)
    key = None if options.sign is None else read_signing_key(options.sign)
    check_options(profile, options, trt=trt)
    check_replaceable(out, check_ours, inputs=[model])
    if options.build.timing_cache is not None:
        check_timing_cache(options.build.timing_cache, out)
    if options.triton is not None:
        check_repository(options.triton, Path(out), profile=profile)
    found = find_builder(options.target, options.builder) if trt and options.builder != "device" else None
    classifier = find_classifier(Path(model)) if options.classifier is None else options.classifier
    source = read_trained(trained_weights(model), k=options.k)
    network, head = _network(source, options.projection)
    _check_network(source.path, network, profile)
    verification.check(precision)
    if options.keep_fp32 and precision != "int8":
        raise InputError("--keep-fp32 needs --precision int8; add it, or leave --keep-fp32 out")
    if classifier is not None:
        check_classifier(classifier, network, projection=options.projection, data=verification.data)
    exact = _exact_graph(network, profile.fixed_points)
    with atomic_folder(out, check_ours) as folder:
        check, calibration = _prepare(network, profile, precision, verification, classifier)
        chosen, rules, parity = _graph(exact, precision, check, calibration, classifier, options.keep_fp32)
        provenance = _provenance(network, source, profile, precision)
        if classifier is not None:
            provenance = replace(provenance, classifier=classifier.info)
        write_onnx(folder / ONNX, chosen.model, provenance=provenance)
        held = _precision(folder / ONNX, precision, chosen)
        manifest = _manifest(folder / ONNX, network, _source_entry(source, head), profile, held, rules, parity)
        if classifier is not None:
            manifest = add_classifier(folder, manifest, classifier=classifier, source=source)
        manifest = _add_golden(folder, manifest)
        if isinstance(source.recipe, dict) and "taxonomy" in source.recipe:
            manifest = replace(manifest, taxonomy=parse_taxonomy(source.recipe["taxonomy"], source.path))
        write_json(folder / NAME, manifest.to_json())
        if found is not None:
            manifest = add_engine(
                folder, manifest, builder=found, options=options.build, profile=profile, clouds=check.gate.clouds
            )
        elif trt:
            manifest = add_build_script(folder, manifest, options=options.build, clouds=check.gate.clouds)
        if key is not None:
            sign_bundle(folder, key)
    if options.triton is not None:
        write_repository(options.triton, Path(out), manifest=manifest)
    return manifest


def check_options(profile: Profile, options: ExportOptions, *, trt: bool) -> None:
    """Raise InputError if options belong to an engine that is not built, or to another builder."""
    target, build = options.target, options.build
    given = {"--target": target, "--builder": options.builder != "auto", "--tf32": build.tf32}
    given |= {"--workspace": build.workspace, "--timing-cache": build.timing_cache}
    named = [option for option, value in given.items() if value]
    if named and not trt:
        raise InputError(f"{named[0]} applies to engines; add --trt, or leave it out")
    if trt and profile.points is None:
        raise InputError("an engine needs bounds for the number of points; give --points min:opt:max")
    if options.builder == "device" and (target or build.timing_cache):
        option = "--target" if target else "--timing-cache"
        raise InputError(
            f"{option} cannot be used with --builder device, which builds for the device's own GPU; leave it out"
        )


def _network(source: Weights, projection: bool) -> tuple[nn.Module, Weights | None]:
    """The network to export, and the weights of its projection head."""
    network = source.network()
    if not projection:
        return network, None
    weights, head = load_head(source, network)
    return Projected(network, head).eval(), weights


def _prepare(
    network: nn.Module, profile: Profile, precision: str, verification: Verification, classifier: Classifier | None
) -> tuple[CandidateCheck, CalibrationSet | None]:
    """What candidates are compared with, and the clouds that int8 is calibrated with."""
    config = _config(network)
    smallest, usual, largest = profile.tested_points(int(config.get("k", 1)))
    accuracy: SvmAccuracy | PartAccuracy | ScoreAgreement | None
    own = None if classifier is None else classifier_clouds(classifier, profile.fixed_points)
    drop = LIMITS[precision].max_drop if verification.max_drop is None else verification.max_drop
    tuning = None
    if own is None:
        accuracy, real, tuning = _task(network, usual, verification, drop if precision == "int8" else None)
    else:
        accuracy, real = score_agreement(network, own, precision=precision), own.clouds[:CLOUDS]
    calibration = None
    if precision == "int8" and own is not None and verification.calibrate is None:
        calibration = CalibrationSet(own.clouds, f"the classifier's own: {own.source}")
    elif precision == "int8":
        calibration = calibration_set(verification.calibrate or verification.data, usual, up=verification.up)
    if real is None and calibration is not None and verification.calibrate is not None:
        real = calibration.points[:CLOUDS]
    clouds = gate_clouds(usual, categories=_categories(network), real=real, counts=(smallest, largest))
    return CandidateCheck(Gate(Reference(network), clouds), profile, accuracy, drop, tuning), calibration


def _task(
    network: nn.Module, points: int, verification: Verification, tuned_to: float | None
) -> tuple[SvmAccuracy | PartAccuracy | None, NDArray[np.float32] | None, SvmAccuracy | None]:
    """What is measured on labelled clouds, some of those that nothing is fitted to, and what int8's search may see.

    Args:
        network: The trained network.
        points: Points per cloud.
        verification: The data.
        tuned_to: Of int8: the largest loss, in percentage points; layers are chosen by it.
    """
    if verification.data is None:
        return None, None, None
    config = _config(network)
    if "categories" in config:
        sample = verification_parts(
            verification.data, points, limit=verification.clouds, config=config, up=verification.up
        )
        return PartAccuracy(network, sample), sample.points[:CLOUDS], None
    probe = verification_clouds(verification.data, points, limit=verification.clouds, up=verification.up)
    if tuned_to is not None:
        require_objects(len(probe.points) - probe.train, verification.data, max_drop=tuned_to)
    features = embed_network(network, probe.points)
    tuning = None if tuned_to is None else inner_accuracy(features, probe)
    return SvmAccuracy(features, probe), probe.points[probe.train :][:CLOUDS], tuning


def _graph(
    exact: onnx.ModelProto,
    precision: str,
    check: CandidateCheck,
    calibration: CalibrationSet | None,
    classifier: Classifier | None,
    keep: Sequence[str],
) -> tuple[Chosen, tuple[str, ...], ExportParity]:
    """The graph that is shipped, the linter's rules that it keeps, and how it passed the gate."""
    smallest = min(clouds.inputs["points"].shape[1] for clouds in check.gate.clouds)
    rules = tuple(require_clean(exact, smallest))
    if precision == "fp32":
        exact = exact if classifier is None else append_classifier(exact, classifier)
        return Chosen(exact, []), rules, check.check(ONNX, exact, precision="fp32")
    parity = replace(check, accuracy=None).check(ONNX, exact, precision="fp32")
    if calibration is not None:
        chosen = choose_int8(exact, check, calibration=calibration, keep=keep)
        gain = measure_gain(exact, chosen.model, inputs=inputs_of(calibration.points, check.categories))
        chosen = replace(chosen, gain=gain)
    else:
        chosen = choose_half(exact, precision, check=check)
    require_clean(chosen.model, smallest)
    if classifier is not None:
        kept = [*chosen.kept, *head_products(classifier)]
        chosen = replace(chosen, model=append_classifier(chosen.model, classifier), kept=kept)
    require_precision(chosen.model, precision, kept=chosen.kept)
    lowered = check.check(ONNX, chosen.model, precision=precision)
    return chosen, rules, replace(lowered, before_lowering=BeforeLowering.of(parity.gate))


def _exact_graph(network: nn.Module, points: int | None) -> onnx.ModelProto:
    """The float32 graph, with the projection head where the network has one."""
    if not isinstance(network, Projected):
        return build(deploy(network), points)
    model = build(deploy(network.encoder), points)
    append_head(model, deploy_head(network.head))
    return model


def _check_network(source: Path, network: nn.Module, profile: Profile) -> None:
    broken = next((name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()), None)
    if broken is not None:
        raise InputError(f"{source} holds NaN or infinite weights ({broken}); export an earlier checkpoint")
    k = _config(network).get("k", 1)
    if profile.points is not None and profile.points[0] < int(k):
        raise InputError(f"--points {profile.points[0]} is fewer than the {k} neighbours that {source} looks at")


def _config(network: nn.Module) -> dict[str, int | str]:
    config = network.config
    assert isinstance(config, dict)
    return config


def _categories(network: nn.Module) -> int | None:
    """Width of the one-hot category that a part segmenter takes; None for an encoder."""
    categories = _config(network).get("categories")
    return None if categories is None else int(categories)


def _provenance(network: nn.Module, source: Weights, profile: Profile, precision: str) -> Provenance:
    config = _config(network)
    return Provenance(
        model=config,
        dim=getattr(network, "dim", config.get("parts")),  # a segmenter has parts instead
        points=profile.fixed_points,
        k=config.get("k"),
        precision=precision,
        preprocessing=Preprocessing(),
        source_sha256=source.sha256,
        version=__version__,
    )


def _precision(file: Path, precision: str, chosen: Chosen) -> Precision:
    """What an ONNX file holds, read back from it."""
    model = onnx.load(file)
    require_precision(model, precision, kept=chosen.kept)
    layers, kept = product_precisions(model), tuple(chosen.kept)
    found = chosen.calibration, chosen.sensitivity, chosen.gain
    return Precision(precision, precision, read_precision(model), layers, kept, *found)


def _manifest(
    file: Path,
    network: nn.Module,
    source: TrainedWeights,
    profile: Profile,
    precision: Precision,
    rules: tuple[str, ...],
    parity: ExportParity,
) -> BundleManifest:
    graph = onnx.load(file).graph
    modules = [np, onnx, torch, require("onnxruntime", "cpu", purpose="the parity gate")]
    return BundleManifest(
        files={ONNX: file_entry(file)},
        model=_config(network),
        source=source,
        versions={"crosspoint": __version__, **{module.__name__: str(module.__version__) for module in modules}},
        inputs=shapes(graph.input),
        outputs=shapes(graph.output),
        profile=profile,
        precision=precision,
        preprocessing=Preprocessing(up="y"),
        lint=rules,
        parity=parity,
    )


def _add_golden(folder: Path, manifest: BundleManifest) -> BundleManifest:
    """Add golden vectors to the bundle of an encoder or classifier; return the manifest that lists them."""
    if "embedding" not in manifest.outputs:
        return manifest
    least, usual, most = manifest.profile.tested_points(int(manifest.model.get("k", 1)))
    count = usual if manifest.classifier is None else manifest.classifier.points or usual
    if manifest.profile.points is not None:
        count = min(max(count, least), most)
    runs, low = manifest.parity.status == EXECUTED, manifest.precision.asked == "bf16"
    write_golden(folder, ONNX, count=count, runs=runs, operators=low)
    return replace(manifest, files={**manifest.files, GOLDEN: file_entry(folder / GOLDEN)})


def _source_entry(source: Weights, head: Weights | None) -> TrainedWeights:
    projection = None if head is None else WeightsEntry(head.path.name, head.sha256)
    return TrainedWeights(source.path.name, source.sha256, projection)
