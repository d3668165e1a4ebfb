"""Triplets of the published recipe: hard positives and negatives among the nearest by global descriptor.

Source: authors' code. Same landmark = positive, another landmark = negative, each drawn with a probability in
proportion to the cube of the global similarity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import DatasetError
from ames_ray.training.plan import StepPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.training.plan import DescriptorCounts
    from ames_ray.training.sources import SourceInput
    from ames_ray.types import AnyArray, FloatArray, IntArray

_FEWEST = 5
_BLOCK_ROWS = 16384
UNKNOWN = -1
"""Label of an image that has none: it is no anchor, no positive and no negative."""


class NeighborTriplets:
    """A `TripletSource`: each epoch is a permutation of all valid anchors, one triplet each.

    A valid anchor has at least 5 neighbours of its landmark and 5 of others.

    Args:
        neighbors: The neighbours of every training image, nearest first; row i belongs to image i.
        labels: (rows,) int64 landmarks, `UNKNOWN` where there is none.
        descriptor_counts: How many descriptors each step sees.
        batch_size: Triplets of a step.
        seed: Decides permutations and draws.
        num_neighbors: Neighbours of an image that count, itself left out.
        negatives: Drawn for each anchor; the published recipe draws one.

    Raises:
        DatasetError: Labels and neighbours are of different images, or there is no valid anchor.
    """

    def __init__(
        self,
        neighbors: Shortlist,
        labels: IntArray,
        descriptor_counts: DescriptorCounts,
        *,
        batch_size: int = 100,
        seed: int = 0,
        num_neighbors: int = 300,
        negatives: int = 1,
    ) -> None:
        if len(neighbors) != len(labels):
            raise DatasetError(
                f"there are neighbours of {len(neighbors)} images, and labels of {len(labels)}",
                "make the neighbours from the training store: query and gallery are the same store",
            )
        self._labels = labels
        self._rows, self._weights = _nearest(neighbors, labels, num_neighbors)
        self._anchors = _valid_anchors(self._rows, self._weights, labels)
        if not len(self._anchors):
            raise DatasetError(
                f"none of {len(labels)} images has {_FEWEST} neighbours of its label and {_FEWEST} of others",
                f"training needs labels with more than {_FEWEST} images, and neighbours from the same store",
            )
        self._descriptor_counts = descriptor_counts
        self._batch_size = batch_size
        self._seed = seed
        self._negatives = negatives
        self._order: tuple[int, IntArray] | None = None

    @property
    def anchors(self) -> IntArray:
        """(A,) int64 rows of the valid anchors, ascending."""
        return self._anchors

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; the last one may be short."""
        return -(-len(self._anchors) // self._batch_size)

    def plan(self, epoch: int, step: int) -> StepPlan:
        """The plan of a step; see `TripletSource`."""
        first = step * self._batch_size
        anchors = self._permutation(epoch)[first : first + self._batch_size]
        query, gallery = self._descriptor_counts.draw(epoch * self.steps_per_epoch + step)
        random = np.random.default_rng((self._seed, 1, epoch, step))
        drawn = [self._draw(anchors, wanted, random) for wanted in (True, *[False] * self._negatives)]
        return StepPlan(epoch, step, np.stack([anchors, *drawn], axis=1), query, gallery, query, gallery)

    def _permutation(self, epoch: int) -> IntArray:
        if self._order is None or self._order[0] != epoch:
            random = np.random.default_rng((self._seed, 0, epoch))
            self._order = epoch, random.permutation(self._anchors)
        return self._order[1]

    def _draw(self, anchors: IntArray, positive: bool, random: np.random.Generator) -> IntArray:
        """One neighbour of each anchor, of the same label or of another one."""
        rows = self._rows[anchors].astype(np.int64)
        same = self._labels[rows] == self._labels[anchors, None]
        upto = np.cumsum(np.where(same == positive, self._weights[anchors], 0), axis=1, dtype=np.float64)
        # Above 0, so that an image without weight is never the first to reach it.
        wanted = (1 - random.random(len(anchors))) * upto[:, -1]
        places = (upto < wanted[:, None]).sum(axis=1)
        return np.take_along_axis(rows, places[:, None], 1)[:, 0]


def neighbors(given: SourceInput) -> NeighborTriplets:
    """The published sampler, for `ames_ray.training.sources`."""
    return NeighborTriplets(
        given.neighbors,
        # Neighbours that were computed elsewhere may be images that have no descriptors here.
        np.where(given.gallery.failed, UNKNOWN, given.labels),
        given.descriptor_counts,
        batch_size=given.batch_size,
        seed=given.seed,
        num_neighbors=given.num_neighbors,
        negatives=given.negatives,
    )


def label_numbers(labels: Sequence[str | None]) -> IntArray:
    """Labels as numbers, equal ones alike; `UNKNOWN` for none."""
    known: dict[str, int] = {}
    return np.array(
        [UNKNOWN if label is None else known.setdefault(label, len(known)) for label in labels], np.int64
    )


def _nearest(neighbors: Shortlist, labels: IntArray, num_neighbors: int) -> tuple[AnyArray, FloatArray]:
    """(rows, N) int32 the first neighbours of each image but itself, and their weights: 0 for those left out.

    At 750,000 images with 300 neighbours each this is 1.8 GB.
    """
    last = int(neighbors.rows.max(initial=-1))
    if last >= len(labels):
        raise DatasetError(f"the neighbours name row {last}, there are {len(labels)} images")
    count = min(num_neighbors, neighbors.rows.shape[1])
    rows = np.zeros((len(labels), count), np.int32)
    weights = np.zeros((len(labels), count), np.float32)
    for start in range(0, len(labels), _BLOCK_ROWS):
        here = slice(start, start + _BLOCK_ROWS)
        found = neighbors.rows[here, : count + 1]
        similarity = neighbors.similarities[here, : count + 1]
        own = found == np.arange(start, start + len(found))[:, None]
        order = np.argsort(own, axis=1, kind="stable")[:, :count]
        found, similarity, own = (np.take_along_axis(a, order, 1) for a in (found, similarity, own))
        usable = ~own & (found >= 0) & np.isfinite(similarity) & (similarity > 0)
        rows[here] = np.where(usable, found, 0)
        usable &= labels[rows[here]] != UNKNOWN
        weights[here] = np.where(usable, similarity, 0) ** 3
    return rows, weights


def _valid_anchors(rows: AnyArray, weights: FloatArray, labels: IntArray) -> IntArray:
    found = []
    for start in range(0, len(labels), _BLOCK_ROWS):
        here = slice(start, start + _BLOCK_ROWS)
        same = labels[rows[here]] == labels[here, None]
        counted = weights[here] > 0
        enough = ((same & counted).sum(1) >= _FEWEST) & ((~same & counted).sum(1) >= _FEWEST)
        found.append(start + np.flatnonzero(enough & (labels[here] != UNKNOWN)))
    return np.concatenate(found) if found else np.empty(0, np.int64)
