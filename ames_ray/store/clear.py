"""Deleting a store, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.ownership import sweep
from ames_ray.store.admission import require_empty
from ames_ray.store.meta import FAILED, JOB, MANIFEST, META, PACK, SOURCES
from ames_ray.store.removed import REMOVED
from ames_ray.store.shards import OF_ALL_SHARDS, PROGRESS

if TYPE_CHECKING:
    from ames_ray.files import Storage


def stored_bytes(storage: Storage) -> int:
    """Bytes that `clear` frees: shards and their copies; what is beside them is small."""
    return sum(storage.sizes("shards").values()) + (storage.size(PACK) or 0)


def store_files(storage: Storage) -> list[str]:
    """The files of a store, those that may be there included; what makes the folder a store comes last."""
    folders = (PROGRESS, "shards", "attempts")
    listed = [f"{folder}/{name}" for folder in folders for name in storage.names(folder)]
    return [*OF_ALL_SHARDS, *listed, FAILED, JOB, SOURCES, REMOVED, MANIFEST, META]


def clear(storage: Storage) -> None:
    """Delete the files of a store; the folder stays, and so does any file that is not the store's.

    Raises:
        StoreError: The folder holds something that is no store.
    """
    if not storage.exists(META):
        require_empty(storage)
        return
    sweep(storage)
    # In this order a kill on the way leaves a store that can be cleared again.
    for name in store_files(storage):
        storage.delete(name)
