"""A backbone that computes next to nothing, for measuring everything around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.backbones.base import BackboneInfo, PictureBackbone
from ames_ray.errors import ConfigError
from ames_ray.types import LocalFeatures

if TYPE_CHECKING:
    from ames_ray.types import FloatArray, Pixels

DIM = 128
_COUNT = 4
_PRIME = 251
# Distances between the values of neighbouring means; any odd numbers would do.
_STEPS = 2 * np.arange(_COUNT * DIM, dtype=np.int64).reshape(_COUNT, DIM) + 1


def blank(weights: str | None = None) -> PictureBackbone:
    """Four descriptors of width 128 and one global descriptor, all from the picture's mean.

    Raises:
        ConfigError: Weights are given.
    """
    if weights is not None:
        raise ConfigError(f"backbone=blank has no weights, but weights={weights} was given", "drop weights=")
    return PictureBackbone(BackboneInfo("blank", DIM, {"global": DIM}, "pixels", "none"), _describe, None)


def _describe(pixels: Pixels) -> tuple[LocalFeatures, dict[str, FloatArray]]:
    height, width = pixels.shape[:2]
    # Whole numbers give the same bytes on every machine.
    mean = int(pixels.sum(dtype=np.int64)) * 1000 // pixels.size
    values = (mean * _STEPS % _PRIME + 1).astype(np.float32)
    descriptors = values / np.linalg.norm(values, axis=1, keepdims=True)
    quarters = np.array([(1, 1), (3, 1), (1, 3), (3, 3)], dtype=np.float32) / 4
    local = LocalFeatures(
        xy=(quarters * (width, height)).astype(np.float32),
        scale=np.zeros(_COUNT, dtype=np.int8),
        weight=np.arange(_COUNT, 0, -1, dtype=np.float32),
        descriptors=descriptors,
    )
    return local, {"global": descriptors[0]}
