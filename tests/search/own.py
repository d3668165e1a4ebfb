"""A backbone of somebody's own: a picture as a grid of colours."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from ames_ray.backbones.base import BackboneInfo, PictureBackbone
from ames_ray.types import FloatArray, LocalFeatures, Pixels

_SIDE = 6
_INFO = BackboneInfo("colours", dim=3, pooled={"global": 3}, location="pixels", detector="none")


def colours(weights: str | None = None) -> PictureBackbone:
    """What `backbone=tests.search.own:colours` names."""
    del weights
    return PictureBackbone(_INFO, _describe, sha256=None)


def _describe(pixels: Pixels) -> tuple[LocalFeatures, Mapping[str, FloatArray]]:
    grid = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).reshape(-1, 3) / np.float32(255)
    xy = np.stack(np.divmod(np.arange(len(grid)), _SIDE), axis=1).astype(np.float32)
    order = np.argsort(-grid.std(axis=1), kind="stable")
    mean = grid.mean(axis=0)
    found = LocalFeatures(xy[order], np.zeros(len(grid), np.int8), grid.std(axis=1)[order], grid[order])
    return found, {"global": mean / np.linalg.norm(mean)}
