"""A store of small photos, and the same photos and cut pieces of them as queries."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.extract_here import extract_here
from tests.photos import GOLDEN_PHOTOS, make_photos


def make_store(folder: Path, count: int = 9, *words: str) -> Path:
    """Photos in `folder/photos`, two of them real, and their RootSIFT store in `folder/store`."""
    photos = folder / "photos"
    make_photos(photos, count, size=160)
    for name in ("astronaut_161x231.png", "coffee_280x210.png"):
        (photos / name).write_bytes((GOLDEN_PHOTOS / name).read_bytes())
    extract_here([f"images={photos}", f"output={folder / 'store'}", "shard_rows=4", "topk=120", *words])
    return folder / "store"


def turned(source: Path, target: Path, degrees: float = 20) -> None:
    """The picture rotated about its middle: the same thing seen from elsewhere."""
    pixels = cv2.imread(str(source))
    assert pixels is not None
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cv2.imwrite(str(target), np.asarray(cv2.warpAffine(pixels, matrix, (width, height))))
