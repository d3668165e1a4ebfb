"""Any range of rows of a gallery's global descriptors, read from the shards that hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.store.reader import Store
    from ames_ray.types import FloatArray


def pooled_width(stores: Sequence[Store], name: str) -> int:
    """Width of a global descriptor.

    Raises:
        StoreError: A store lacks it or some of its shards, or has it in another width.
    """
    width = None
    for store in stores:
        if name not in store.meta.pooled:
            known = ", ".join(sorted(store.meta.pooled)) or "none"
            raise StoreError(f"{store.storage.uri} has no global descriptor {name!r}; it has {known}")
        store.require_all()
        found = store.meta.pooled[name]
        if width not in {None, found}:
            raise StoreError(
                f"{name!r} is {width} wide in {stores[0].storage.uri}, {found} in {store.storage.uri}",
                "extract both with equal settings",
            )
        width = found
    return width or 0


def pooled_rows(gallery: Gallery, name: str, start: int, stop: int) -> FloatArray:
    """A global descriptor of some rows: (stop - start, D) float32, NaN for failed and removed ones.

    Args:
        gallery: Stores that all have it, see `pooled_width`.
        name: Name of the descriptor.
        start: First row.
        stop: The row after the last one.

    Raises:
        StoreError: A shard is damaged.
    """
    found = np.empty((stop - start, gallery.stores[0].meta.pooled[name]), np.float32)
    first = 0
    for store in gallery.stores:
        begin, end = max(start - first, 0), min(stop - first, store.meta.rows)
        for rows, file, part in store.shards_of(begin, end) if begin < end else ():
            values = np.array(file.column(name)[part], np.float32)
            values[[status != "ok" for status in file.texts("status")[part]]] = np.nan
            gone = store.removed[(store.removed >= rows.start) & (store.removed < rows.stop)]
            values[gone - rows.start] = np.nan
            found[first + rows.start - start : first + rows.stop - start] = values
        first += store.meta.rows
    return found
