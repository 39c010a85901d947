"""The interface of a loaded model: embeds, classifies or segments clouds and files."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.frames import Up, parse_up
from crosspoint.data.sources import Source, find_sources, read_ahead
from crosspoint.runtime.classifier import NOVELTY, SCORES, ClassifierInfo, Predictions, check_frames
from crosspoint.runtime.draws import check_draws, mean_of_draws, split_draws
from crosspoint.runtime.inputs import FloatArray, as_paths, check_category, check_normalised, check_points, prepare
from crosspoint.runtime.open_model import OpenModel
from crosspoint.runtime.options import Sampling
from crosspoint.runtime.released import find_hash

FILE_BATCH = 32  # clouds that are read from files before they are embedded


class Encoder(OpenModel):
    """A loaded model, whatever its backend. Use it as a context manager, or call `close`.

    An encoder embeds clouds. A part segmenter, whose `specification.categories` is a number, segments them. A backend
    implements the specification, `run` and `_free`; inputs are checked before they reach it.

    Example:
        >>> with load_encoder("bundle") as encoder:        # doctest: +SKIP
        ...     embeddings = encoder.embed(points)         # (B, N, 3) to (B, D)
    """

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
        if (paths := as_paths(points)) is not None:
            return self._embed_files(paths, seed, draws, up)
        points = cast("ArrayLike", points)
        with self._in_use():
            if self.specification.categories is not None:
                raise InputError(
                    f"{self.specification.path} is a part segmenter, not an encoder; use segment(points, category)"
                )
            return self._run_batches(
                {"points": prepare(points, self.specification, normalise=normalise, up=up)}, "embedding"
            )

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
        if (paths := as_paths(points)) is not None:
            rows = self._score_files(paths, seed, draws, up, classifier)
        else:
            rows = self._scores(cast("ArrayLike", points), normalise=normalise, up=up)
        return Predictions.from_rows(classifier, rows)

    def _scores(self, points: ArrayLike, *, normalise: bool = False, up: Up | None = None) -> FloatArray:
        """Scores and novelty `(B, classes + 1)`."""
        with self._in_use():
            return self._run_batches(
                {"points": prepare(points, self.specification, normalise=normalise, up=up)}, SCORES, NOVELTY
            )

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
            points = check_points(inputs["points"], self.specification)
            if not any_scale:
                check_normalised(points, self.specification)
            if self.specification.categories is None:
                return self._run_batches({"points": points}, "embedding")
            category = check_category(inputs["category"], len(points), specification=self.specification)
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
            clouds = prepare(points, self.specification, normalise=normalise, up=up)
            return self._run_batches(
                {"points": clouds, "category": check_category(category, len(clouds), specification=self.specification)},
                "logits",
            )

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
