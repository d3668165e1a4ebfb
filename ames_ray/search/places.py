"""Pictures that are compared: their descriptors, and where these lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.store.shards import open_shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.store.reader import Store
    from ames_ray.types import FeatureBatch, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The features of one image, strongest first.

    Attributes:
        xy: (K, 2) x and y in pixels of the whole picture, padded with zeros.
        width: Of the whole picture [pixels].
        height: Of the whole picture [pixels].
    """

    xy: FloatArray
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some pictures.

    Attributes:
        batch: Their descriptors.
        find: Finds where these lie, in the order of the batch; it is asked once, if at all.
    """

    batch: FeatureBatch
    find: Callable[[], list[Places]]

    def __len__(self) -> int:
        return len(self.batch.rows)

    @cached_property
    def places(self) -> list[Places]:
        """Where the descriptors of each picture lie."""
        return self.find()


def find_places(store: Store, rows: IntArray) -> list[Places]:
    """The places of some rows, in their order.

    Raises:
        StoreError: A shard is missing or damaged.
    """
    found: dict[int, Places] = {}
    shards = rows // store.meta.shard_rows
    for shard in np.unique(shards).tolist():
        start, _ = store.meta.shard_range(shard)
        with open_shard(store.storage, store.meta, shard) as file:
            xy, width, height = (file.column(name) for name in ("locations", "width", "height"))
        for row in rows[shards == shard].tolist():
            at = row - start
            found[row] = Places(xy[at].copy(), int(width[at]), int(height[at]))
    return [found[row] for row in rows.tolist()]
