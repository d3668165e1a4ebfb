"""Deleting a store, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.ownership import sweep
from ames_ray.store.admission import require_empty
from ames_ray.store.meta import FAILED, JOB, MANIFEST, META, PACK, SOURCES
from ames_ray.store.removed import REMOVED
from ames_ray.store.shards import PROGRESS, unfinish

if TYPE_CHECKING:
    from ames_ray.files import Storage


def stored_bytes(storage: Storage) -> int:
    """Bytes that `clear` frees: shards and their copies; what is beside them is small."""
    return sum(storage.sizes("shards").values()) + (storage.size(PACK) or 0)


def clear(storage: Storage) -> None:
    """Delete the files of a store; the folder stays, and so does any file that is not the store's.

    Raises:
        StoreError: The folder holds something that is no store.
    """
    if not storage.exists(META):
        require_empty(storage)
        return
    sweep(storage)
    # What makes the folder a store goes last, so that a kill on the way leaves one that can be cleared again.
    unfinish(storage)
    for folder in (PROGRESS, "shards", "attempts"):
        for name in storage.names(folder):
            storage.delete(f"{folder}/{name}")
    for name in (FAILED, JOB, SOURCES, REMOVED, MANIFEST, META):
        storage.delete(name)
