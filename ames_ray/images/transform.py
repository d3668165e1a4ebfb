"""Crop and resize exactly as the AMES authors' extraction does.

One unit in the last place of a factor changes pixels, so the order of the arithmetic below is part of the
contract; `tests/golden` holds the hashes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2

from ames_ray.errors import ImageError
from ames_ray.images import reasons

if TYPE_CHECKING:
    from ames_ray.types import Box, Pixels

MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)
"""ImageNet statistics of pixels in [0, 1]."""


def crop(pixels: Pixels, bbox: Box) -> Pixels:
    """Cut a query to its box: rows top:bottom, columns left:right.

    The four numbers are truncated to integers, as the authors do; what reaches beyond the picture is ignored.

    Args:
        pixels: (H, W, 3) uint8, the whole picture after its EXIF rotation.
        bbox: left, top, right, bottom in pixels of that picture.

    Returns:
        (h, w, 3) uint8, a view.

    Raises:
        ImageError: Nothing of the picture lies in the box.
    """
    height, width = pixels.shape[:2]
    detail = f"box {', '.join(f'{side:g}' for side in bbox)} in a picture of {width}x{height}"
    if not all(math.isfinite(side) for side in bbox):
        raise ImageError(reasons.EMPTY_CROP, detail)
    left, top, right, bottom = (max(int(side), 0) for side in bbox)
    cut = pixels[top:bottom, left:right]
    if cut.size == 0:
        raise ImageError(reasons.EMPTY_CROP, detail)
    return cut


def resize_factor(width: int, height: int, imsize: int | None, scale: float = 1.0) -> float:
    """Factor for both sides.

    Args:
        width: Width of the whole picture, before a query is cropped [pixels].
        height: Height of the whole picture [pixels].
        imsize: Wanted longer side of the whole picture [pixels], or none to leave it as it is.
        scale: Image scale on top of that.
    """
    return scale if imsize is None else scale * (imsize / max(width, height))


def patch_factors(height: int, width: int, factor: float, patch: int) -> tuple[float, float]:
    """Factors that bring each side to the nearest multiple of the patch, and to one patch at least.

    Args:
        height: Height of the picture to be resized, cropped if it is a query [pixels].
        width: Its width [pixels].
        factor: What `resize_factor` gave.
        patch: Side of a patch [pixels].

    Returns:
        Factor of the height, factor of the width.
    """
    return _patch_factor(height, factor, patch), _patch_factor(width, factor, patch)


def _patch_factor(side: int, factor: float, patch: int) -> float:
    patches = factor * side / patch
    whole = max(round(patches), 1)
    return factor / (patches / whole)


def resize(pixels: Pixels, fx: float, fy: float) -> Pixels:
    """Resize uint8 pixels: by area if a side shrinks, else bilinearly.

    OpenCV is given the factors and no size, because its sampling grid follows the factors. A side that would
    vanish becomes one pixel.

    Args:
        pixels: (H, W, 3) uint8.
        fx: Factor of the width.
        fy: Factor of the height.

    Returns:
        (round(H · fy), round(W · fx), 3) uint8, ties to even; the input itself where both factors are 1.
    """
    height, width = pixels.shape[:2]
    fx = fx if round(width * fx) else 1 / width
    fy = fy if round(height * fy) else 1 / height
    if fx == 1 and fy == 1:
        return pixels
    how = cv2.INTER_AREA if min(fx, fy) < 1 else cv2.INTER_LINEAR
    resized: Pixels = cv2.resize(pixels, None, fx=fx, fy=fy, interpolation=how)
    return resized
