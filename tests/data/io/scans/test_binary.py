"""Binary scans of every number of columns, as sensors and data sets have them, and bytes that are none."""

import contextlib

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.io.files import read_points
from crosspoint.data.io.scans.binary import read_binary_scan

N = 6000


def sweep(rng):
    """Rings of a spinning sensor, in the order in which it measures."""
    azimuth, elevation = np.meshgrid(np.linspace(0, 2 * np.pi, N // 30), np.linspace(-0.4, 0.1, 30), indexing="ij")
    distance = 8 + 3 * np.sin(3 * azimuth) + 0.02 * rng.normal(size=azimuth.shape)
    x, y, z = np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)
    return (np.stack([x, y, z], -1) * distance[..., None]).reshape(-1, 3).astype(np.float32)


def at_random(rng):
    return ((rng.random((N, 3)) - 0.5) * [30, 60, 8]).astype(np.float32)


def cube(rng):
    return rng.uniform(-1, 1, (N, 3)).astype(np.float32)


CLOUDS = {"sweep": sweep, "at random": at_random, "cube": cube}
BESIDE = {  # what stands beside the coordinates
    "nothing": lambda rng: np.empty((N, 0)),
    "reflectance": lambda rng: rng.random((N, 1)),
    "intensity": lambda rng: rng.integers(0, 256, (N, 1)),
    "zero": lambda rng: np.zeros((N, 1)),
    "intensity and ring": lambda rng: np.c_[rng.integers(0, 256, N), np.arange(N) % 32],
    "intensity and time": lambda rng: np.c_[rng.random(N), np.linspace(0, 0.5, N)],
    "intensity, ring and time": lambda rng: np.c_[rng.integers(0, 256, N), np.arange(N) % 32, np.linspace(0, 0.1, N)],
    "colour": lambda rng: rng.integers(0, 256, (N, 3)),
}


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("rows", [N, N - 1, 17])
def test_the_number_of_columns_is_told_by_the_values(cloud, beside, rows):
    """Or, of few random points, the file is refused: never are other numbers taken for coordinates."""
    rng = np.random.default_rng(1)
    points, rest = CLOUDS[cloud](rng)[:rows], BESIDE[beside](rng)[:rows]
    content = np.concatenate([points, rest], axis=1).astype("<f4").tobytes()
    if rows == 17 or cloud == "cube":
        with contextlib.suppress(InputError):
            np.testing.assert_array_equal(read_binary_scan(content), points)
    else:
        np.testing.assert_array_equal(read_binary_scan(content), points)
    np.testing.assert_array_equal(read_binary_scan(content, 3 + rest.shape[1]), points)


def test_missing_returns_do_not_hide_the_columns():
    rng = np.random.default_rng(0)
    rows = np.c_[sweep(rng), rng.integers(0, 256, N)].astype("<f4")
    rows[::7] = np.nan
    np.testing.assert_array_equal(read_binary_scan(rows.tobytes()), rows[:, :3])


def test_nuscenes_is_known_by_its_name(tmp_path):
    rng = np.random.default_rng(0)
    points = cube(rng)
    content = np.c_[points, rng.uniform(-1, 1, (N, 2))].astype("<f4").tobytes()
    (tmp_path / "LIDAR_TOP__1.pcd.bin").write_bytes(content)
    np.testing.assert_array_equal(read_points(tmp_path / "LIDAR_TOP__1.pcd.bin", None, seed=0)[0], points)
    (tmp_path / "a.bin").write_bytes(content)
    np.testing.assert_array_equal(read_points(tmp_path / "a.bin", None, seed=0, columns="5")[0], points)


@pytest.mark.parametrize(
    "content",
    [
        np.random.default_rng(0).normal(size=(600, 4)).tobytes(),  # float64
        np.arange(2400, dtype="<i4").tobytes(),
        np.random.default_rng(0).integers(0, 256, 9600, np.uint8).tobytes(),
        b"1.25 0.5 0.75 12\n" * 960,
        bytes(9600),
    ],
    ids=["float64", "int32", "bytes", "text", "zeros"],
)
@pytest.mark.parametrize("columns", [None, 4])
def test_other_numbers_are_no_coordinates(content, columns):
    with pytest.raises(InputError, match=r"which no scan has|say which with --columns"):
        read_binary_scan(content, columns)


@pytest.mark.parametrize(
    ("size", "columns", "message"),
    [(28, None, "no scan: 28 bytes"), (26, None, "cut off"), (36, 4, "not rows of 4"), (36, 2, "3 or more")],
)
def test_bytes_that_are_no_whole_rows(size, columns, message):
    with pytest.raises(InputError, match=message):
        read_binary_scan(bytes(size), columns)


def test_columns_of_a_binary_scan_are_a_number(tmp_path):
    (tmp_path / "a.bin").write_bytes(np.ones((8, 4), "<f4").tobytes())
    with pytest.raises(InputError, match=r"a\.bin: is binary, --columns x,y,z names columns"):
        read_points(tmp_path / "a.bin", None, seed=0, columns="x,y,z")
