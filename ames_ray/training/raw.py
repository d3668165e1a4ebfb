"""What is learned, is learned from descriptors as a backbone gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.errors import StoreError
from ames_ray.model.projection import PROJECTION

if TYPE_CHECKING:
    from ames_ray.retrieval.gallery import Gallery


def require_raw(gallery: Gallery) -> None:
    """Refuse stores of what a network has made of descriptors, before anything is read or deleted.

    Raises:
        StoreError: One is projected, by `ames-ray store project` or while it was extracted.
    """
    for store in gallery.stores:
        if store.meta.codec == "binary" or PROJECTION in store.meta.settings:
            raise StoreError(
                f"{store.storage.uri} holds projected descriptors, and raw ones are needed",
                "name the store that they were made from",
            )
