"""Width and height from the first bytes of a file, before anything is decoded."""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
_QUIET = threading.Lock()


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as stored, before an EXIF rotation; none where the bytes are no known picture.

    Args:
        data: The file's bytes.
    """
    try:
        with open_lazily(data) as image:
            return image.size
    except Exception:  # noqa: BLE001 - a hostile header may make a parser raise anything; no header, no picture
        return None


@contextmanager
def open_lazily(data: bytes) -> Iterator[Image.Image]:
    """Pillow's view of the picture, nothing decoded yet.

    Pillow's bomb limit and its warnings are off while the header is read: `max_pixels` rules instead. Both
    are global in Pillow and Python, hence the lock.
    """
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(io.BytesIO(data), formats=_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)
