"""A picture in a frame of fixed size, with its local features drawn on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from ames_ray.types import FloatArray, Pixels

_DIM = 0.62
_BACKDROP_DIM = 0.35
_DRAWN = 250
_SUBPIXEL_BITS = 4
_COLOURS = (90, 255)


def thumbnail(pixels: Pixels, xy: FloatArray, width: int, height: int) -> Pixels:
    """The whole picture inside a frame, over a blurred copy of itself, with a ring at each feature.

    The strongest 250 features are drawn, from violet (weaker) to yellow (stronger) by their rank, so that the
    colours mean the same whatever scale a detector's weights have.

    Args:
        pixels: (H, W, 3) uint8 BGR.
        xy: (N, 2) x and y in pixels of the picture, strongest first.
        width: Of the frame.
        height: Of the frame.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    rows, columns = pixels.shape[:2]
    factor = min(width / columns, height / rows)
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    small = _resize(pixels, size)
    if len(xy):
        small = cv2.convertScaleAbs(small, alpha=_DIM)
        scale = np.array([size[0] / columns, size[1] / rows], np.float32)
        _draw_rings(small, (xy[:_DRAWN] + 0.5) * scale - 0.5)
    frame = _backdrop(pixels, width, height)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    frame[top : top + size[1], left : left + size[0]] = small
    return frame


def palette(steps: int) -> Pixels:
    """(steps, 3) uint8 BGR, from the colour of the weakest feature to that of the strongest; steps >= 1."""
    levels = np.linspace(*_COLOURS, steps).round().astype(np.uint8)
    coloured: Pixels = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_PLASMA)[:, 0]
    return coloured


def _draw_rings(image: Pixels, centres: FloatArray) -> None:
    """Draw rings in place, the strongest last and largest."""
    count = len(centres)
    for rank, colour in zip(range(count - 1, -1, -1), palette(count).tolist(), strict=True):
        strength = 1 - rank / count
        centre = tuple((centres[rank] * (1 << _SUBPIXEL_BITS)).round().astype(int).tolist())
        radius = round((2.5 + 3.5 * strength**3) * (1 << _SUBPIXEL_BITS))
        cv2.circle(image, centre, radius, colour, 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _backdrop(pixels: Pixels, width: int, height: int) -> Pixels:
    """The picture enlarged over the whole frame, blurred and darkened."""
    tiny = cv2.resize(pixels, (16, 12), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(tiny, (5, 5), 0)
    large = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    frame: Pixels = cv2.convertScaleAbs(large, alpha=_BACKDROP_DIM)
    return frame


def _resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    shrinks = size[0] < pixels.shape[1]
    resized: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return resized
