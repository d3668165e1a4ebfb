"""The authors' columns against the golden numbers of their own extraction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.store.authors import LocationMap, leading_columns
from ames_ray.store.codec import encode
from ames_ray.store.meta import StoreMeta
from ames_ray.types import Box, FloatArray, ImageFeatures, ImageRecord, LocalFeatures

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = {"coffee": (280, 210), "rocket": (333, 201), "astronaut": (161, 231), "tiny": (48, 40)}
BOXES: dict[str, Box] = {"rocket": (120.6, 10.2, 300.9, 190.7), "astronaut": (10.0, 30.0, 150.0, 130.0)}
DINOV2 = [
    *((names, photo) for names in ("full", "im280") for photo in SIZES),
    *((names, photo) for names in ("query_full", "query_im280") for photo in BOXES),
]


def columns(xy: FloatArray, photo: str, box: Box | None, convention: str) -> FloatArray:
    """The five columns that a store of this one picture exports, K = 100."""
    width, height = SIZES[photo]
    how = {"location_convention": convention, "crop": True}
    meta = StoreMeta(1, 1, "parquet", "float32", 100, 1, settings=how)
    count = len(xy)
    local = LocalFeatures(
        xy, np.zeros(count, np.int8), np.ones(count, np.float32), np.ones((count, 1), np.float32)
    )
    record = ImageRecord(0, photo, photo, bbox=box, width=width, height=height)
    item = ImageFeatures(record, local, {}, width, height)
    found: FloatArray = leading_columns([item], encode([item], [""], meta), how)[0]
    return found


def ordered(points: FloatArray) -> FloatArray:
    return points[np.lexsort(points.T)]


@pytest.mark.parametrize(("names", "photo"), DINOV2)
def test_dinov2_locations(names: str, photo: str) -> None:
    """All patch centres, in pixels of the whole picture, become a superset of the authors' locations."""
    golden = np.load(GOLDEN / "extraction_dinov2.npz")
    meta: dict[str, Any] = json.loads(str(golden["meta"]))
    head = golden[f"{names}/none/{photo}/head"]
    box = BOXES[photo] if names.startswith("query") else None
    left, top, right, bottom = (0, 0, *SIZES[photo]) if box is None else map(int, box)
    high, wide = meta["inputs"][f"{names}/{photo}/s0"]["size_hw"]
    rows, cols = np.mgrid[: high // 14, : wide // 14].reshape(2, -1)
    x = left + (14 * cols + 7) / wide * (right - left)
    y = top + (14 * rows + 7) / high * (bottom - top)
    xy = np.stack([x, y], axis=1).astype(np.float32)
    found = np.concatenate(
        [
            columns(part, photo, box, "fraction")[: len(part)]
            for part in np.split(xy, range(100, len(xy), 100))
        ]
    )
    real = head[head[:, 3] == 0]
    assert len(real)
    distance = np.abs(real[:, None, :2] - found[None, :, :2]).max(axis=2)
    assert distance.min(axis=1).max() < 1e-6
    assert len(np.unique(distance.argmin(axis=1))) == len(real)
    if len(real) < 100:
        assert len(real) == len(xy)
        padding = columns(xy, photo, box, "fraction")[len(real) :]
        assert np.allclose(padding[:, :4], head[len(real) :, :4], atol=1e-7)


@pytest.mark.parametrize(("names", "photo"), DINOV2)
def test_cvnet_locations(names: str, photo: str) -> None:
    golden = np.load(GOLDEN / "extraction_cvnet.npz")
    meta: dict[str, Any] = json.loads(str(golden["meta"]))
    head = golden[f"{names}/none/{photo}/head"]
    box = BOXES[photo] if names.startswith("query") else None
    left, top = (0, 0) if box is None else map(int, box[:2])
    real = head[head[:, 3] == 0]
    for scale in range(3):
        here = real[real[:, 2] == scale]
        factor_x, factor_y = meta["inputs"][f"{names}/{photo}/s{scale}"]["factor_xy"]
        cells = np.rint(here[:, :2] * (factor_y, factor_x) / 16)
        x, y = left + 16 * cells[:, 1] / factor_x, top + 16 * cells[:, 0] / factor_y
        found = columns(np.stack([x, y], axis=1).astype(np.float32), photo, box, "pixels")
        assert np.allclose(found[: len(here), :2], here[:, :2], atol=1e-4)
        assert not found[len(here) :, :3].any()
        assert (found[len(here) :, 3] == 1).all()


@settings(deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=5),
    box=st.none() | st.tuples(*[st.floats(0, 40)] * 2, *[st.floats(60, 110)] * 2),
    convention=st.sampled_from(["fraction", "pixels"]),
    known=st.booleans(),
)
def test_locations_come_back(
    points: list[tuple[float, float]], box: Box | None, convention: str, known: bool
) -> None:
    width, height = (120, 110) if known else (0, 0)
    record = ImageRecord(0, "a", "a", bbox=box, width=width or None, height=height or None)
    where = LocationMap.of(record, width, height, {"location_convention": convention})
    xy = (np.array(points) * (119, 109)).astype(np.float32)
    assert np.allclose(where.to_pixels(where.to_authors(xy)), xy, atol=1e-3)


def test_without_crop_a_box_does_not_count() -> None:
    record = ImageRecord(0, "a", "a", bbox=(10, 20, 60, 70), width=100, height=200)
    where = LocationMap.of(record, 100, 200, {"location_convention": "fraction", "crop": False})
    assert where.to_authors(np.array([[25, 50]], np.float32)).tolist() == [[0.25, 0.25]]


def test_a_box_outside_of_the_picture_is_no_crash() -> None:
    record = ImageRecord(0, "a", "a", bbox=(50, 60, 70, 80), width=10, height=10)
    where = LocationMap.of(record, 10, 10, {"location_convention": "fraction"})
    assert np.isfinite(where.to_authors(np.array([[5, 5]], np.float32))).all()
