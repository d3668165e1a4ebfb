"""Whether a model, a store and the two of a pair belong together, told before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.errors import StoreError

if TYPE_CHECKING:
    from ames_ray.model.reranker import RerankerSpec
    from ames_ray.store.reader import Store

PROJECTION = "projection"
"""Setting of a projected store: `projection_digest` of the model that made it."""


def check_fits(store: Store, spec: RerankerSpec) -> None:
    """Refuse a store whose descriptors are not those that a model takes.

    Raises:
        StoreError: Another backbone, another width, or payloads of another projection.
    """
    settings, dim = store.meta.settings, store.meta.dim
    backbone = settings.get("backbone")
    if backbone and spec.backbone and backbone != spec.backbone:
        raise StoreError(
            f"{store.storage.uri} holds descriptors of {backbone}, the model takes those of {spec.backbone}",
            "descriptors and model must come from the same backbone",
        )
    projection = settings.get(PROJECTION)
    if projection is None and dim != spec.descriptor_dim:
        raise StoreError(
            f"{store.storage.uri} holds descriptors {dim} wide, the model takes {spec.descriptor_dim}",
            "descriptors and model must come from the same backbone",
        )
    if projection is not None and projection != spec.projection_digest:
        raise StoreError(
            f"{store.storage.uri} was projected by a model with the projection {projection[:12]}…, "
            f"this one has {spec.projection_digest[:12]}…",
            "project the store with the model that scores it",
        )
