"""How a query is compared with the images of its shortlist."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from ames_ray.errors import StoreError
from ames_ray.evaluation.ensemble import Ensemble, ensemble_scores, match_probability
from ames_ray.model.projection import PROJECTION
from ames_ray.retrieval.fit import check_fits
from ames_ray.search.match import Matches, counted_matches, mutual_matches

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ames_ray.model.reranker import Reranker
    from ames_ray.store.reader import Store
    from ames_ray.types import AnyArray, FeatureBatch, FloatArray


class Comparison(Protocol):
    """Scores the images of a shortlist, and says which places of two pictures agree."""

    @property
    def name(self) -> str:
        """What ranks, for people."""

    @property
    def unit(self) -> str:
        """What a score counts; empty where it is a plain number."""

    @property
    def reason(self) -> str:
        """What the marked places are, for the legend."""

    def check(self, store: Store) -> None:
        """Refuse a gallery that cannot be compared.

        Raises:
            StoreError: Its descriptors are of another kind.
        """

    def scores(
        self, query: FeatureBatch, images: FeatureBatch, similarities: FloatArray
    ) -> NDArray[np.float64]:
        """(B,) scores of one query with B images, larger = more alike; `similarities` are the global ones."""

    def matches(self, query: FeatureBatch, images: FeatureBatch) -> list[Matches]:
        """For each image the places that agree with the query's."""


@runtime_checkable
class Attentive(Protocol):
    """A re-ranker that says what looked at what."""

    def attention(self, query: FeatureBatch, gallery: FeatureBatch) -> FloatArray:
        """(B, Q, T) last cross-attention of query descriptors to the images', mean of the heads."""


@runtime_checkable
class Counting(Protocol):
    """A re-ranker that counts matches."""

    @property
    def ratio(self) -> float:
        """Largest ratio of a match, see `mutual_matches`."""


class MutualComparison:
    """Counts mutual nearest neighbours: needs no weights, and works for any float descriptors."""

    name = "mutual nearest neighbours"
    unit = "matches"
    reason = "mutual nearest neighbours of the local descriptors"

    def check(self, store: Store) -> None:
        """See `Comparison`."""
        if store.meta.codec == "binary" or PROJECTION in store.meta.settings:
            raise StoreError(
                f"{store.storage.uri} holds projected descriptors, which only their model can compare",
                "pass model= with the weights that projected it",
            )

    def scores(
        self,
        query: FeatureBatch,
        images: FeatureBatch,
        similarities: FloatArray,  # noqa: ARG002 - the count decides alone, equal counts keep the global order
    ) -> NDArray[np.float64]:
        """See `Comparison`."""
        return np.array([len(found) for found in self.matches(query, images)], np.float64)

    def matches(self, query: FeatureBatch, images: FeatureBatch) -> list[Matches]:
        """See `Comparison`."""
        return _all_matches(query, images, mutual_matches)


class NetworkComparison:
    """The ensemble of global similarity and a network's logit.

    Args:
        reranker: The network.
        ensemble: λ and γ.
    """

    unit = ""

    def __init__(self, reranker: Reranker, ensemble: Ensemble) -> None:
        self._reranker = reranker
        self._ensemble = ensemble
        self.name = reranker.spec.name.upper()
        attention = isinstance(reranker, Attentive)
        self.reason = f"last cross-attention of {self.name}" if attention else MutualComparison.reason

    def check(self, store: Store) -> None:
        """See `Comparison`."""
        check_fits(store, self._reranker.spec)

    def scores(
        self, query: FeatureBatch, images: FeatureBatch, similarities: FloatArray
    ) -> NDArray[np.float64]:
        """See `Comparison`."""
        logits = self._reranker(query, images)
        return ensemble_scores(
            similarities, match_probability(logits, self._ensemble.temp), self._ensemble.lamb
        )

    def matches(self, query: FeatureBatch, images: FeatureBatch) -> list[Matches]:
        """See `Comparison`."""
        if isinstance(self._reranker, Attentive):
            attention = self._reranker.attention(query, images)
            real = query.valid[0]
            return [
                _strongest(look[np.ix_(real, valid)])
                for look, valid in zip(attention, images.valid, strict=True)
            ]
        if isinstance(self._reranker, Counting):
            return _all_matches(query, images, partial(counted_matches, ratio=self._reranker.ratio))
        return _all_matches(query, images, mutual_matches)


def _all_matches(
    query: FeatureBatch, images: FeatureBatch, match: Callable[[AnyArray, AnyArray], Matches]
) -> list[Matches]:
    mine = _real(query, 0)
    return [match(mine, _real(images, index)) for index in range(len(images.rows))]


def _real(batch: FeatureBatch, index: int) -> AnyArray:
    """(N, D) descriptors of an image without padding, bits as -1 and +1."""
    from ames_ray.store.codec import unpack_signs

    found = batch.descriptors[index][batch.valid[index]]
    return unpack_signs(found) if found.dtype == np.uint8 else found


def _strongest(attention: FloatArray) -> Matches:
    """The place of the image that each query descriptor looks at most, and that looks back."""
    if not attention.size:
        nothing = np.empty(0, np.int64)
        return Matches(nothing, nothing, np.empty(0, np.float32))
    to_image = attention.argmax(axis=1)
    mutual = np.flatnonzero(attention.argmax(axis=0)[to_image] == np.arange(len(attention)))
    weight = attention[mutual, to_image[mutual]]
    order = mutual[np.argsort(-weight, kind="stable")]
    strength = np.sort(weight)[::-1] / max(float(weight.max(initial=0)), 1e-12)
    return Matches(order, to_image[order], strength.astype(np.float32))
