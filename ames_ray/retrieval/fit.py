"""Whether a model and a store belong together, told before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ames_ray.errors import StoreError
from ames_ray.model.projection import PROJECTION, check_raw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.model.reranker import RerankerSpec
    from ames_ray.store.reader import Store


def check_fits(store: Store, spec: RerankerSpec) -> None:
    """Refuse a store whose descriptors are not those that a model takes.

    Raises:
        StoreError: Another backbone, another width, or payloads of another projection.
    """
    check_descriptors(store.meta.settings, store.meta.dim, spec, store.storage.uri)


def check_descriptors(settings: Mapping[str, Any], dim: int, spec: RerankerSpec, what: str) -> None:
    """Refuse descriptors, raw or projected, that a model does not take.

    Args:
        settings: Those of the store or extractor.
        dim: Width of its descriptors.
        spec: The model.
        what: What messages call the store or extractor.

    Raises:
        StoreError: Another backbone, another width, or payloads of another projection.
    """
    check_raw(settings, dim, spec, what)
    projection = settings.get(PROJECTION)
    if projection is not None and projection != spec.projection_digest:
        raise StoreError(
            f"{what} was projected by a model with the projection {projection[:12]}…, "
            f"this one has {spec.projection_digest[:12]}…",
            "project it with the model that scores it",
        )
