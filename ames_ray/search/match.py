"""Mutual nearest neighbours of local descriptors: which places of two pictures show the same.

A match is a pair of descriptors that are each other's nearest, the nearer one clearly nearer than the second
(Lowe, IJCV 2004, the ratio test). Each descriptor is in one match at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.model.mutual_reranker import ratio_test

if TYPE_CHECKING:
    from ames_ray.types import AnyArray, FloatArray, IntArray

RATIO = 0.6
"""What the distance to the nearest descriptor, as a part of that to the second, is to be below; chosen on the
validation scenes of `landmarks_mini` (docs/experiments.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Places of two pictures that belong together, surest first.

    Attributes:
        query: (P,) int64 positions among the query's descriptors.
        image: (P,) int64 positions among the other image's.
        strength: (P,) float32 in descending order, 0 to 1.
    """

    query: IntArray
    image: IntArray
    strength: FloatArray

    def __len__(self) -> int:
        return len(self.query)


def mutual_matches(query: AnyArray, image: AnyArray, ratio: float = RATIO) -> Matches:
    """Match the descriptors of two pictures.

    Args:
        query: (N, D) descriptors of any length; they are L2-normalised.
        image: (M, D) descriptors.
        ratio: See `RATIO`. An image with a single descriptor has no second one, and matches nothing.

    Returns:
        At most min(N, M) matches; their strength is the cosine, negative ones cut to 0.
    """
    return counted_matches(_normalised(query), _normalised(image), ratio)


def counted_matches(query: AnyArray, image: AnyArray, ratio: float) -> Matches:
    """The same by inner products of the descriptors as they are: those that `MutualReranker` counts."""
    if not len(query) or not len(image):
        nothing = np.empty(0, np.int64)
        return Matches(nothing, nothing, np.empty(0, np.float32))
    cosines = np.asarray(image, np.float32) @ np.asarray(query, np.float32).T
    best = cosines.max(axis=0)
    to_image, ratios = ratio_test(cosines)
    keep = np.flatnonzero(ratios < ratio)
    order = keep[np.argsort(-best[keep], kind="stable")]
    return Matches(order, to_image[order], np.clip(best[order], 0, 1).astype(np.float32))


def _normalised(descriptors: AnyArray) -> FloatArray:
    wide = np.asarray(descriptors, np.float32)
    unit: FloatArray = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return unit
