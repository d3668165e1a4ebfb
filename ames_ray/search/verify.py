"""Geometric verification: of the matches of two pictures only those that one movement explains.

The movement is a shift, a turn and a scaling, found by RANSAC (Fischler and Bolles, CACM 1981) as OpenCV has
it, with the same random numbers in every run. Two views of a thing differ by more than that, so the tolerance
is wide: it has to tell them from pictures whose matches are scattered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ames_ray.search.match import Matches

if TYPE_CHECKING:
    from ames_ray.search.places import Places

LEAST = 3
"""Matches that can confirm each other: any two are explained by some movement."""
TOLERANCE = 0.03
"""Largest distance from where the movement takes a place, as a part of the picture's longer side."""
_TRIES = 1000
_CONFIDENCE = 0.99


def verified(found: Matches, query: Places, image: Places) -> Matches:
    """The matches that one movement from the query to the other picture explains, still surest first.

    Args:
        found: Matches of two pictures.
        query: Where the query's descriptors lie.
        image: Where those of the other picture lie.
    """
    inside = np.empty(0, np.int64)
    if len(found) >= LEAST:
        # Imported stores do not say how large a picture is.
        side = max(image.width, image.height) or float(image.xy.max())
        _, agrees = cv2.estimateAffinePartial2D(
            query.xy[found.query],
            image.xy[found.image],
            method=cv2.RANSAC,
            ransacReprojThreshold=TOLERANCE * side,
            maxIters=_TRIES,
            confidence=_CONFIDENCE,
            refineIters=0,
        )
        inside = inside if agrees is None else np.flatnonzero(agrees)
    return Matches(found.query[inside], found.image[inside], found.strength[inside])
