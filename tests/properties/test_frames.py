"""A cloud that lies with another axis up is embedded, once it is turned, to the very bits of the cloud as it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspoint.data.frames import TO_Y_UP, UPS
from crosspoint.data.io.files import read_points
from crosspoint.data.points import normalise
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.specification import Specification

trimesh = pytest.importorskip("trimesh")


class Flat(Encoder):
    """Its embedding is the cloud itself, so that no bit is lost."""

    def __init__(self):
        self.specification = Specification("flat", 24, 8, None, "fp32", "numpy", "cpu", "0" * 64, "flat.onnx")

    def run(self, inputs):
        return {"embedding": inputs["points"].reshape(len(inputs["points"]), -1)}


def laid(points, up):
    """Points as they are in a frame where `up` points up: turned back from y-up, by the transposed rotation."""
    return np.einsum("ij,...j->...i", np.array(TO_Y_UP[up]).T, points).astype(points.dtype)


@st.composite
def clouds(draw):
    """Clouds `(B, 8, 3)` of either type, of any size and place."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    size, place = 10.0 ** draw(st.integers(-3, 3)), 10.0 ** draw(st.integers(-1, 6))
    return (size * rng.standard_normal((draw(st.integers(1, 3)), 8, 3)) + place * rng.uniform(-1, 1, 3)).astype(kind)


@given(points=clouds(), up=st.sampled_from(UPS))
def test_a_cloud_in_any_frame_is_embedded_to_the_same_bits(points, up):
    encoder = Flat()
    expected = encoder.embed(points, normalise=True)
    np.testing.assert_array_equal(encoder.embed(laid(points, up), normalise=True, up=up), expected)


@given(points=clouds(), up=st.sampled_from(UPS))
def test_normalised_clouds_are_turned_exactly(points, up):
    encoder, normalised = Flat(), normalise(points)
    np.testing.assert_array_equal(encoder.embed(laid(normalised, up), up=up), encoder.embed(normalised))


@given(seed=st.integers(0, 2**32), up=st.sampled_from(UPS))
def test_the_points_drawn_from_a_mesh_are_the_same_in_any_frame(tmp_path_factory, seed, up):
    rng = np.random.default_rng(seed)
    vertices, faces = rng.standard_normal((30, 3)).astype(np.float32), rng.integers(0, 30, (40, 3))
    folders = [tmp_path_factory.mktemp("meshes") for _ in range(2)]
    for folder, placed in zip(folders, (vertices, laid(vertices, up)), strict=True):
        trimesh.Trimesh(placed, faces, process=False).export(folder / "mesh.ply")  # float32, exact
    expected = read_points(folders[0] / "mesh.ply", 50, seed=3)
    np.testing.assert_array_equal(read_points(folders[1] / "mesh.ply", 50, seed=3, up=up), expected)
