"""One picture, from its address to what an extractor takes of it or says about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ames_ray.errors import ImageError
from ames_ray.images import reasons
from ames_ray.images.read import decode, read_bytes
from ames_ray.types import ImageFeatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.descriptors.extractor import Extractor, Prepared
    from ames_ray.types import ImageRecord

logger = logging.getLogger(__name__)


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


def describe(batch: Sequence[Prepared], extractor: Extractor) -> list[ImageFeatures]:
    """`Extractor.extract`; where it raises, each picture alone, so that only the bad one fails."""
    try:
        return extractor.extract(batch)
    except Exception as error:
        # After a CUDA error the whole process is lost, and no picture is to blame.
        if "CUDA error" in str(error):
            raise
        logger.warning("the network failed on %d pictures: %s", len(batch), error)
        if len(batch) == 1:
            item = batch[0]
            reason = reasons.NETWORK_FAILED
            return [ImageFeatures(item.record, width=item.width, height=item.height, reason=reason)]
        return [features for item in batch for features in describe([item], extractor)]


def describe_picture(record: ImageRecord, extractor: Extractor, reading: ReadOptions) -> ImageFeatures:
    """Features of one picture; of one that cannot be used, the reason."""
    ready = prepare(record, extractor, reading)
    return ready if isinstance(ready, ImageFeatures) else describe([ready], extractor)[0]
