"""Triplets of rows to the descriptors that a step needs, read ahead of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from ames_ray.errors import ConfigError
from ames_ray.training.ahead import ahead
from ames_ray.training.batch import TripletBatch
from ames_ray.training.prefixes import read_prefixes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ames_ray.store.reader import Store
    from ames_ray.training.plan import StepPlan
    from ames_ray.training.prefixes import DescriptorSource
    from ames_ray.types import IntArray

logger = logging.getLogger(__name__)

_THREADS = 2
"""One copies while the other waits for the disk; both do so without holding up the step."""
_DEPTH = 3
"""Batches ahead of the step, 0.1 to 0.2 GB each; more would only hide longer hiccups of the disk."""


class TripletLoader:
    """Reads the batches of a training run; each worker has its own, for its own share of the triplets.

    It holds no file open, so it may be sent to other processes.

    Args:
        gallery: The training images.
        max_count: Most descriptors of an image that will be asked for.

    Raises:
        ConfigError: The images have fewer.
    """

    def __init__(self, gallery: DescriptorSource, max_count: int) -> None:
        if max_count > gallery.topk:
            raise ConfigError(
                f"up to {max_count} descriptors of an image are needed, {gallery.uri} holds {gallery.topk}",
                f"train with {gallery.topk} at most, or extract with topk={max_count}",
            )
        self._gallery = gallery

    def batch(self, triplets: IntArray, query_count: int, gallery_count: int) -> TripletBatch:
        """The strongest descriptors of some triplets, float16 or float32 as they are stored.

        The network converts them on its device, so what travels there is no larger than it has to be.

        Args:
            triplets: (B, 2 + N) rows of anchors, positives and N negatives.
            query_count: Descriptors of an anchor.
            gallery_count: Descriptors of a positive or a negative.

        Raises:
            StoreError: A row is outside of the store, or a file is damaged.
        """
        anchor, others = read_prefixes(
            self._gallery, (triplets[:, 0], query_count), (triplets[:, 1:].T.reshape(-1), gallery_count)
        )
        arrays = (anchor.descriptors, anchor.valid, others.descriptors, others.valid)
        return TripletBatch(*map(torch.from_numpy, arrays))

    def prefetched(self, plans: Iterable[StepPlan]) -> Iterator[tuple[StepPlan, TripletBatch, float]]:
        """The batches of plans in order, each with the seconds that the caller had to wait for it.

        Threads read some batches ahead. An error of a reading is raised in its turn; closing the iterator
        ends the threads.
        """
        return ahead(plans, self._planned, depth=_DEPTH, threads=_THREADS)

    def _planned(self, plan: StepPlan) -> TripletBatch:
        return self.batch(plan.triplets, plan.query_count, plan.gallery_count)


def pack_for_training(stores: Iterable[Store]) -> None:
    """Give every local store its packed copy, once; a store that has one is left alone.

    A step reads hundreds of scattered rows. From shards each of them costs the opening of a file and a whole
    row group, from a packed file only its own bytes.

    Raises:
        StoreError: A store is not whole, or the disk is full.
    """
    for store in stores:
        if store.storage.local is None:
            logger.warning(
                "%s is remote: every step reads scattered rows over the network", store.storage.uri
            )
        elif store.pack is None:
            needed = store.meta.rows * store.meta.row_bytes
            logger.warning("%s: packing %.1f GB once, for random reads", store.storage.uri, needed / 1e9)
            store.make_pack()
