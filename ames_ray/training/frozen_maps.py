"""Feature maps of pictures from a backbone that stays as it is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ames_ray.backbones.base import NetworkBackbone
from ames_ray.backbones.registry import find_backbone
from ames_ray.descriptors.extractor import NO_DETECTOR, ExtractorOptions, Prepared
from ames_ray.descriptors.network import NetworkExtractor
from ames_ray.descriptors.reading import ReadOptions, prepare
from ames_ray.errors import ConfigError
from ames_ray.images.reasons import EXPLANATIONS

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from torch import Tensor

    from ames_ray.datasets.manifest import Manifest
    from ames_ray.types import ImageRecord, IntArray

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How pictures become feature maps; as in the extraction that the detector will serve.

    Attributes:
        backbone: A name of `ames_ray.backbones.registry`, `hf:<id or folder>`, or `module:function`.
        weights: Weights file, folder or Hugging Face id; none for the published ones.
        imsize: Longer side of the whole picture after resizing [pixels], or none.
        precision: Arithmetic of the backbone; the detector computes in float32.
        truncated: What to do with a picture that was cut short.
        max_pixels: Larger pictures are left out.
    """

    backbone: str
    weights: str | None = None
    imsize: int | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    truncated: Literal["fail", "keep"] = "fail"
    max_pixels: int = 100_000_000


class FrozenMaps:
    """Reads pictures of a list and computes their feature maps.

    Args:
        manifest: The list.
        options: How.
        device: Torch name of the device.

    Raises:
        ConfigError: There is no such backbone, or it has no place for a detector.
        WeightsError: Weights are missing or do not fit.
    """

    def __init__(self, manifest: Manifest, options: MapOptions, device: str) -> None:
        backbone = find_backbone(options.backbone, options.weights)
        if not isinstance(backbone, NetworkBackbone) or backbone.info.detector == "none":
            raise ConfigError(
                f"backbone={options.backbone} takes no detector",
                "pass a backbone with dense feature maps: dinov2, cvnet, hf:<id or folder>, module:function",
            )
        loaded = backbone.load()
        extracting = ExtractorOptions(
            options.backbone,
            detector=NO_DETECTOR,
            imsize=options.imsize,
            precision=options.precision,
        )
        shared = replace(backbone, load=lambda: loaded)
        self._extractor = NetworkExtractor(shared, None, extracting, device)
        self._network = loaded.network
        self._manifest = manifest
        self._options = options
        self._reading = ReadOptions(options.truncated, options.max_pixels)
        self._device = torch.device(device)
        self._trouble: str | None = None
        self.dim = backbone.info.dim
        self.settings = self._extractor.spec.settings

    def names(self, rows: IntArray) -> list[str]:
        """What messages call pictures."""
        return [self._manifest.record(int(row)).image_id for row in rows]

    def prepare(self, rows: IntArray) -> list[Prepared | None]:
        """Read, decode, crop and resize pictures; none for one that cannot be used."""
        return [self._prepare(self._manifest.record(int(row))) for row in rows]

    def trouble(self) -> str | None:
        """A picture that could not be used, and why; none as long as all could."""
        return self._trouble

    @torch.no_grad()
    def maps(self, pictures: Sequence[Prepared]) -> list[list[Tensor]]:
        """For each picture its feature maps (C, h, w) float32, one a scale."""
        shapes: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            shapes[picture.key].append(index)
        found: dict[int, list[Tensor]] = {}
        for same in shapes.values():
            for part in np.split(np.array(same), range(_AT_ONCE, len(same), _AT_ONCE)):
                scales = self._scales([pictures[index] for index in part])
                found |= {int(i): [scale[place] for scale in scales] for place, i in enumerate(part)}
        return [found[index] for index in range(len(pictures))]

    def _scales(self, pictures: Sequence[Prepared]) -> list[Tensor]:
        """Maps (B, C, h, w) of pictures of one shape, one a scale."""
        precision = self._options.precision
        lowered = precision != "float32"
        with torch.autocast(
            self._device.type, dtype=getattr(torch, precision) if lowered else None, enabled=lowered
        ):
            return [
                self._network(self._extractor.normalise(views)).local.float()
                for views in zip(*(picture.inputs for picture in pictures), strict=True)
            ]

    def _prepare(self, record: ImageRecord) -> Prepared | None:
        ready = prepare(record, self._extractor, self._reading)
        if isinstance(ready, Prepared):
            return ready
        reason = ready.reason or ""
        self._trouble = self._trouble or f"{record.uri}: {EXPLANATIONS.get(reason, reason)}"
        return None
