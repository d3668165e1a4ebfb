from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.descriptors.views import make_views
from ames_ray.errors import ImageError
from ames_ray.images import reasons
from ames_ray.types import Pixels


def noise(height: int, width: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_factor_comes_from_the_whole_picture_and_the_crop_follows() -> None:
    (view,) = make_views(
        noise(1000, 800), (100.9, 50.2, 200.9, 150.2), imsize=500, scales=(1.0,), patch=None, min_side=1
    )
    assert view.pixels.shape == (50, 50, 3)
    assert view.origin == (100, 50)
    assert view.factor == (0.5, 0.5)


def test_a_box_that_starts_outside_starts_at_the_edge() -> None:
    (view,) = make_views(noise(40, 40), (-5, -3, 20, 30), imsize=None, scales=(1.0,), patch=None, min_side=1)
    assert view.pixels.shape == (30, 20, 3)
    assert view.origin == (0, 0)


def test_an_empty_box() -> None:
    with pytest.raises(ImageError) as caught:
        make_views(noise(40, 40), (50, 0, 60, 10), imsize=None, scales=(1.0,), patch=None, min_side=1)
    assert caught.value.reason == reasons.EMPTY_CROP


@pytest.mark.parametrize(
    ("imsize", "bbox", "small"),
    [(None, None, False), (200, None, True), (None, (0, 0, 400, 19), True), (None, (0, 0, 20, 300), False)],
)
def test_min_side_is_what_the_network_sees(
    imsize: int | None, bbox: tuple[float, float, float, float] | None, *, small: bool
) -> None:
    pixels = noise(38, 400)
    if small:
        with pytest.raises(ImageError, match=r"after resizing, min_side is 20") as caught:
            make_views(pixels, bbox, imsize=imsize, scales=(1.0,), patch=None, min_side=20)
        assert caught.value.reason == reasons.TOO_SMALL
    else:
        assert make_views(pixels, bbox, imsize=imsize, scales=(1.0,), patch=None, min_side=20)


def test_min_side_holds_at_every_scale() -> None:
    with pytest.raises(ImageError):
        make_views(noise(30, 30), None, imsize=None, scales=(1.0, 0.5), patch=None, min_side=20)


@settings(deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), imsize=st.none() | st.integers(1, 120))
def test_sides_are_multiples_of_the_patch(height: int, width: int, imsize: int | None) -> None:
    (view,) = make_views(noise(height, width), None, imsize=imsize, scales=(1.0,), patch=14, min_side=1)
    assert view.pixels.shape[0] % 14 == view.pixels.shape[1] % 14 == 0
    assert min(view.pixels.shape[:2]) >= 14
    # The way back: the far corner of the view is the far corner of the picture.
    assert view.pixels.shape[1] / view.factor[0] == pytest.approx(width)
    assert view.pixels.shape[0] / view.factor[1] == pytest.approx(height)


@pytest.mark.parametrize("shape", [(3, 2000), (2000, 3), (1, 1)])
@pytest.mark.parametrize("scale", [0.7071, 1.0])
def test_slivers_keep_a_pixel(shape: tuple[int, int], scale: float) -> None:
    (view,) = make_views(noise(*shape), None, imsize=100, scales=(scale,), patch=None, min_side=1)
    assert min(view.pixels.shape[:2]) >= 1
