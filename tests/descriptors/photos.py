"""The golden photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from ames_ray.types import Box, Pixels

GOLDEN = Path(__file__).parents[1] / "golden"
PHOTOS = {p.name.split("_")[0]: p for p in sorted((GOLDEN / "images").iterdir())}
BOXES: dict[str, Box] = {"rocket": (120.6, 10.2, 300.9, 190.7), "astronaut": (10, 30, 150, 130)}


def read(photo: str) -> Pixels:
    """BGR pixels of a photo by the first word of its file name."""
    return np.asarray(cv2.imread(str(PHOTOS[photo]), cv2.IMREAD_COLOR), np.uint8)


def record(photo: str, bbox: Box | None = None) -> ImageRecord:
    """A line of a list."""
    return ImageRecord(0, photo, photo, bbox=bbox)
