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
    for shard in np.unique(rows // store.meta.shard_rows):
        wanted = set(rows[rows // store.meta.shard_rows == shard].tolist())
        with open_shard(store.storage, store.meta, int(shard)) as file:
            for block in file.blocks():
                for index, row in enumerate(block.arrays["row"].tolist()):
                    if row in wanted:
                        found[row] = Places(
                            block.arrays["locations"][index].copy(),
                            int(block.arrays["width"][index]),
                            int(block.arrays["height"][index]),
                        )
    return found
