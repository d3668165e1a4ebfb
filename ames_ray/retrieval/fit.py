"""Whether a model and a store belong together, told before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.errors import StoreError
from ames_ray.model.projection import PROJECTION, check_raw

if TYPE_CHECKING:
    from ames_ray.model.reranker import RerankerSpec
    from ames_ray.store.reader import Store


def check_fits(store: Store, spec: RerankerSpec) -> None:
    """Refuse a store whose descriptors are not those that a model takes.

    Raises:
        StoreError: Another backbone, another width, or payloads of another projection.
    """
    settings = store.meta.settings
    check_raw(settings, store.meta.dim, spec, store.storage.uri)
    projection = settings.get(PROJECTION)
    if projection is not None and projection != spec.projection_digest:
        raise StoreError(
            f"{store.storage.uri} was projected by a model with the projection {projection[:12]}…, "
            f"this one has {spec.projection_digest[:12]}…",
            "project the store with the model that scores it",
        )
