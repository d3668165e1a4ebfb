from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.samples.views import HARD, MODERATE, ViewRange, make_view, paste, reduced, to_jpeg
from ames_ray.types import Pixels

STILL = ViewRange((1.0, 1.0), 0, 0, 0, 1.0, 0.0, 0.0, (90, 90))
PHOTO = (1024, 681)


def gradient(width: int, height: int) -> Pixels:
    """Where a pixel came from can be read from its colours: blue is x, green is y, red is none of it."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, np.full_like(x, 128)], axis=-1).astype(np.uint8)


def test_a_camera_that_does_not_move_sees_the_photo() -> None:
    photo = gradient(640, 400)
    assert np.array_equal(make_view(photo, STILL, np.random.default_rng(0)), photo)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), hard=st.booleans(), portrait=st.booleans())
def test_a_view_shows_a_part_of_the_photo_upright_and_nothing_else(
    seed: int, hard: bool, portrait: bool
) -> None:
    # As far aside as HARD, but in the light of the photo, so that places can be read from colours.
    limits = HARD if hard else MODERATE
    dark = ViewRange(limits.area, limits.pitch, limits.yaw, limits.roll, 1.0, 0.0, 0.0, (90, 90))
    width, height = PHOTO[::-1] if portrait else PHOTO
    view = make_view(gradient(width, height), dark, np.random.default_rng(seed)).astype(float)
    assert np.array_equal(np.unique(view[..., 2]), [128])
    assert 240 <= max(view.shape[:2]) <= 640
    assert view.shape[1] / view.shape[0] == pytest.approx(width / height, rel=0.02)
    corners = view[[0, 0, -1, -1], [0, -1, -1, 0], :2]
    x, y = corners.T
    share = (np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 / 255**2
    # Positive: not mirrored. It may be less than asked for where so slanted a part does not fit.
    assert 0.02 < share < limits.area[1] + 0.02


def test_the_share_of_the_area_is_as_asked_for() -> None:
    half = ViewRange((0.5, 0.5), 0, 0, 0, 1.0, 0.0, 0.0, (90, 90))
    view = make_view(gradient(*PHOTO), half, np.random.default_rng(1)).astype(float)
    seen = (view[0, -1, 0] - view[0, 0, 0]) * (view[-1, 0, 1] - view[0, 0, 1]) / 255**2
    assert seen == pytest.approx(0.5, abs=0.02)


def test_equal_draws_give_equal_views_and_others_do_not() -> None:
    photo = gradient(*PHOTO)
    one, two, three = (make_view(photo, HARD, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert one.shape != three.shape or not np.array_equal(one, three)


@pytest.mark.parametrize("seed", range(8))
def test_a_pasted_view_is_seen_in_part_on_its_background(seed: int) -> None:
    white = np.full((300, 400, 3), 255, np.uint8)
    black = np.zeros((480, 640, 3), np.uint8)
    canvas = paste(white, black, np.random.default_rng(seed))
    assert canvas.shape == (480, 640, 3)
    share = (canvas == 255).mean()
    # Side 55 to 85 %; at most an ellipse of half its axes is covered.
    assert 0.55**2 * (1 - np.pi / 4 * 0.5**2) - 0.01 < share <= 0.85**2
    rows, columns = np.nonzero(canvas[..., 0])
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / canvas[..., 0].size
    assert (canvas[..., 0] > 0).sum() < box * canvas[..., 0].size, "nothing stands in front of the view"


def test_large_photos_are_reduced_and_small_ones_kept() -> None:
    assert reduced(gradient(1920, 1080)).shape == (360, 640, 3)
    assert reduced(gradient(320, 213)).shape == (213, 320, 3)


def test_a_jpeg_reads_back() -> None:
    photo = gradient(320, 200)
    back = cv2.imdecode(np.frombuffer(to_jpeg(photo, 95), np.uint8), cv2.IMREAD_COLOR)
    assert back is not None
    assert np.abs(back.astype(int) - photo).max() < 12
