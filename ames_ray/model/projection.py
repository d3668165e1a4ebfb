"""From raw descriptors to what a database keeps of them: which ones can be projected, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ames_ray.errors import StoreError
from ames_ray.store.codec import unpack_signs
from ames_ray.types import FeatureBatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.model.reranker import Reranker, RerankerSpec
    from ames_ray.types import ImageFeatures

PROJECTION = "projection"
"""Setting of a projected store: `projection_digest` of the model that made it."""
PROJECTED_FROM = "projected_from"
"""Setting of a projected store: codec of the raw descriptors, by which they were rounded before."""
_CODECS = {"float16": "float16", "bits": "binary"}
"""Codec of a store by kind of payload."""


def check_raw(settings: Mapping[str, Any], dim: int, spec: RerankerSpec, what: str) -> None:
    """Refuse raw descriptors that a model does not take.

    Args:
        settings: Those of the store or extractor.
        dim: Width of its descriptors.
        spec: The model.
        what: What messages call it.

    Raises:
        StoreError: Another backbone or another width.
    """
    backbone = settings.get("backbone")
    if backbone and spec.backbone and backbone != spec.backbone:
        raise StoreError(
            f"{what} holds descriptors of {backbone}, the model takes those of {spec.backbone}",
            "descriptors and model must come from the same backbone",
        )
    if PROJECTION not in settings and dim != spec.descriptor_dim:
        raise StoreError(
            f"{what} holds descriptors {dim} wide, the model takes {spec.descriptor_dim}",
            "descriptors and model must come from the same backbone",
        )


@dataclass(frozen=True, slots=True)
class ProjectedKind:
    """What a store holds after projection.

    Attributes:
        codec: How a payload is stored.
        dim: Numbers or bits of it.
        settings: Those of the raw descriptors, and what projected them.
    """

    codec: str
    dim: int
    settings: dict[str, Any]


def projected_kind(
    settings: Mapping[str, Any], dim: int, codec: str, spec: RerankerSpec, what: str
) -> ProjectedKind:
    """What becomes of raw descriptors.

    Args:
        settings: Those of the store or extractor.
        dim: Width of its descriptors.
        codec: How raw descriptors are stored, or rounded before they are projected.
        spec: The model.
        what: What messages call the store or extractor.

    Raises:
        StoreError: The descriptors are projected already, or do not fit the model.
    """
    if found := settings.get(PROJECTION):
        raise StoreError(
            f"{what} is projected already, by a model with the projection {found[:12]}…",
            "project the store of raw descriptors that it was made from",
        )
    check_raw(settings, dim, spec, what)
    if spec.payload_dim == spec.descriptor_dim:
        raise StoreError(
            f"descriptors and payloads of this model are both {spec.payload_dim} wide, and could be mixed up",
            "score from raw descriptors",
        )
    made = {**settings, PROJECTION: spec.projection_digest, PROJECTED_FROM: codec}
    return ProjectedKind(_CODECS[spec.payload], spec.payload_dim, made)


def project_image(features: ImageFeatures, reranker: Reranker) -> ImageFeatures:
    """The row with payloads in place of raw descriptors; a failed row as it is.

    Every image goes alone: a matrix product of another size rounds otherwise, and a row must not depend on
    its neighbours.

    Raises:
        StoreError: Descriptors of another width than the model's, or not finite.
    """
    local = features.local
    if local is None:
        return features
    found = np.empty((0, reranker.spec.payload_dim), np.float32)
    if len(local):
        real = np.ones((1, len(local)), np.bool_)
        batch = FeatureBatch(np.array([features.record.row]), local.descriptors[None], real)
        stored = reranker.project(batch).descriptors[0]
        found = unpack_signs(stored) if stored.dtype == np.uint8 else stored.astype(np.float32)
    return replace(features, local=replace(local, descriptors=found))
