"""Extraction straight to what a database stores: descriptors are projected before they are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.descriptors.extractor import ExtractorSpec
from ames_ray.model.projection import project_image, projected_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.descriptors.extractor import Extractor, Prepared
    from ames_ray.model.reranker import Reranker, RerankerSpec
    from ames_ray.types import ImageFeatures, ImageRecord, Pixels


class ProjectingExtractor:
    """An `Extractor` whose descriptors are payloads, equal to those of `ames-ray store project`.

    Args:
        extractor: Makes the raw descriptors.
        reranker: Projects them, on the CPU.
        codec: Codec of the store that is skipped; its rounding is not.

    Raises:
        StoreError: The re-ranker takes other descriptors.
    """

    def __init__(self, extractor: Extractor, reranker: Reranker, codec: str) -> None:
        self._extractor = extractor
        self._reranker = reranker
        self._codec = codec
        self.spec = projected_spec(extractor.spec, reranker.spec, codec)

    def prepare(self, record: ImageRecord, pixels: Pixels, flag: str | None) -> Prepared:
        """See `Extractor.prepare`."""
        return self._extractor.prepare(record, pixels, flag)

    def extract(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """See `Extractor.extract`."""
        return [
            project_image(self._rounded(features), self._reranker)
            for features in self._extractor.extract(batch)
        ]

    def _rounded(self, features: ImageFeatures) -> ImageFeatures:
        """The row as a store of raw descriptors would give it back."""
        local = features.local
        if local is None or self._codec == "float32":
            return features
        stored = local.descriptors.astype(self._codec).astype(np.float32)
        return replace(features, local=replace(local, descriptors=stored))


def projected_spec(raw: ExtractorSpec, reranker: RerankerSpec, codec: str) -> ExtractorSpec:
    """What comes out of a `ProjectingExtractor`.

    Args:
        raw: What goes in.
        reranker: The model.
        codec: Codec of the store that is skipped.

    Raises:
        StoreError: The model takes other descriptors.
    """
    kind = projected_kind(raw.settings, raw.dim, codec, reranker, f"backbone={raw.settings['backbone']}")
    return ExtractorSpec(kind.dim, raw.pooled, kind.settings, kind.codec)
