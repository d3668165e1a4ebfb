from __future__ import annotations

import numpy as np
import pytest

from ames_ray.report.thumbnail import palette, thumbnail
from ames_ray.types import FloatArray, Pixels

NO_XY = np.empty((0, 2), np.float32)


def black(width: int, height: int) -> Pixels:
    return np.zeros((height, width, 3), np.uint8)


def centre_of_mass(image: Pixels) -> FloatArray:
    bright = image.astype(np.float32).sum(axis=2)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([np.average(x, weights=bright), np.average(y, weights=bright)], np.float32)


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (400, 1200), (1920, 300), (90, 60)])
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.2, 0.7)])
def test_a_ring_lies_where_its_feature_lies(width: int, height: int, place: tuple[float, float]) -> None:
    xy = np.array([[width * place[0], height * place[1]]], np.float32)
    frame = thumbnail(black(width, height), xy, 360, 270)
    factor = min(360 / width, 270 / height)
    left, top = (360 - width * factor) / 2, (270 - height * factor) / 2
    expected = (xy[0] + 0.5) * factor - 0.5 + (left, top)
    assert np.abs(centre_of_mass(frame) - expected).max() < 1.0


def test_the_strongest_are_yellow_and_the_weakest_violet() -> None:
    xy = np.array([[90, 135], [270, 135]], np.float32)
    frame = thumbnail(black(360, 270), xy, 360, 270)
    blue, green, red = (frame[:, :180, channel].max() for channel in range(3))
    assert min(green, red) > 200 > 100 > blue
    blue, green, red = (frame[:, 180:, channel].max() for channel in range(3))
    assert green < min(blue, red)


def test_the_whole_picture_is_inside_the_frame() -> None:
    picture = black(200, 400)
    picture[:] = (10, 200, 10)
    picture[:40], picture[-40:] = (255, 0, 0), (0, 0, 255)
    frame = thumbnail(picture, NO_XY, 360, 270)
    assert frame.shape == (270, 360, 3)
    assert frame[2, 180].tolist() == [255, 0, 0]
    assert frame[-3, 180].tolist() == [0, 0, 255]
    assert frame[135, 180].tolist() == [10, 200, 10]
    assert int(frame[135, 5].max()) < 100


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (3000, 1, 3)])
def test_slivers_have_thumbnails(shape: tuple[int, int, int]) -> None:
    frame = thumbnail(np.full(shape, 200, np.uint8), NO_XY, 360, 270)
    assert frame.shape == (270, 360, 3)


def test_the_picture_itself_is_not_changed() -> None:
    picture = np.full((270, 360, 3), 100, np.uint8)
    thumbnail(picture, np.array([[50, 50]], np.float32), 360, 270)
    assert (picture == 100).all()


def test_the_palette_gets_brighter() -> None:
    brightness = palette(64).astype(int).sum(axis=1)
    assert brightness[-1] > brightness[0]
    assert palette(1).shape == (1, 3)
