"""Int8 calibration: measures the range of the inputs of matrix products on typical clouds."""

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.data.frames import Frame, Up
from crosspoint.export.manifest import Calibration
from crosspoint.parity.clouds import ordinary
from crosspoint.parity.user_clouds import real_clouds

CLOUDS = 128
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class CalibrationSet:
    """Normalised clouds `(n, N, 3)` for calibration, and where they come from. Synthetic clouds have no frame."""

    points: Floats
    source: str
    frame: Frame | None = None

    def describe(self) -> Calibration:
        """Source, size, and SHA-256 of the float32 bytes, for the manifest."""
        digest = hashlib.sha256(np.ascontiguousarray(self.points, "<f4").tobytes()).hexdigest()
        return Calibration(self.source, len(self.points), self.points.shape[1], digest, frame=self.frame)


def calibration_set(folder: Path | None, points: int, *, seed: int = 0, up: Up | None = None) -> CalibrationSet:
    """Up to 128 clouds of a folder; without a folder, synthetic clouds.

    Args:
        folder: A data set, of which the training part is used, or a folder of clouds or meshes.
        points: Points per cloud.
        seed: Random seed of the choice.
        up: As for `real_clouds`.

    Raises:
        InputError: The folder cannot be read, or its clouds have fewer points.
    """
    if folder is None:
        return CalibrationSet(ordinary(CLOUDS, points, seed=seed), "made surfaces, since no clouds were given")
    if not folder.exists():
        raise InputError(f"{folder} does not exist; give --calibrate a dataset or a folder of clouds or meshes")
    probe = real_clouds(folder, points, limit=None, seed=seed, up=up)
    clouds = probe.points if probe.labels is None else probe.points[: probe.train]
    rows = np.sort(np.random.default_rng(seed).permutation(len(clouds))[:CLOUDS])
    return CalibrationSet(clouds[rows], f"{folder.resolve().name}, {probe.source}", probe.frame)


def calibrate(model: onnx.ModelProto, values: Collection[str], *, inputs: Mapping[str, Floats]) -> dict[str, float]:
    """Largest magnitude of values in a model, by ONNX Runtime's calibrator.

    Args:
        model: A float32 model.
        values: Names of the values; each is read by a MatMul.
        inputs: Inputs of the model by name; the first dimension is the batch.
    """
    quantization = require("onnxruntime.quantization", "cpu", purpose="calibrating int8")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        file = Path(folder) / "model.onnx"
        onnx.save(model, file)
        calibrator = quantization.create_calibrator(
            file,
            ["MatMul"],
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_CalibrationReader(inputs))
        found = calibrator.compute_data().data
    return {name: max(abs(np.asarray(end).item()) for end in found[name].range_value) for name in sorted(set(values))}


class _CalibrationReader:
    """Gives the inputs to ONNX Runtime's calibrator, one cloud at a time."""

    def __init__(self, inputs: Mapping[str, Floats]) -> None:
        self._clouds = self._each(inputs)

    def _each(self, inputs: Mapping[str, Floats]) -> Iterator[dict[str, Floats]]:
        for i in track(range(len(inputs["points"])), "Calibrating"):
            yield {name: array[i : i + 1] for name, array in inputs.items()}

    def get_next(self) -> dict[str, Floats] | None:
        return next(self._clouds, None)
