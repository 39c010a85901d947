"""The interface of a loaded model, its description, and the checks of its inputs.

Any number of threads may use one encoder. A forked process can use it too. A pickled encoder opens its file again in
the other process.
"""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosspoint.core.content import read_once
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.results import OPTIONAL
from crosspoint.data.frames import Up, parse_up, to_y_up
from crosspoint.data.points import normalise as normalise_clouds
from crosspoint.data.sources import Source, find_sources, read_ahead
from crosspoint.runtime.calls import Calls
from crosspoint.runtime.classifier import NOVELTY, SCORES, ClassifierInfo, Predictions, check_frames
from crosspoint.runtime.draws import check_draws, mean_of_draws, split_draws
from crosspoint.runtime.options import Sampling
from crosspoint.runtime.released import find_hash

FloatArray = NDArray[np.float32]
FILE_BATCH = 32  # clouds that are read from files before they are embedded
LARGEST_MEAN, RADII = 0.25, (0.6, 1.5)
"""Accepted as normalised: the largest distance of the mean to the origin, and the range of the farthest point. Points
drawn from a normalised cloud pass, even without its farthest point; a unit cube or a unit diameter does not."""
OR_IMPORT = "or convert the checkpoint that it was made from: crosspoint import"
AnyEncoder = TypeVar("AnyEncoder", bound="Encoder")


@dataclass(frozen=True)
class Specification:
    """Describes a loaded model and the inputs that it takes.

    Attributes:
        architecture: Architecture of the network, e.g. `"dgcnn"`; `"unknown"` for an ONNX file of another origin.
        dim: Width of the embedding, or the number of parts of a segmenter.
        points: The number of points it takes, if fixed; None for a range.
        max_batch: Most clouds in one call of the backend; larger batches are split. None: no limit.
        precision: `"fp32"`, `"fp16"`, `"bf16"` or `"int8"`, as read back from the file.
        backend: `"pytorch"`, `"onnxruntime"`, `"onnxruntime-tensorrt"`, `"tensorrt"` or `"tensorrt-rtx"`.
        device: `"cpu"` or `"cuda:<index>"`, where it really runs.
        sha256: SHA-256 of the loaded file.
        path: Path of the loaded file.
        min_points: Least number of points of a cloud.
        max_points: Largest number of points of a cloud; None: no limit.
        min_batch: Fewest clouds in one call of the backend; smaller batches are padded, and the padding is removed.
        categories: Width of the one-hot category that a part segmenter takes; None for an encoder.
        engine: Name and version of the library that runs it.
        classifier: Classes and threshold of a classifier; None for a plain encoder.
    """

    architecture: str
    dim: int
    points: int | None
    max_batch: int | None
    precision: str
    backend: str
    device: str
    sha256: str
    path: str
    min_points: int = 1
    max_points: int | None = None
    min_batch: int = 1
    categories: int | None = None
    engine: str = ""
    classifier: ClassifierInfo | None = field(default=None, metadata=OPTIONAL)

    def check_points(self, count: int) -> None:
        """Raise InputError if the model does not take clouds of `count` points; the message says what it takes."""
        low = self.points or self.min_points
        high = self.points or self.max_points
        if count < low or (high is not None and count > high):
            fits = f"exactly {low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            raise InputError(f"{self.path} takes {fits} points per cloud, not {count}; sample that many")


