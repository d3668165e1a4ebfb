"""One picture, from its address to what an extractor takes of it or says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ames_ray.errors import ImageError
from ames_ray.images.read import decode, read_bytes
from ames_ray.types import ImageFeatures

if TYPE_CHECKING:
    from ames_ray.descriptors.extractor import Extractor, Prepared
    from ames_ray.types import ImageRecord


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a picture becomes pixels; part of what decides the values."""

    truncated: Literal["fail", "keep"] = "fail"
    max_pixels: int = 100_000_000


def prepare(record: ImageRecord, extractor: Extractor, reading: ReadOptions) -> Prepared | ImageFeatures:
    """Read, decode, crop and resize one picture; a bad one becomes features with a reason."""
    try:
        image = decode(read_bytes(record.uri), max_pixels=reading.max_pixels, truncated=reading.truncated)
        return extractor.prepare(record, image.pixels, image.flag)
    except ImageError as error:
        return ImageFeatures(record, reason=error.reason)


def describe_picture(record: ImageRecord, extractor: Extractor, reading: ReadOptions) -> ImageFeatures:
    """Features of one picture; of one that cannot be used, the reason."""
    ready = prepare(record, extractor, reading)
    return ready if isinstance(ready, ImageFeatures) else extractor.extract([ready])[0]
