"""Clouds as pictures."""

import io

import numpy as np
from PIL import Image

from crosspoint.report.pictures import draw_cloud


def test_drawn_cloud_is_seen_upright():
    points = np.zeros((50, 3), np.float32)
    points[:, 1] = np.linspace(0, 1, 50)
    alpha = np.asarray(Image.open(io.BytesIO(draw_cloud(points, 100))))[..., 3]
    assert alpha[:45].any()
    assert not alpha[60:].any()
