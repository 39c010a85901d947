"""Pictures are PNG or JPEG and whole."""

import numpy as np
import pytest
from PIL import Image

from crosspoint.core.errors import InputError
from crosspoint.core.pictures import read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)


def test_a_png_is_read_as_it_was_written(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / "a.png", "RGB")), PIXELS)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "PPM"])
def test_other_formats_are_refused_whatever_they_are_called(tmp_path, kind):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", format=kind)
    with pytest.raises(InputError, match="PNG or JPEG"):
        read_picture(tmp_path / "a.png", "RGB")
