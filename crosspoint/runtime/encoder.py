"""The contract of a loaded model: what it is, what it takes, and the checks in front of every backend.

Any number of threads may use one encoder. A process that is forked keeps it, and one that it is pickled to opens its
file again.
"""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast
from weakref import WeakSet

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crosspoint.core.content import read_once
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.results import OPTIONAL
from crosspoint.data.sources import find_sources, read_ahead
from crosspoint.runtime.calls import Calls
from crosspoint.runtime.classifier import SCORES, ClassifierInfo, Predictions
from crosspoint.runtime.released import find_hash

FloatArray = NDArray[np.float32]
FILE_BATCH = 32  # clouds that are read from files before they are embedded
AnyEncoder = TypeVar("AnyEncoder", bound="Encoder")


@dataclass(frozen=True)
class Specification:
    """What a loaded model is and what fits it.

    Attributes:
        architecture: As in the model's `config`, e.g. `"dgcnn"`; `"unknown"` for a foreign ONNX file.
        dim: Width of the embedding, or the number of parts of a segmenter.
        points: The one number of points it takes; None where it takes a range.
        max_batch: Most clouds in one call of the backend; larger batches are split. None for any number.
        precision: `"fp32"`, `"fp16"`, `"bf16"` or `"int8"`, as read back from the file.
        backend: `"pytorch"`, `"onnxruntime"`, `"onnxruntime-tensorrt"`, `"tensorrt"` or `"tensorrt-rtx"`.
        device: `"cpu"` or `"cuda:<index>"`: where it really runs.
        sha256: Of the file that was loaded.
        path: The file that was loaded.
        min_points: Fewest points of a cloud.
        max_points: Most points of a cloud; None for any number.
        min_batch: Fewest clouds in one call of the backend; smaller batches are padded, and the padding dropped.
        categories: Width of the one-hot category that a part segmenter takes; None for an encoder.
        engine: What executes it, with its version.
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
        """Raise InputError, saying what would fit, if clouds of `count` points do not."""
        low = self.points or self.min_points
        high = self.points or self.max_points
        if count < low or (high is not None and count > high):
            fits = f"exactly {low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            raise InputError(f"clouds of {count} points do not fit {self.path}, which takes {fits}; sample that many")


class Encoder(ABC):
    """A loaded model behind one contract. A context manager; `close` frees what the backend holds.

    An encoder embeds clouds; a part segmenter (`specification.categories` is a number) segments them. A backend gives
    the specification, `run` and `_free`; everything is checked before it gets there.

    Example:
        >>> with load_encoder("bundle") as encoder:        # doctest: +SKIP
        ...     embeddings = encoder.embed(points)         # (B, N, 3) to (B, D)
    """

    specification: Specification
    _calls: Calls
    _closed = False
    _forked = False
    _arguments: Mapping[str, Any] = {}
    """Those that open the same file again; empty for an encoder that cannot be pickled."""

    def __new__(cls: type[AnyEncoder], *arguments: object, **options: object) -> AnyEncoder:
        """Before a backend's own `__init__`, so that none can leave it out."""
        encoder = super().__new__(cls)
        encoder._calls = Calls()
        _ENCODERS.add(encoder)
        return encoder

    @abstractmethod
    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """One call of the backend: inputs by name, C-contiguous and checked, to outputs by name.

        Several threads may be in it at once. It begins with `_check_usable`, since it may be called directly.
        """

    def set_neighbours(self, k: int) -> None:
        """Build the graphs of all following calls with k neighbours; only weights in PyTorch can.

        Raises:
            InputError: The number is part of the model's file, or the model has no graphs.
        """
        raise InputError(
            f"{self.specification.path} has its number of neighbours built in; leave --k out, or give the "
            ".safetensors that it was exported from"
        )

    def close(self) -> None:
        """Free what the backend holds, once the calls of other threads have ended. Harmless the second time.

        Raises:
            InputError: This very thread is inside a call, as a signal's handler can be.
        """
        with self._alone():
            if not self._closed:
                self._closed = True
                if not self._is_left_behind():
                    self._free()

    def _free(self) -> None:
        """Free what the backend holds; no call is in progress, and none will follow."""
        return

    def _after_fork(self) -> None:
        """In a forked child, before anything else: leave alone what only works in the process that made it."""
        return

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """A call in progress, which `close` waits for.

        Raises:
            InputError: As `_check_usable`.
        """
        with self._calls.one():
            self._check_usable()
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No call in progress, and new ones wait.

        Raises:
            InputError: This very thread is inside a call, and would wait for itself.
        """
        if self._calls.has_this_thread():
            raise InputError(f"{self.specification.path} is at work in this very thread; wait for its result first")
        with self._calls.none():
            yield

    def _check_usable(self) -> None:
        """Raise InputError if the encoder was closed, or is on a GPU that this process lost by being forked."""
        path = self.specification.path
        if self._closed:
            raise InputError(f"{path} was closed; open it again with load_encoder")
        if self._is_left_behind():
            raise InputError(
                f"{path} was opened on {self.specification.device} before this process was forked, and CUDA does not "
                "survive a fork; open it in each process, or start processes with multiprocessing's spawn"
            )

    def _is_left_behind(self) -> bool:
        return self._forked and self.specification.device != "cpu"

    def __reduce__(self) -> tuple[Callable[..., "Encoder"], tuple[object, ...]]:
        """Pickled as what opens the same file again, elsewhere or here."""
        self._check_usable()
        if not self._arguments:
            raise InputError(
                f"{self.specification.path} on {self.specification.backend} cannot be pickled; give the other process "
                "its path, to open it there"
            )
        return _reopen, (type(self), self.specification.sha256, dict(self._arguments))

    def __enter__(self: AnyEncoder) -> AnyEncoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """What it is: architecture, width, points, precision, backend, device, file."""
        spec = self.specification
        points = spec.points or f"{spec.min_points} to {spec.max_points or 'any number of'}"
        width = f"{spec.dim} {'values' if spec.categories is None else 'parts'}"
        state = ", closed" if self._closed else ""
        return (
            f"<{type(self).__name__} {spec.architecture}: {points} points to {width}, {spec.precision}, {spec.backend} "
            f"on {spec.device}, {spec.path}{state}>"
        )

    def embed(self, points: "ArrayLike | Path | Sequence[str | Path]", *, seed: int = 0) -> FloatArray:
        """Embeddings of clouds, or of files.

        Args:
            points: `(B, N, 3)`, floating point, each cloud centred on its mean with its farthest point at distance 1
                (`crosspoint.data.points.normalise`). Or a path, or a list of paths, of mesh and point-cloud files,
                folders and data sets: read, sampled and normalised as by `crosspoint embed`.
            seed: Of the points that are drawn from files; what is drawn depends on it and the file's name alone.

        Returns:
            `(B, D)` float32; of files a row for each cloud, in the order of the paths.

        Raises:
            InputError: Shape, type, a value or the number of points does not fit, a file cannot be read, the model is a
                segmenter, or the encoder was closed.
            CheckFailed: The model's result is not finite.
        """
        if (paths := _as_paths(points)) is not None:
            return self._embed_files(paths, seed)
        points = cast("ArrayLike", points)
        with self._in_use():
            if self.specification.categories is not None:
                raise InputError(
                    f"{self.specification.path} is a part segmenter, not an encoder; use segment(points, category)"
                )
            return self._run_batches({"points": self._checked_points(points)}, "embedding")

    def predict(self, points: "ArrayLike | Path | Sequence[str | Path]", *, seed: int = 0) -> Predictions:
        """Classes of clouds, or of files, with their probabilities.

        Args:
            points: As for `embed`.
            seed: Likewise.

        Returns:
            Scores, labels and which objects are unknown; of files a row for each cloud, in the order of the paths.

        Raises:
            InputError: As of `embed`, or the model is no classifier.
            CheckFailed: The model's result is not finite.

        Example:
            >>> with crosspoint.load("classifier") as c:            # doctest: +SKIP
            ...     c.predict("scan.ply").labels
            ['chair']
        """
        classifier = self.specification.classifier
        if classifier is None:
            raise InputError(f"{self.specification.path} is no classifier; make one with crosspoint fit")
        if (paths := _as_paths(points)) is not None:
            count, at_most = classifier.points, classifier.at_most
            return Predictions(classifier, self._run_files(paths, seed, count, at_most, run=self._scores))
        return Predictions(classifier, self._scores(cast("ArrayLike", points)))

    def _scores(self, points: ArrayLike) -> FloatArray:
        with self._in_use():
            return self._run_batches({"points": self._checked_points(points)}, SCORES)

    def _embed_files(self, paths: Sequence[Path], seed: int) -> FloatArray:
        """Embeddings of files, with the number of points that the model was made for or trained at."""
        release = find_hash(self.specification.sha256) if self.specification.points is None else None
        count = None if release is None else release[0].points
        return self._run_files(paths, seed, count, release is not None, run=self.embed)

    def _run_files(
        self,
        paths: Sequence[Path],
        seed: int,
        count: int | None,
        at_most: bool,
        *,
        run: Callable[[FloatArray], FloatArray],
    ) -> FloatArray:
        """Clouds of one size in a row go together, at most `FILE_BATCH` at once.

        Args:
            paths: Files, folders and data sets.
            seed: Of the points drawn.
            count: Points per cloud where the model takes any number; None for all.
            at_most: Whether clouds of fewer points are taken whole.
            run: Results `(B, …)` of clouds `(B, N, 3)`.
        """
        if seed < 0:
            raise InputError(f"the seed {seed} is negative; give 0 or more")
        fixed = self.specification.points
        count, at_most = (count, at_most) if fixed is None else (fixed, False)
        sources = [source for path in paths for source in find_sources([path], count, seed=seed, at_most=at_most)]
        made, waiting = list[FloatArray](), list[FloatArray]()
        for _, clouds, _ in read_ahead(sources, 4 * FILE_BATCH):
            if isinstance(clouds, InputError):
                raise clouds
            for cloud in clouds:
                if waiting and (len(waiting) == FILE_BATCH or len(waiting[0]) != len(cloud)):
                    made.append(run(np.stack(waiting)))
                    waiting = []
                waiting.append(cloud)
        return np.concatenate([*made, run(np.stack(waiting))])

    def segment(self, points: ArrayLike, category: ArrayLike) -> FloatArray:
        """Part logits of every point.

        Args:
            points: `(B, N, 3)`, as for `embed`.
            category: One-hot `(B, categories)`.

        Returns:
            `(B, N, parts)` float32.

        Raises:
            InputError: Shape, type, a value or the number of points does not fit, the model is an encoder, or it was
                closed.
            CheckFailed: The model's result is not finite.
        """
        with self._in_use():
            if self.specification.categories is None:
                raise InputError(f"{self.specification.path} is an encoder, not a part segmenter; use embed(points)")
            clouds = self._checked_points(points)
            return self._run_batches(
                {"points": clouds, "category": self._checked_category(category, len(clouds))}, "logits"
            )

    def _checked_points(self, points: ArrayLike) -> FloatArray:
        array = _as_float32(points, "points")
        if array.ndim != 3 or array.shape[2] != 3 or array.shape[0] == 0:
            hint = "; for one cloud give points[None]" if array.ndim == 2 and array.shape[1] == 3 else ""
            raise InputError(f"points have the shape {array.shape}; clouds are (B, N, 3) with B at least 1{hint}")
        self.specification.check_points(array.shape[1])
        return array

    def _checked_category(self, category: ArrayLike, batch: int) -> FloatArray:
        array = _as_float32(category, "category", integers=True)
        wanted = (batch, self.specification.categories)
        if array.shape != wanted:
            raise InputError(f"category has the shape {array.shape}; these points need one-hot {wanted}")
        if not (np.all((array == 0) | (array == 1)) and np.all(array.sum(axis=1) == 1)):
            raise InputError("category is not one-hot: every row needs a single 1 among zeros")
        return array

    def _run_batches(self, inputs: Mapping[str, FloatArray], output: str) -> FloatArray:
        """Run in pieces of `max_batch`; a piece smaller than `min_batch` is padded with copies of its last cloud."""
        spec, total = self.specification, len(inputs["points"])
        result, bad = np.empty(0, np.float32), list[int]()
        for start in range(0, total, spec.max_batch or total):
            piece = {name: array[start : start + (spec.max_batch or total)] for name, array in inputs.items()}
            size = len(piece["points"])
            if size < spec.min_batch:
                piece = {name: self._padded(array) for name, array in piece.items()}
            made = self.run(piece)[output]
            wanted = self._shape(output, piece["points"])
            if made.shape != wanted:
                raise InputError(
                    f"{spec.path} made {output} of shape {made.shape}, not {wanted}; export the model again"
                )
            made = made[:size]
            bad += [start + i for i, values in enumerate(made) if not np.isfinite(values).all()]
            if start == 0:
                result = made if size == total else np.empty((total, *made.shape[1:]), np.float32)
            if result is not made:
                result[start : start + size] = made
        if bad:
            raise CheckFailed(
                f"{spec.path} gave NaN or infinite values for {len(bad)} of {total} clouds, first for number {bad[0]} "
                f"({spec.backend}, {spec.precision}); compare it with its original: crosspoint parity"
            )
        return result

    def _shape(self, output: str, points: FloatArray) -> tuple[int, ...]:
        """Shape of an output for clouds `(B, N, 3)`."""
        spec = self.specification
        if output == SCORES and spec.classifier is not None:
            return len(points), len(spec.classifier.classes)
        return (*points.shape[: 1 if output == "embedding" else 2], spec.dim)

    def _padded(self, array: FloatArray) -> FloatArray:
        """A batch of the fewest clouds that the model takes, of which the last ones are copies of the last."""
        fewest = self.specification.min_batch
        try:
            return np.concatenate([array, np.repeat(array[-1:], fewest - len(array), axis=0)])
        except (MemoryError, ValueError) as error:  # NumPy raises either
            raise InputError(
                f"{self.specification.path} takes {fewest} clouds at a time, which do not fit into memory; export the "
                "model with a smaller --batch"
            ) from error


_ENCODERS: "WeakSet[Encoder]" = WeakSet()


def _in_child() -> None:
    """After a fork only the thread that forked is left: what others held or waited for is begun anew."""
    for encoder in list(_ENCODERS):
        encoder._calls, encoder._forked = Calls(), True
        encoder._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def read_same(path: Path, digest: str) -> bytes:
    """The bytes of a file that has to be the one that was opened before, by its SHA-256.

    Raises:
        InputError: It cannot be read, or is another one.
    """
    content = read_once(path)
    if content.sha256 != digest:
        raise InputError(f"{path} has changed since it was opened; load it anew")
    return content.data


def _reopen(kind: type[Encoder], digest: str, arguments: Mapping[str, Any]) -> Encoder:
    """What a pickled encoder becomes."""
    read_same(arguments["path"], digest)
    return kind(**arguments)


def _as_paths(points: object) -> list[Path] | None:
    """Paths, if these are paths; None of an array."""
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
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported as such
        result = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise InputError(f"{name} hold NaN or infinite values, first at index {first}; remove them")
    return result


def interface(path: object, inputs: Iterable[str], *, outputs: Iterable[str]) -> str:
    """The output that counts, from a file's input and output names: `"embedding"` or `"logits"`.

    Raises:
        InputError: The names are neither those of an encoder nor those of a part segmenter.
    """
    given, made = sorted(inputs), sorted(outputs)
    for wanted, output in ((["points"], "embedding"), (["category", "points"], "logits")):
        if given == wanted and output in made:
            return output
    raise InputError(
        f"{path} maps {', '.join(given)} to {', '.join(made)}; an encoder maps points to embedding, "
        "a segmenter points and category to logits: rename its inputs and outputs"
    )


def parse_device(device: str) -> int | None:
    """The CUDA index of `"cuda"` or `"cuda:<index>"`, None of `"cpu"`.

    Raises:
        InputError: Anything else.
    """
    if device == "cpu":
        return None
    name, colon, index = device.partition(":")
    if name == "cuda" and (not colon or (index.isascii() and index.isdigit())):
        return int(index or 0)
    raise InputError(f"unknown device {device!r}; give cpu, cuda or cuda:<index>")
