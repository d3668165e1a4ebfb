"""Re-ranking without weights: how many local descriptors of two images are each other's nearest neighbour.

The classical baseline: mutual nearest neighbours that pass the ratio test (Lowe, IJCV 2004).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError, StoreError
from ames_ray.model.reranker import RerankerSpec

if TYPE_CHECKING:
    from ames_ray.model.reranker import Precision, Reranker
    from ames_ray.types import BoolArray, FeatureBatch, FloatArray, IntArray

DIM = 128
_IMAGES_PER_STEP = 8


def mutual_ratios(query: FloatArray, gallery: FloatArray, valid: BoolArray) -> FloatArray:
    """How much nearer than the second nearest each mutual nearest neighbour is.

    Args:
        query: (N, D) descriptors, L2-normalised.
        gallery: (B, T, D) descriptors of B images, L2-normalised.
        valid: (B, T) bool, False for padding.

    Returns:
        (B, N) float32: for each query descriptor its distance to the nearest descriptor of the image, over
        that to the second nearest; infinity where it is not in turn the nearest of that descriptor, or where
        the image has fewer than two. `(ratios < ratio).sum(1)` counts the matches at a ratio.
    """
    images, count = valid.shape
    ratios = np.full((images, len(query)), np.inf, np.float32)
    if not len(query):
        return ratios
    for start in range(0, images, _IMAGES_PER_STEP):
        part = slice(start, start + _IMAGES_PER_STEP)
        cosines = (gallery[part].reshape(-1, gallery.shape[2]) @ query.T).reshape(-1, count, len(query))
        for image, own, real in zip(range(start, images), cosines, valid[part], strict=False):
            if real.any():
                _, ratios[image] = ratio_test(own[real])
    return ratios


def ratio_test(cosines: FloatArray) -> tuple[IntArray, FloatArray]:
    """The nearest descriptor of one image for each of the query, and how sure that is.

    Args:
        cosines: (T, N) of the image's descriptors, one at least, with the query's; overwritten.

    Returns:
        (N,) position of the nearest; and (N,) float32 its distance over that of the second nearest, infinity
        where there is no second, or where the two are not each other's nearest.
    """
    lines = np.arange(cosines.shape[1])
    nearest = cosines.argmax(0)
    mutual = cosines.argmax(1)[nearest] == lines
    first = cosines[nearest, lines]
    cosines[nearest, lines] = -np.inf
    second = cosines.max(0)
    near, far = (np.sqrt(np.maximum(2 - 2 * cosine, 0)) for cosine in (first, second))
    # Two descriptors that are both equal to the query's are as far as each other: the ratio is 1.
    ratios = np.divide(near, far, out=np.ones_like(near), where=far > 0)
    return nearest, np.where(mutual & (len(cosines) > 1), ratios, np.inf).astype(np.float32)


class MutualReranker:
    """A `Reranker` that counts matches; its logit is their number.

    Args:
        ratio: What the distance of a match, as a share of that to the second nearest descriptor, is below.

    Attributes:
        ratio: The same.

    Raises:
        ConfigError: The ratio is not above 0 and at most 1.
    """

    def __init__(self, ratio: float) -> None:
        if not 0 < ratio <= 1:
            raise ConfigError(f"ratio={ratio}: allowed are numbers above 0, up to 1")
        self.ratio = ratio
        digest = hashlib.sha256(f"mutual nearest neighbours, ratio {ratio!r}".encode()).hexdigest()
        self._spec = RerankerSpec("mutual", "sift", DIM, "float16", DIM, digest, digest)

    @property
    def spec(self) -> RerankerSpec:
        """It takes the descriptors of `backbone=sift`."""
        return self._spec

    def __call__(self, query: FeatureBatch, gallery: FeatureBatch) -> FloatArray:
        """Matches of each pair; see `Reranker`."""
        if not len(query.rows) or len(gallery.rows) % len(query.rows):
            raise StoreError(
                f"{len(query.rows)} queries do not share {len(gallery.rows)} gallery images evenly"
            )
        share = len(gallery.rows) // len(query.rows)
        found = np.full(len(gallery.rows), np.finfo(np.float32).min, np.float32)
        for number in range(len(query.rows)):
            part = slice(number * share, (number + 1) * share)
            own = _numbers(query.descriptors[number][query.valid[number]])
            valid = gallery.valid[part]
            counts = (mutual_ratios(own, _numbers(gallery.descriptors[part]), valid) < self.ratio).sum(1)
            some = valid.any(1) & (len(own) > 0)
            found[part] = np.where(some, counts, np.finfo(np.float32).min)
        return found

    def project(self, batch: FeatureBatch) -> FeatureBatch:
        """Nothing to project: an error."""
        raise StoreError(
            f"reranker=mutual has no projection for {len(batch.rows)} images", "score from the raw store"
        )


def load(weights: str, device: str, precision: Precision) -> Reranker:  # noqa: ARG001 - one form for all
    """The re-ranker; in place of weights stands the ratio, such as `0.7`.

    Raises:
        ConfigError: It is no number in the range, or another precision is asked for.
    """
    if precision != "float32":
        raise ConfigError(
            f"precision={precision} is that of a network, and reranker=mutual has none",
            "leave precision= out",
        )
    try:
        ratio = float(weights)
    except ValueError:
        raise ConfigError(
            f"model={weights}: reranker=mutual has no weights", "pass the largest ratio instead: model=0.7"
        ) from None
    return MutualReranker(ratio)


def _numbers(descriptors: FloatArray) -> FloatArray:
    if descriptors.dtype == np.uint8 or descriptors.shape[-1] != DIM:
        raise StoreError(
            f"descriptors are {descriptors.dtype} of width {descriptors.shape[-1]}, "
            f"reranker=mutual takes {DIM} numbers",
            "score from the raw store, extracted with backbone=sift",
        )
    if not np.isfinite(descriptors).all():
        raise StoreError("descriptors hold NaN or infinity", "`ames-ray store verify` finds such rows")
    return np.ascontiguousarray(descriptors, np.float32)
