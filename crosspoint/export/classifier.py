"""Classifiers in bundles: the weights and the head for an export, and the clouds that it is compared on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.export.engine.engine import file_entry
from crosspoint.export.manifest import BundleManifest
from crosspoint.models.weights import Weights
from crosspoint.parity.limits import LIMITS
from crosspoint.parity.reference import Reference
from crosspoint.parity.scores import ScoreAgreement
from crosspoint.runtime.classifier import HEAD_FILE, Classifier, parse_classifier, write_classifier
from crosspoint.runtime.load import WEIGHTS
from crosspoint.runtime.manifest import NAME, load_manifest

BATCH = 8


def find_classifier(model: Path) -> Classifier | None:
    """Read the head of a classifier bundle and compare its files with the manifest; None for other models.

    Raises:
        InputError: A file differs from the manifest, or is damaged.
    """
    if not (model / NAME).is_file():
        return None
    manifest = load_manifest(model)
    if manifest.classifier is None:
        return None
    manifest.verify(model / WEIGHTS[0])
    path = model / HEAD_FILE
    return parse_classifier(path, manifest.read(path), info=manifest.classifier)


def check_classifier(classifier: Classifier, network: nn.Module, *, projection: bool, data: Path | None) -> None:
    """Raise InputError if a head does not fit a network or the options."""
    if projection or data is not None:
        option = "--projection" if projection else "--verify-data"
        reason = "has a head already" if projection else "is compared on its own clouds"
        raise InputError(f"a classifier {reason}; leave {option} out")
    dim = getattr(network, "dim", None)
    if dim != len(classifier.head.mean):
        raise InputError(
            f"the head needs embeddings of {len(classifier.head.mean)} numbers, but the network gives "
            f"{dim or 'labels of points'}; fit the classifier again"
        )


def score_agreement(network: nn.Module, classifier: Classifier, *, precision: str) -> ScoreAgreement:
    """Reference scores: network and head in float64 on the classifier's own clouds."""
    reference, clouds = Reference(network), classifier.clouds
    starts = track(range(0, len(clouds), BATCH), "Embedding in float64")
    pieces = [reference.on_own_graphs({"points": clouds[start : start + BATCH]}) for start in starts]
    return ScoreAgreement(np.concatenate(pieces), classifier, limits=LIMITS[precision])


def add_classifier(
    folder: Path, manifest: BundleManifest, *, classifier: Classifier, source: Weights
) -> BundleManifest:
    """Add weights and head to a bundle, so that it can be exported again; return the manifest that lists them."""
    shutil.copyfile(source.path, folder / WEIGHTS[0])
    write_classifier(folder / HEAD_FILE, classifier)
    files = {name: file_entry(folder / name) for name in (WEIGHTS[0], HEAD_FILE)}
    return replace(manifest, files={**manifest.files, **files}, classifier=classifier.info)
