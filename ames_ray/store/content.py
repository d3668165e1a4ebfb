"""What tells a program that keeps a store open whether another one changed it."""

from __future__ import annotations

from ames_ray.errors import StoreError
from ames_ray.files import Storage
from ames_ray.store.meta import CARD, SHARDS
from ames_ray.store.removed import REMOVED


def read_content(uri: str) -> tuple[bytes, bytes] | None:
    """The list of shards with their hashes, and that of removed rows: two values to compare with later ones.

    Returns:
        None while the store is being written, and for a file of the authors, which nobody changes.
    """
    storage = Storage.at(uri)
    try:
        if not storage.exists(CARD):
            return None
        return storage.read(SHARDS), storage.read(REMOVED) if storage.exists(REMOVED) else b""
    except StoreError:
        # A writer takes the files away one by one.
        return None
