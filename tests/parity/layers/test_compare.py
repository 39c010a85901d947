"""Layers compared one by one."""

import numpy as np

from crosspoint.parity.layers.compare import overlap_when_centred
from crosspoint.parity.layers.layers import Layer


class Asked:
    """Layers that answer with given neighbours and keep what they were asked with."""

    def __init__(self, neighbours):
        self.neighbours = neighbours
        self.given = None

    def compute(self, names, given):
        (name,) = names
        self.given = given
        return {name: self.neighbours}


def test_the_layer_is_asked_again_with_each_clouds_mean_taken_away():
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((2, 12, 5)) + np.array([[[100.0]], [[-30.0]]])).astype(np.float32)
    distances = np.linalg.norm(features[:, :, None].astype(float) - features[:, None], axis=-1)
    nearest = np.argsort(distances, axis=-1)[..., :4]
    layer = Layer("edge2", ("edge1",), graph="edge2/neighbours")
    asked = Asked(nearest)
    assert overlap_when_centred(asked, layer, features=features) == 1
    given = asked.given["edge1"]
    np.testing.assert_allclose(given.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(given, features - features.mean(axis=1, keepdims=True), atol=1e-5)


def test_wrong_neighbours_lower_the_share():
    features = np.arange(12, dtype=np.float32).reshape(1, 12, 1) ** 2
    far = np.broadcast_to(np.array([11]), (1, 12, 1)).copy()
    share = overlap_when_centred(Asked(far), Layer("e", ("x",), graph="g"), features=features)
    assert share == 1 / 12  # right for the last point alone
