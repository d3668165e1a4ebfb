"""Pictures small enough to lie inside a page."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2

from ames_ray.errors import ImageError
from ames_ray.images.read import decode, read_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.types import Pixels

SHELF = 100
"""Pictures that a page unpacks at once."""
_EDGES = {150: 512, 600: 320, 2_000: 224}
"""Longer side by the number of pictures: a page of 10,000 is to stay below some 40 MB."""
_SMALLEST_EDGE = 144
_QUALITY = 68
_MAX_PIXELS = 1 << 28
_THREADS = 4


def embed(uris: Sequence[str]) -> list[list[str | None]]:
    """Pictures as base64 of WebP, in shelves of `SHELF`; none for one that cannot be read any more.

    Args:
        uris: Addresses; the more there are, the smaller each becomes.
    """
    edge = next((edge for most, edge in _EDGES.items() if len(uris) <= most), _SMALLEST_EDGE)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda uri: _embedded(uri, edge), uris))
    return [found[first : first + SHELF] for first in range(0, len(found), SHELF)]


def small_webp(uri: str, edge: int, quality: int, max_pixels: int) -> bytes:
    """A picture as WebP, its longer side cut down to `edge` pixels.

    Args:
        uri: Its address.
        edge: Longer side [pixels].
        quality: Of the encoder, up to 100.
        max_pixels: Larger pictures are refused.

    Raises:
        ImageError: It cannot be read any more.
    """
    pixels = decode(read_bytes(uri), max_pixels=max_pixels, truncated="keep").pixels
    _, data = cv2.imencode(".webp", shrunk(pixels, edge), [cv2.IMWRITE_WEBP_QUALITY, quality])
    return data.tobytes()


def shrunk(pixels: Pixels, edge: int) -> Pixels:
    """The picture with its longer side cut down to `edge` pixels; a smaller one as it is."""
    rows, columns = pixels.shape[:2]
    factor = min(1.0, edge / max(rows, columns))
    size = max(1, round(columns * factor)), max(1, round(rows * factor))
    small: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small


def _embedded(uri: str, edge: int) -> str | None:
    try:
        return base64.b64encode(small_webp(uri, edge, _QUALITY, _MAX_PIXELS)).decode()
    except ImageError:
        return None
