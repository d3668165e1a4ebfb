"""What one step of training looks at, and who decides it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from ames_ray.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class StepPlan:
    """The triplets of a step and how much of each image is read and seen.

    Attributes:
        epoch: From 0.
        step: Within the epoch, from 0.
        triplets: (B, 2 + N) int64 rows of anchor, positive, and N negatives of which the step takes one.
        query_count: Descriptors of an anchor to read.
        gallery_count: Descriptors of a positive or negative to read.
        query_seen: How many of those the network in training sees, a prefix; a teacher sees all.
        gallery_seen: Likewise.
        counts: False where the triplets only keep a worker without any in step; they carry no weight.
        whole: Triplets of the step on all workers together; 0 for those that are here.
    """

    epoch: int
    step: int
    triplets: IntArray
    query_count: int
    gallery_count: int
    query_seen: int
    gallery_seen: int
    counts: bool = True
    whole: int = 0

    @property
    def pairs(self) -> int:
        """Pairs of the step on all workers together."""
        return 2 * (self.whole or len(self.triplets))

    def noise(self, count: int) -> FloatArray:
        """(B, count) standard Gumbel noise, the same for an anchor whoever has its triplet."""
        places = ((self.epoch, self.step, int(anchor)) for anchor in self.triplets[:, 0])
        return np.stack([np.random.default_rng(place).gumbel(size=count) for place in places])

    def reading(self, count: int) -> StepPlan:
        """The plan with `count` descriptors of every image to read; what is seen stays."""
        return replace(self, query_count=count, gallery_count=count)

    def share(self, rank: int, world: int) -> StepPlan:
        """The triplets of one of `world` workers: neighbouring ones, equally many within one.

        A worker without any gets the first triplet, without weight: it has to take part in every exchange.
        """
        size = len(self.triplets)
        mine = self.triplets[size * rank // world : size * (rank + 1) // world]
        if len(mine):
            return replace(self, triplets=mine, whole=size)
        return replace(self, triplets=self.triplets[:1], counts=False, whole=size)


class TripletSource(Protocol):
    """Decides what every step looks at.

    A plan is a pure function of the position, so a position is all that a resumed run needs, and every worker
    draws the same one.
    """

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""

    def plan(self, epoch: int, step: int) -> StepPlan:
        """The plan of a step for all workers together."""


@dataclass(frozen=True, slots=True)
class DescriptorCounts:
    """One descriptor count for the query side and one for the gallery side of a step, independent.

    Attributes:
        seed: Decides the draws.
        low: Smallest count.
        high: Counts stay below it.
    """

    seed: int
    low: int
    high: int

    def draw(self, step: int) -> tuple[int, int]:
        """Counts of a step, counted over all epochs; equal on every worker."""
        query, gallery = np.random.default_rng((self.seed, 2, step)).integers(self.low, self.high, 2)
        return int(query), int(gallery)
