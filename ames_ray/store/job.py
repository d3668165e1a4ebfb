"""The settings of the extraction that fills a store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ames_ray.store.guard import reading
from ames_ray.store.meta import JOB

if TYPE_CHECKING:
    from ames_ray.files import Storage


def read_job(storage: Storage) -> dict[str, Any]:
    """The settings by name; none of a store that was imported, merged or copied.

    Raises:
        StoreError: The file is damaged.
    """
    if not storage.exists(JOB):
        return {}
    with reading(storage.address(JOB), "run the command that made the store again: it writes the file anew"):
        job: dict[str, Any] = dict(json.loads(storage.read(JOB)))
        return job
