"""Digests of what a job reads: equal for equal content, wherever it lies."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.files import to_json

if TYPE_CHECKING:
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.types import AnyArray


def array_digest(*arrays: AnyArray) -> str:
    """SHA-256 of arrays and their shapes, as lower-case hex."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def store_digest(gallery: Gallery) -> str:
    """SHA-256 of stores as they were written, with their image lists, which hold the labels."""
    return hashlib.sha256(to_json([gallery.manifest_digest, gallery.content_digest])).hexdigest()


def gallery_digest(gallery: Gallery) -> str:
    """The same, where it also counts which photos were removed since."""
    return hashlib.sha256(to_json([store_digest(gallery), gallery.removed.tolist()])).hexdigest()
