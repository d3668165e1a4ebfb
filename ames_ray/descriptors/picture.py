"""Extraction with a backbone that finds features on its own: no network, no batches, no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.descriptors.extractor import Prepared, describe
from ames_ray.descriptors.outcome import outcome
from ames_ray.descriptors.views import make_views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.backbones.base import PictureBackbone
    from ames_ray.descriptors.extractor import ExtractorOptions
    from ames_ray.descriptors.views import View
    from ames_ray.types import FloatArray, ImageFeatures, ImageRecord, Pixels


class PictureExtractor:
    """An `Extractor` over a `PictureBackbone`."""

    def __init__(self, backbone: PictureBackbone, options: ExtractorOptions) -> None:
        self._backbone = backbone
        self._options = options
        self.spec = describe(backbone, options, {"weights": backbone.sha256, "detector": "none"})

    def prepare(self, record: ImageRecord, pixels: Pixels, flag: str | None) -> Prepared:
        """See `Extractor.prepare`."""
        views = make_views(
            pixels,
            record.bbox,
            imsize=self._options.imsize,
            scales=(1.0,),
            patch=None,
            min_side=self._options.min_side,
        )
        height, width = pixels.shape[:2]
        return Prepared(record, None, views, width, height, flag)

    def extract(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """See `Extractor.extract`."""
        return [self._extract(item) for item in batch]

    def _extract(self, item: Prepared) -> ImageFeatures:
        (view,) = item.inputs
        local, pooled = self._backbone.describe(view.pixels)
        local = local.top(self._options.topk)
        return outcome(item, replace(local, xy=_in_whole_picture(local.xy, view)), pooled)


def _in_whole_picture(xy: FloatArray, view: View) -> FloatArray:
    """Pixel centres of a view to pixel centres of the whole picture: resizing keeps edges in place."""
    moved: FloatArray = (xy + 0.5) / np.array(view.factor) - 0.5 + np.array(view.origin)
    return moved.astype(np.float32)