class Encoder(ABC):
    """A loaded model, whatever its backend. Use it as a context manager, or call `close`.

    An encoder embeds clouds. A part segmenter, whose `specification.categories` is a number, segments them. A backend
    implements the specification, `run` and `_free`; inputs are checked before they reach it.

    Example:
        >>> with load_encoder("bundle") as encoder:        # doctest: +SKIP
        ...     embeddings = encoder.embed(points)         # (B, N, 3) to (B, D)
    """

    specification: Specification
    _calls: Calls
    _closed = False
    _forked = False
    _arguments: Mapping[str, Any] = {}
    """The arguments that open the same file again; empty for an encoder that cannot be pickled."""

    def __new__(cls: type[AnyEncoder], *arguments: object, **options: object) -> AnyEncoder:
        """Set up here, before the backend's `__init__`, so that no backend can forget it."""
        encoder = super().__new__(cls)
        encoder._calls = Calls()
        _ENCODERS.add(encoder)
        return encoder

    @abstractmethod
    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run the backend once: named inputs, checked and C-contiguous, to named outputs.

        Several threads may call it at once. It begins with `_check_usable`, because it may be called directly.
        """

    def set_neighbours(self, k: int) -> None:
        """Use k neighbours in all following calls. Only PyTorch weights support it.

        Raises:
            InputError: The number is part of the model file, or the model has no neighbour graphs.
        """
        raise InputError(
            f"{self.specification.path} has a fixed number of neighbours; leave --k out, or give the "
            ".safetensors file that it was exported from"
        )

    def close(self) -> None:
        """Free the resources of the backend after all calls in progress have ended. Calling it again does nothing.

        Raises:
            InputError: This thread itself is inside a call, e.g. in a signal handler.
        """
        with self._alone():
            if not self._closed:
                self._closed = True
                if not self._is_left_behind():
                    self._free()

    def _free(self) -> None:
        """Free the resources of the backend. No call is in progress, and none will follow."""
        return

    def _after_fork(self) -> None:
        """Called first in a forked child: do not touch what works only in the parent."""
        return

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Mark a call in progress; `close` waits for it.

        Raises:
            InputError: As `_check_usable`.
        """
        with self._calls.one():
            self._check_usable()
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no call is in progress, and let new ones wait.

        Raises:
            InputError: This thread itself is inside a call, and would wait for ever.
        """
        if self._calls.has_this_thread():
            raise InputError(f"{self.specification.path} is running a call in this thread; wait for its result first")
        with self._calls.none():
            yield

    def _check_usable(self) -> None:
        """Raise InputError if the encoder was closed, or is on a GPU and this process was forked."""
        path = self.specification.path
        if self._closed:
            raise InputError(f"{path} was closed; open it again with load_encoder")
        if self._is_left_behind():
            raise InputError(
                f"{path} was opened on {self.specification.device} before this process was forked, and CUDA does not "
                "work after a fork; open it in each process, or start processes with multiprocessing's spawn"
            )

    def _is_left_behind(self) -> bool:
        return self._forked and self.specification.device != "cpu"

    def __reduce__(self) -> tuple[Callable[..., "Encoder"], tuple[object, ...]]:
        """Pickle the arguments that open the same file again."""
        self._check_usable()
        if not self._arguments:
            raise InputError(
                f"{self.specification.path} on {self.specification.backend} cannot be pickled; open it in the other "
                "process by its path"
            )
        return _reopen, (type(self), self.specification.sha256, dict(self._arguments))

    def __enter__(self: AnyEncoder) -> AnyEncoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """A description: architecture, points, width, precision, backend, device, file."""
        spec = self.specification
        points = spec.points or f"{spec.min_points} to {spec.max_points or 'any number of'}"
        width = f"{spec.dim} {'values' if spec.categories is None else 'parts'}"
        state = ", closed" if self._closed else ""
        return (
            f"<{type(self).__name__} {spec.architecture}: {points} points to {width}, {spec.precision}, {spec.backend} "
            f"on {spec.device}, {spec.path}{state}>"
        )

    def embed(
        self,
        points: "ArrayLike | Path | Sequence[str | Path]",
        *,
        normalise: bool = False,
        up: Up | None = None,
        seed: int = 0,
        draws: int = 1,
    ) -> FloatArray:
        """Embed clouds or files.

        Args:
            points: `(B, N, 3)`, floating point. With `normalise=True` in any unit; else each cloud centred on its mean,
                its farthest point at distance 1. Or a path, or a list of paths, of mesh and point-cloud files, folders
                and data sets; these are read, sampled and always normalised as by `crosspoint embed`.
            normalise: Centre and scale the clouds first (`crosspoint.data.points.normalise`).
            up: Axis that points up in the clouds, e.g. `"z"`; they are turned to y-up, as in training. None: y for
                arrays; for files the axis that their format states, else y.
            seed: Random seed of the points that are drawn from files; see `crosspoint.data.points.drawing`.
            draws: Number of draws of points from each cloud of a file; their embeddings are averaged.

        Returns:
            `(B, D)` float32; for files one row per cloud, in the order of the paths.

        Raises:
            InputError: Shape, type, a value or the number of points does not fit, clouds are clearly not normalised, a
                file cannot be read, the model is a segmenter, or the encoder was closed.
            CheckFailed: The output has NaN or infinite values.

        Example:
            >>> encoder.embed(scan[None], normalise=True, up="z")  # doctest: +SKIP
        """
        if up is not None:
            parse_up(up)
        if (paths := _as_paths(points)) is not None:
            return self._embed_files(paths, seed, draws, up)
        points = cast("ArrayLike", points)
        with self._in_use():
            if self.specification.categories is not None:
                raise InputError(
                    f"{self.specification.path} is a part segmenter, not an encoder; use segment(points, category)"
                )
            return self._run_batches({"points": self._normalised(points, normalise, up)}, "embedding")

    def predict(
        self,
        points: "ArrayLike | Path | Sequence[str | Path]",
        *,
        normalise: bool = False,
        up: Up | None = None,
        seed: int = 0,
        draws: int = 1,
    ) -> Predictions:
        """Classify clouds or files.

        Args:
            points: As for `embed`.
            normalise: As for `embed`.
            up: As for `embed`.
            seed: As for `embed`.
            draws: As for `embed`; their probabilities are averaged.

        Returns:
            Scores, labels, and which objects are unknown; for files one row per cloud, in the order of the paths.

        Raises:
            InputError: As `embed`; the model is not a classifier; or the frames of classifier and files are mixed: one
                is stated and the other is not.
            CheckFailed: The output has NaN or infinite values.

        Example:
            >>> with crosspoint.load("classifier") as c:            # doctest: +SKIP
            ...     c.predict("scan.ply").labels
            ['chair']
        """
        if up is not None:
            parse_up(up)
        classifier = self.specification.classifier
        if classifier is None:
            raise InputError(f"{self.specification.path} is not a classifier; make one with crosspoint fit")
        if (paths := _as_paths(points)) is not None:
            rows = self._score_files(paths, seed, draws, up, classifier)
        else:
            rows = self._scores(cast("ArrayLike", points), normalise=normalise, up=up)
        return Predictions.from_rows(classifier, rows)

    def _scores(self, points: ArrayLike, *, normalise: bool = False, up: Up | None = None) -> FloatArray:
        """Scores and novelty `(B, classes + 1)`."""
        with self._in_use():
            return self._run_batches({"points": self._normalised(points, normalise, up)}, SCORES, NOVELTY)

    def infer(self, inputs: Mapping[str, ArrayLike], *, any_scale: bool = False) -> FloatArray:
        """Embed or segment clouds, whichever the model does, from named inputs.

        Args:
            inputs: `points`, y-up and normalised as for `embed`, and for a segmenter `category`.
            any_scale: Accept clouds that are not normalised. Comparisons of models need them.

        Returns:
            The result of `embed` or `segment`.

        Raises:
            InputError: As for `embed` or `segment`.
            CheckFailed: The output has NaN or infinite values.
        """
        with self._in_use():
            points = self._checked_points(inputs["points"])
            if not any_scale:
                self._check_normalised(points)
            if self.specification.categories is None:
                return self._run_batches({"points": points}, "embedding")
            category = self._checked_category(inputs["category"], len(points))
            return self._run_batches({"points": points, "category": category}, "logits")

    def _embed_files(self, paths: Sequence[Path], seed: int, draws: int, up: Up | None) -> FloatArray:
        """Embed files with the number of points that the model was exported or trained with."""
        release = find_hash(self.specification.sha256) if self.specification.points is None else None
        count = None if release is None else release[0].points
        sampling = Sampling(count, seed, up=up, draws=draws)
        return self._run_sources(self._find_sources(paths, sampling, release is not None), self.embed)

    def _score_files(
        self, paths: Sequence[Path], seed: int, draws: int, up: Up | None, classifier: ClassifierInfo
    ) -> FloatArray:
        """Classify files with the number of points that the classifier was fitted with."""
        sampling = Sampling(classifier.points, seed, up=up, draws=draws)
        sources = self._find_sources(paths, sampling, classifier.at_most)
        check_frames(classifier, sources, path=self.specification.path)
        return self._run_sources(sources, self._scores)

    def _find_sources(self, paths: Sequence[Path], sampling: Sampling, at_most: bool) -> list[Source]:
        """The clouds of files, folders and data sets.

        Args:
            paths: Of files, folders and data sets.
            sampling: Points per cloud if the model takes any number, None: all points; seed, draws and the axis that
                points up.
            at_most: Use all points of clouds that have fewer.
        """
        if sampling.seed < 0:
            raise InputError(f"the seed {sampling.seed} is negative; give 0 or more")
        check_draws(sampling.draws)
        fixed = self.specification.points
        count, at_most = (sampling.points, at_most) if fixed is None else (fixed, False)
        return [
            source
            for path in paths
            for source in find_sources(
                [path], count, seed=sampling.seed, at_most=at_most, draws=sampling.draws, up=sampling.up
            )
        ]

    def _run_sources(self, sources: Sequence[Source], run: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Run clouds; up to `FILE_BATCH` consecutive ones of equal size form a batch.

        Args:
            sources: From `_find_sources`; the results of the draws of a cloud are averaged.
            run: Maps clouds `(B, N, 3)` to results `(B, …)`.
        """
        made, waiting, counts = list[FloatArray](), list[FloatArray](), list[int]()
        for source, clouds, _ in read_ahead(sources, 4 * FILE_BATCH):
            if isinstance(clouds, InputError):
                raise clouds
            drawn = split_draws(clouds, source.draws)
            counts += map(len, drawn)
            for cloud in chain.from_iterable(drawn):
                if waiting and (len(waiting) == FILE_BATCH or len(waiting[0]) != len(cloud)):
                    made.append(run(np.stack(waiting)))
                    waiting = []
                waiting.append(cloud)
        return mean_of_draws(np.concatenate([*made, run(np.stack(waiting))]), counts)

    def segment(
        self, points: ArrayLike, category: ArrayLike, *, normalise: bool = False, up: Up | None = None
    ) -> FloatArray:
        """Predict part logits for every point.

        Args:
            points: `(B, N, 3)`, as for `embed`.
            category: One-hot `(B, categories)`.
            normalise: As for `embed`.
            up: As for `embed`.

        Returns:
            `(B, N, parts)` float32.

        Raises:
            InputError: Shape, type, a value or the number of points does not fit, clouds are clearly not normalised,
                the model is an encoder, or it was closed.
            CheckFailed: The output has NaN or infinite values.
        """
        if up is not None:
            parse_up(up)
        with self._in_use():
            if self.specification.categories is None:
                raise InputError(f"{self.specification.path} is an encoder, not a part segmenter; use embed(points)")
            clouds = self._normalised(points, normalise, up)
            return self._run_batches(
                {"points": clouds, "category": self._checked_category(category, len(clouds))}, "logits"
            )

    def _checked_points(self, points: ArrayLike) -> FloatArray:
        array = _as_float32(points, "points")
        if array.ndim != 3 or array.shape[2] != 3 or array.shape[0] == 0:
            hint = "; for one cloud give points[None]" if array.ndim == 2 and array.shape[1] == 3 else ""
            raise InputError(f"points have the shape {array.shape}; give (B, N, 3) with B at least 1{hint}")
        self.specification.check_points(array.shape[1])
        return array

    def _normalised(self, points: ArrayLike, normalise: bool, up: Up | None) -> FloatArray:
        """Check clouds and turn them to y-up. With `normalise`, centre and scale them too, in float64."""
        array = self._checked_points(points)
        if normalise:
            return normalise_clouds(to_y_up(np.asarray(points), up or "y"))
        self._check_normalised(array)
        return array if up in (None, "y") else to_y_up(array, up)

    def _check_normalised(self, clouds: FloatArray) -> None:
        """Raise InputError if clouds `(B, N, 3)` are clearly not normalised. Clouds of zeros are accepted."""
        with np.errstate(over="ignore"):  # infinite is far as well
            squares = clouds * clouds
            radii = np.sqrt((squares[..., 0] + squares[..., 1] + squares[..., 2]).max(axis=1))  # (B,)
            sums = np.ones((1, clouds.shape[1]), np.float32) @ clouds  # (B, 1, 3), 4 times as fast as `sum`
            means = np.linalg.norm(sums[:, 0], axis=1) / clouds.shape[1]  # (B,)
        low, high = RADII
        if (radii >= low).all() and (radii <= high).all() and (means <= LARGEST_MEAN).all():
            return
        bad = np.flatnonzero(((radii < low) & (radii > 0)) | (radii > high) | (means > LARGEST_MEAN))
        if len(bad):
            first = bad[0]
            raise InputError(
                f"{len(bad)} of {len(clouds)} clouds are not normalised, first number {first}: its mean lies "
                f"{means[first]:.3g} from the origin and its farthest point {radii[first]:.3g}, where "
                f"{self.specification.path} was trained on 0 and 1; give normalise=True"
            )

    def _checked_category(self, category: ArrayLike, batch: int) -> FloatArray:
        array = _as_float32(category, "category", integers=True)
        wanted = (batch, self.specification.categories)
        if array.shape != wanted:
            raise InputError(f"category has the shape {array.shape}; these points need one-hot {wanted}")
        if not (np.all((array == 0) | (array == 1)) and np.all(array.sum(axis=1) == 1)):
            raise InputError("category is not one-hot; every row needs one 1, and 0 elsewhere")
        return array

    def _run_batches(self, inputs: Mapping[str, FloatArray], *outputs: str) -> FloatArray:
        """Run pieces of at most `max_batch` clouds; smaller ones than `min_batch` are padded with the last cloud.

        Several outputs are put side by side.
        """
        spec, total = self.specification, len(inputs["points"])
        result, bad = np.empty(0, np.float32), list[int]()
        for start in range(0, total, spec.max_batch or total):
            piece = {name: array[start : start + (spec.max_batch or total)] for name, array in inputs.items()}
            size = len(piece["points"])
            if size < spec.min_batch:
                piece = {name: self._padded(array) for name, array in piece.items()}
            made = self._side_by_side(self.run(piece), outputs, piece["points"])[:size]
            bad += [start + i for i, values in enumerate(made) if not np.isfinite(values).all()]
            if start == 0:
                result = made if size == total else np.empty((total, *made.shape[1:]), np.float32)
            if result is not made:
                result[start : start + size] = made
        if bad:
            raise CheckFailed(
                f"{spec.path} gave NaN or infinite values for {len(bad)} of {total} clouds, first for cloud {bad[0]} "
                f"({spec.backend}, {spec.precision}); compare it with the trained network: crosspoint parity"
            )
        return result

    def _side_by_side(self, made: Mapping[str, FloatArray], outputs: Sequence[str], points: FloatArray) -> FloatArray:
        """Outputs for clouds `(B, N, 3)`, side by side if there are several.

        Raises:
            InputError: One has another shape than it should have.
        """
        for output in outputs:
            wanted = self._shape(output, points)
            if made[output].shape != wanted:
                raise InputError(
                    f"{self.specification.path} gave {output} of shape {made[output].shape}, not {wanted}; export the "
                    "model again"
                )
        return made[outputs[0]] if len(outputs) == 1 else np.concatenate([made[name] for name in outputs], axis=1)

    def _shape(self, output: str, points: FloatArray) -> tuple[int, ...]:
        """Shape of an output for clouds `(B, N, 3)`."""
        spec = self.specification
        if output == NOVELTY:
            return len(points), 1
        if output == SCORES and spec.classifier is not None:
            return len(points), len(spec.classifier.classes)
        return (*points.shape[: 1 if output == "embedding" else 2], spec.dim)

    def _padded(self, array: FloatArray) -> FloatArray:
        """Pad a batch with copies of its last cloud to the fewest clouds that the model takes."""
        fewest = self.specification.min_batch
        try:
            return np.concatenate([array, np.repeat(array[-1:], fewest - len(array), axis=0)])
        except (MemoryError, ValueError) as error:  # NumPy raises either
            raise InputError(
                f"{self.specification.path} takes at least {fewest} clouds per call, which do not fit into memory; "
                "export the model with a smaller --batch"
            ) from error


