"""What an extractor found, as a row: features, or the reason why they are of no use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.images import reasons
from ames_ray.types import ImageFeatures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.descriptors.extractor import Prepared
    from ames_ray.types import FloatArray, LocalFeatures


def outcome(item: Prepared, local: LocalFeatures, pooled: Mapping[str, FloatArray]) -> ImageFeatures:
    """The row of a picture; one value that is not finite spoils all, as it would spoil a ranking."""
    reason = None
    if not len(local):
        reason = reasons.NO_FEATURES
    elif not all(np.isfinite(a).all() for a in (local.descriptors, local.weight, local.xy, *pooled.values())):
        reason = reasons.NON_FINITE
    return ImageFeatures(
        item.record,
        local=None if reason else local,
        pooled={} if reason else pooled,
        width=item.width,
        height=item.height,
        reason=reason,
        flag=item.flag,
    )
