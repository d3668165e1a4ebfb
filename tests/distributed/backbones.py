"""Backbones of one's own, as a user would write them: one that dies, one that raises, one that is slow …"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ames_ray.backbones.base import PictureBackbone
from ames_ray.backbones.blank import blank
from ames_ray.types import FloatArray, LocalFeatures, Pixels

POISON = (1, 2, 3)
"""BGR colour of the first pixel of a picture that kills its process."""


def poisonable(weights: str | None = None) -> PictureBackbone:
    """The blank backbone, but some pictures kill it as a segmentation fault in a decoder would."""
    return _blank_after(lambda pixels: os._exit(9) if _poisonous(pixels) else None, weights)


def raising(weights: str | None = None) -> PictureBackbone:
    """The blank backbone, but it raises on a picture that would kill the other one."""

    def complain(pixels: Pixels) -> None:
        if _poisonous(pixels):
            raise ZeroDivisionError("no contrast")

    return _blank_after(complain, weights)


def deadly(weights: str | None = None) -> PictureBackbone:
    """The blank backbone, but it kills every process except the one whose id is given as its weights."""
    if os.getpid() != int(weights or 0):
        os._exit(9)
    return blank()


def slow(weights: str | None = None) -> PictureBackbone:
    """The blank backbone at five pictures a second, so that there is time to kill it."""
    return _blank_after(lambda _: time.sleep(0.2), weights)


def stalling(weights: str | None = None) -> PictureBackbone:
    """The blank backbone, but it never comes back from a picture that would kill the other one."""
    return _blank_after(lambda pixels: time.sleep(3600) if _poisonous(pixels) else None, weights)


def waiting(store: str | None = None) -> PictureBackbone:
    """The blank backbone, but once the store given as its weights has been begun, they never come.

    It leaves a file beside the store where it waits.
    """
    folder = Path(store or "")
    if (folder / "job.json").exists():
        folder.with_name("waiting").touch()
        time.sleep(3600)
    return blank()


def _poisonous(pixels: Pixels) -> bool:
    return tuple(int(v) for v in pixels[0, 0]) == POISON


def _blank_after(first: Callable[[Pixels], None], weights: str | None) -> PictureBackbone:
    plain = blank(weights)

    def describe(pixels: Pixels) -> tuple[LocalFeatures, Mapping[str, FloatArray]]:
        first(pixels)
        return plain.describe(pixels)

    return replace(plain, describe=describe)
