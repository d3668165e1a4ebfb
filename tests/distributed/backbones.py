"""Backbones of one's own, as a user would write them: one that dies, one that is slow, one that stalls."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from ames_ray.backbones.base import PictureBackbone
from ames_ray.backbones.blank import blank
from ames_ray.types import FloatArray, LocalFeatures, Pixels

POISON = (1, 2, 3)
"""BGR colour of the first pixel of a picture that kills its process."""


def poisonable(weights: str | None = None) -> PictureBackbone:
    """The blank backbone, but some pictures kill it as a segmentation fault in a decoder would."""
    plain = blank(weights)

    def describe(pixels: Pixels) -> tuple[LocalFeatures, dict[str, FloatArray]]:
        if tuple(int(v) for v in pixels[0, 0]) == POISON:
            os._exit(9)
        local, pooled = plain.describe(pixels)
        return local, dict(pooled)

    return replace(plain, describe=describe)


def slow(weights: str | None = None) -> PictureBackbone:
    """The blank backbone at five pictures a second, so that there is time to kill it."""
    plain = blank(weights)

    def describe(pixels: Pixels) -> tuple[LocalFeatures, dict[str, FloatArray]]:
        time.sleep(0.2)
        local, pooled = plain.describe(pixels)
        return local, dict(pooled)

    return replace(plain, describe=describe)


def stalling(weights: str | None = None) -> PictureBackbone:
    """The blank backbone, but it never comes back from a picture that would kill the other one."""
    plain = blank(weights)

    def describe(pixels: Pixels) -> tuple[LocalFeatures, dict[str, FloatArray]]:
        if tuple(int(v) for v in pixels[0, 0]) == POISON:
            time.sleep(3600)
        local, pooled = plain.describe(pixels)
        return local, dict(pooled)

    return replace(plain, describe=describe)