_ENCODERS: "WeakSet[Encoder]" = WeakSet()


def _in_child() -> None:
    """In a forked child only the forking thread exists: reset the locks and counters of the others."""
    for encoder in list(_ENCODERS):
        encoder._calls, encoder._forked = Calls(), True
        encoder._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def read_same(path: Path, digest: str) -> bytes:
    """Read a file again and check that its SHA-256 has not changed.

    Raises:
        InputError: It cannot be read, or has changed.
    """
    content = read_once(path)
    if content.sha256 != digest:
        raise InputError(f"{path} has changed since it was opened; load it anew")
    return content.data


def _reopen(kind: type[Encoder], digest: str, arguments: Mapping[str, Any]) -> Encoder:
    """Called to unpickle an encoder."""
    read_same(arguments["path"], digest)
    return kind(**arguments)


def _as_paths(points: object) -> list[Path] | None:
    """The paths, if these are paths; None for an array."""
    if isinstance(points, str | Path):
        return [Path(points)]
    if isinstance(points, list | tuple) and points and all(isinstance(path, str | Path) for path in points):
        return [Path(path) for path in points]
    return None


def _as_float32(values: ArrayLike, name: str, integers: bool = False) -> FloatArray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} are not a regular array ({error}); give a numpy array of float32") from None
    kinds = "fiub" if integers else "f"
    if array.dtype.kind not in kinds:
        raise InputError(f"{name} are of type {array.dtype}; give floating-point values, e.g. {name}.astype('float32')")
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, which is reported below
        result = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise InputError(f"{name} hold NaN or infinite values, first at index {first}; remove them")
    return result


def interface(path: object, inputs: Iterable[str], *, outputs: Iterable[str]) -> str:
    """The main output, `"embedding"` or `"logits"`, from the names of a file's inputs and outputs.

    Raises:
        InputError: The names are those of neither an encoder nor a part segmenter.
    """
    given, made = sorted(inputs), sorted(outputs)
    for wanted, output in ((["points"], "embedding"), (["category", "points"], "logits")):
        if given == wanted and output in made:
            return output
    raise InputError(
        f"{path} maps {', '.join(given)} to {', '.join(made)}; an encoder maps points to embedding, "
        f"a segmenter points and category to logits: rename its inputs and outputs, {OR_IMPORT}"
    )


def parse_device(device: str) -> int | None:
    """CUDA index of `"cuda"` or `"cuda:<index>"`; None for `"cpu"`.

    Raises:
        InputError: Anything else.
    """
    if device == "cpu":
        return None
    name, colon, index = device.partition(":")
    if name == "cuda" and (not colon or (index.isascii() and index.isdigit())):
        return int(index or 0)
    raise InputError(f"unknown device {device!r}; give cpu, cuda or cuda:<index>")
