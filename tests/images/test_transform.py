"""Pixels against the golden hashes of the authors' pipeline, and the edges of each rule."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.errors import ImageError
from ames_ray.images import reasons
from ames_ray.images.read import decode
from ames_ray.images.transform import crop, patch_factors, resize, resize_factor
from ames_ray.types import Pixels

GOLDEN = Path(__file__).parents[1] / "golden"
PATCH = {"cvnet": None, "dinov2": 14}


def _meta(backbone: str) -> dict[str, Any]:
    with np.load(GOLDEN / f"extraction_{backbone}.npz") as arrays:
        meta: dict[str, Any] = json.loads(str(arrays["meta"]))
        return meta


META = {backbone: _meta(backbone) for backbone in PATCH}
CASES = [(backbone, key) for backbone, meta in META.items() for key in meta["inputs"]]


def _photo(name: str) -> tuple[str, Pixels]:
    path = next((GOLDEN / "images").glob(f"{name}_*"))
    return path.name, decode(path.read_bytes(), max_pixels=10**6, truncated="fail").pixels


def _resized(backbone: str, key: str) -> tuple[Pixels, float, float]:
    """The picture that the network sees, and its factors (x, y)."""
    which, photo, scale = key.split("/")
    file, pixels = _photo(photo)
    height, width = pixels.shape[:2]
    imsize = 280 if which.endswith("im280") else None
    factor = resize_factor(width, height, imsize, META[backbone]["scales"][int(scale[1:])])
    if which.startswith("query"):
        pixels = crop(pixels, dict(META[backbone]["queries"])[file])
    patch = PATCH[backbone]
    height, width = pixels.shape[:2]
    fy, fx = (factor, factor) if patch is None else patch_factors(height, width, factor, patch)
    return resize(pixels, fx, fy), fx, fy


def test_golden_cases_cover_every_set() -> None:
    assert len(CASES) == 48
    sets = {key.split("/")[0] for _, key in CASES}
    assert sets == {"full", "im280", "query_full", "query_im280"}


@pytest.mark.parametrize(("backbone", "key"), CASES)
def test_resized_pixels_are_the_authors(backbone: str, key: str) -> None:
    golden = META[backbone]["inputs"][key]
    pixels, fx, fy = _resized(backbone, key)
    assert list(pixels.shape[:2]) == golden["size_hw"]
    assert [fx, fy] == golden["factor_xy"]
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == golden["pixels_sha256"]


@pytest.mark.parametrize(
    ("width", "height", "rounded"),
    [
        (161, 231, (168, 224)),
        (7, 7, (14, 14)),
        (1, 1, (14, 14)),
        (3, 2000, (14, 2002)),
        (2000, 3, (2002, 14)),
    ],
)
def test_sides_become_whole_patches(width: int, height: int, rounded: tuple[int, int]) -> None:
    """11.5 and 16.5 patches are ties: to 12 and 16, the even ones."""
    fy, fx = patch_factors(height, width, 1.0, 14)
    pixels = resize(np.zeros((height, width, 3), np.uint8), fx, fy)
    assert pixels.shape == (rounded[1], rounded[0], 3)


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.sampled_from([None, 14, 280, 770]),
    st.sampled_from([0.7071, 1.0]),
)
def test_patch_factors_always_give_whole_patches(w: int, h: int, imsize: int | None, scale: float) -> None:
    factor = resize_factor(w, h, imsize, scale)
    fy, fx = patch_factors(h, w, factor, 14)
    for side, axis in ((w, fx), (h, fy)):
        patches = side * axis / 14
        assert round(patches) >= 1
        assert patches == pytest.approx(round(patches), abs=1e-9)
        assert abs(side * axis - side * factor) <= 14


def test_resize_factor_looks_at_the_longer_side() -> None:
    assert resize_factor(1000, 500, 770) == 0.77
    assert resize_factor(1, 1, 770) == 770
    assert resize_factor(1000, 500, None, 0.7071) == 0.7071
    assert resize_factor(333, 201, 280, 1.4142) == 1.4142 * (280 / 333)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2000), (2000, 3)])
@pytest.mark.parametrize("factor", [0.7071, 0.01, 0.14])
def test_no_side_vanishes(width: int, height: int, factor: float) -> None:
    shape = resize(np.full((height, width, 3), 9, np.uint8), factor, factor).shape
    assert shape == (max(round(height * factor), 1), max(round(width * factor), 1), 3)


def test_shrinking_one_side_alone_is_enough_for_area_interpolation() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)
    area = cv2.resize(pixels, None, fx=1.5, fy=0.9, interpolation=cv2.INTER_AREA)
    linear = cv2.resize(pixels, None, fx=1.5, fy=1.0, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(pixels, 1.5, 0.9), area)
    np.testing.assert_array_equal(resize(pixels, 1.5, 1.0), linear)
    assert resize(pixels, 1.0, 1.0) is pixels


def test_crop_truncates_and_ignores_what_lies_outside() -> None:
    pixels = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)
    np.testing.assert_array_equal(crop(pixels, (1.9, 2.9, 10.99, 5.01)), pixels[2:5, 1:10])
    np.testing.assert_array_equal(crop(pixels, (-5, -0.5, 99, 99)), pixels)


@pytest.mark.parametrize(
    "bbox",
    [
        (5, 5, 5, 9),
        (9, 9, 2, 2),
        (30, 0, 40, 10),
        (-9, 0, -2, 10),
        (0, float("nan"), 5, 5),
        (0, 0, float("inf"), 5),
    ],
)
def test_an_empty_crop_is_refused(bbox: tuple[float, float, float, float]) -> None:
    with pytest.raises(ImageError) as caught:
        crop(np.zeros((20, 30, 3), np.uint8), bbox)
    assert caught.value.reason == reasons.EMPTY_CROP
    assert "30x20" in caught.value.detail
