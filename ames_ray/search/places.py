"""Where the local features of some rows lie in their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.store.shards import open_shard

if TYPE_CHECKING:
    from ames_ray.store.reader import Store
    from ames_ray.types import FloatArray, IntArray


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


def find_places(store: Store, rows: IntArray) -> dict[int, Places]:
    """The places of some rows, by row.

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
    return found
