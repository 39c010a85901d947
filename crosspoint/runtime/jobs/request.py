"""An embedding request that can be sent to another machine and opened there."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crosspoint.core.errors import InputError, require
from crosspoint.data.frames import Frame, common_frame
from crosspoint.data.objects.find import ObjectOptions
from crosspoint.data.objects.sources import Scans, find_scans
from crosspoint.data.sources import Source, base_of, find_sources
from crosspoint.runtime.draws import check_draws
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.released import find_release
from crosspoint.runtime.signing import find_key_files
from crosspoint.runtime.specification import Specification


@dataclass(frozen=True)
class Request:
    """A model, inputs and options, checked as far as possible without opening them.

    Attributes:
        model: Name, or absolute path.
        inputs: Absolute paths.
        sampling: Points per cloud, None: as the model needs; random seed and number of draws of the points; the axis
            that points up in the inputs, None: as their formats say.
        batch: Most clouds per call of the model.
        run_on: Device and backend of the model.
        objects: How objects are found in the inputs, which are then scans; None: each input is one object.
        verify_keys: Public keys; one of them must have signed the model. Empty: no check.
        reading: How files are found and read.
    """

    model: str
    inputs: tuple[Path, ...]
    sampling: Sampling
    batch: int
    run_on: RunOn
    objects: ObjectOptions | None = None
    verify_keys: tuple[Path, ...] = ()
    reading: Reading = Reading()

    @property
    def base(self) -> str:
        """The folder that names are relative to."""
        return base_of(self.inputs)


@dataclass(frozen=True)
class Opened:
    """An open encoder, its sources, and the points per cloud; with `at_most`, smaller clouds are taken too.

    `frame` is that of the sources together; what they give is y-up.
    """

    encoder: Encoder
    sources: list[Source]
    points: int | None
    at_most: bool
    frame: Frame


def make_request(
    model: Path | str,
    inputs: Sequence[Path] | Scans,
    *,
    sampling: Sampling,
    batch: int,
    run_on: RunOn,
    reading: Reading = Reading(),
) -> Request:
    """Make a request with absolute paths and with the public keys that are set in this process.

    Raises:
        InputError: There are no inputs, or an option is invalid.
    """
    objects = None
    if isinstance(inputs, Scans):
        sampling, objects = _one_axis(sampling, inputs.options)
        inputs = inputs.inputs
    if not inputs:
        raise InputError("no inputs were given; give files, folders or data sets")
    if batch < 1:
        raise InputError(f"--batch is {batch}; give 1 or more")
    if sampling.seed < 0:
        raise InputError(f"--seed is {sampling.seed}; give 0 or more")
    check_draws(sampling.draws)
    if objects is not None and sampling.draws > 1:
        raise InputError("the objects of a scan are drawn once; leave --draws out, or --objects")
    named = find_release(model) is not None or not os.path.exists(model)
    place = str(model) if named else str(Path(model).absolute())
    paths = tuple(Path(given).absolute() for given in inputs)
    return Request(place, paths, sampling, batch, run_on, objects, find_key_files(), reading)


def _one_axis(sampling: Sampling, objects: ObjectOptions) -> tuple[Sampling, ObjectOptions]:
    """The axis that points up in scans may stand in either; from here on it is that of the sampling.

    Raises:
        InputError: They name two.
    """
    if None not in (sampling.up, objects.up) and sampling.up != objects.up:
        raise InputError(f"the inputs are said to be {sampling.up}-up and the scans {objects.up}-up; give one of them")
    return replace(sampling, up=sampling.up or objects.up), replace(objects, up=None)


def open_model(request: Request, threads: int | None = None) -> Encoder:
    """Open the model of a request; arguments and errors as `open_request`."""
    return load_encoder(
        request.model,
        request.run_on.device,
        backend=request.run_on.backend,
        threads=threads,
        trust=request.run_on.trust,
        verify_key=request.verify_keys or None,
    )


def open_request(request: Request, threads: int | None = None) -> Opened:
    """Open the model and find the sources.

    Args:
        request: From `make_request`.
        threads: CPU threads, see `load_encoder`.

    Raises:
        InputError: The model or an option cannot be used, or an input is missing.
    """
    encoder = open_model(request, threads)
    try:
        count, at_most = points_of(encoder.specification, request)
        sources = _find_sources(request, encoder, count, at_most)
        return Opened(encoder, sources, count, at_most, common_frame(source.frame for source in sources))
    except BaseException:
        encoder.close()
        raise


def points_of(specification: Specification, request: Request) -> tuple[int | None, bool]:
    """Points per cloud (None: all), and whether clouds of fewer points are used whole.

    The number is that of the request, or else the fixed one of the model, or else the one it was trained with.

    Raises:
        InputError: The model does not take clouds of this number of points.
    """
    count = specification.points if request.sampling.points is None else request.sampling.points
    if count is not None:
        specification.check_points(count)
        return count, False
    if specification.classifier is not None:
        return specification.classifier.points, specification.classifier.at_most
    release = find_release(request.model)
    return (None, False) if release is None else (release.points, True)


def _find_sources(request: Request, encoder: Encoder, count: int | None, at_most: bool) -> list[Source]:
    """The inputs, or as scans their objects; those of fewer points than the model takes are left out."""
    inputs, sampling, reading = list(request.inputs), request.sampling, request.reading
    if request.objects is None:
        return find_sources(
            inputs,
            count,
            seed=sampling.seed,
            at_most=at_most,
            draws=sampling.draws,
            reading=reading,
            up=sampling.up,
        )
    require("sklearn.cluster", "objects", purpose="--objects")
    fewest = max(1 if at_most or count is None else count, encoder.specification.min_points)
    least = max(request.objects.least_points, fewest)
    return find_scans(
        inputs,
        count,
        seed=sampling.seed,
        options=replace(request.objects, least_points=least, up=sampling.up),
        reading=reading,
    )
