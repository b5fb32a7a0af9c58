"""The templates' pictures are those that the script draws."""

from __future__ import annotations

import numpy as np
from PIL import Image

from launch.examples import examples
from launch.thumbnails import SIDE, thumbnails

JPEG = 6.0  # mean difference of 0 to 255 that quality 85 and other versions of a font may make


def test_each_template_has_the_picture_that_is_drawn() -> None:
    drawn = thumbnails()
    assert {path.with_suffix(".json") for path in drawn} == set(examples())
    for path, picture in drawn.items():
        there = Image.open(path).convert("RGB")
        assert there.size == (SIDE, SIDE)
        far = np.abs(np.asarray(there, float) - np.asarray(picture, float)).mean()
        assert far < JPEG, f"run `python -m launch.thumbnails`: {path.name}"


def test_pictures_differ_by_more_than_that() -> None:
    pictures = [np.asarray(picture, float) for picture in list(thumbnails().values())[::2]]
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 2 * JPEG
