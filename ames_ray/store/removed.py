"""Rows of photos that are gone: they keep their numbers and descriptors, and are not found any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ames_ray.errors import StoreError
from ames_ray.files import to_json
from ames_ray.store.guard import publish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ames_ray.files import Storage

REMOVED = "removed.json"


def read_removed(storage: Storage) -> list[int]:
    """The rows, ascending; none where nothing was ever removed.

    Raises:
        StoreError: The file is damaged.
    """
    if not storage.exists(REMOVED):
        return []
    try:
        rows = json.loads(storage.read(REMOVED))["rows"]
        return sorted({int(row) for row in rows})
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{storage.address(REMOVED)} is damaged: {error}",
            "delete it, then extract again: it is made anew",
        ) from None


def write_removed(storage: Storage, rows: Iterable[int]) -> None:
    """Replace the list of removed rows; a store of which nothing was ever removed gets no file."""
    gone = sorted(set(rows))
    if gone or storage.exists(REMOVED):
        publish(storage, REMOVED, to_json({"rows": gone}))
