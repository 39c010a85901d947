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


@pytest.mark.parametrize("side", [100, 2000])
def test_a_picture_of_far_more_pixels_than_bytes_is_refused(tmp_path, side, monkeypatch):
    monkeypatch.setattr("crosspoint.core.reading.SMALL", 4 * 100 * 100)  # bytes of the smaller one in memory
    monkeypatch.setattr("crosspoint.core.reading.GROWTH", 1)
    Image.new("RGB", (side, side)).save(tmp_path / "a.png")
    if side == 100:
        assert read_picture(tmp_path / "a.png", "RGB").size == (100, 100)
    else:
        with pytest.raises(InputError, match="claims 16 MB of content in a file of"):
            read_picture(tmp_path / "a.png", "RGB")
