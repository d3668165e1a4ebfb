"""Extraction with a network: batch → maps per scale → detector → the strongest places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ames_ray.descriptors.detector import NormWeights, load_detector
from ames_ray.descriptors.extractor import Prepared, describe
from ames_ray.descriptors.outcome import outcome
from ames_ray.descriptors.pooling import over_scales, weighted_mean
from ames_ray.descriptors.select import join_scales, strongest
from ames_ray.descriptors.views import make_views
from ames_ray.files import sha256_file
from ames_ray.types import LocalFeatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.backbones.base import NetworkBackbone, Preprocessing
    from ames_ray.descriptors.extractor import ExtractorOptions
    from ames_ray.descriptors.views import View
    from ames_ray.types import AnyArray, FloatArray, ImageFeatures, ImageRecord, Pixels


class NetworkExtractor:
    """An `Extractor` over a `NetworkBackbone`.

    Args:
        backbone: The backbone.
        detector: Detector weights file, or none.
        options: What to extract.
        device: Torch name of the device.

    Raises:
        WeightsError: Weights or detector are missing or do not fit.
    """

    def __init__(
        self, backbone: NetworkBackbone, detector: str | None, options: ExtractorOptions, device: str
    ) -> None:
        _exact_arithmetic()
        loaded = backbone.load()
        self._backbone = backbone
        self._options = options
        self._device = torch.device(device)
        self._network = loaded.network.to(self._device)
        self._weigh: torch.nn.Module = NormWeights()
        detector_hash = "none"
        if detector is not None:
            self._weigh, file = load_detector(detector, backbone.info.dim, backbone.info.name)
            self._weigh.to(device)
            detector_hash = sha256_file(file)
        # A tensor: CUDA divides by a Python number through its reciprocal, one unit in the last place off.
        self._full = torch.tensor(255.0, device=self._device)
        self._mean, self._deviation = _plane_statistics(backbone.preprocessing, self._device)
        self.spec = describe(backbone, options, {"weights": loaded.sha256, "detector": detector_hash})

    def prepare(self, record: ImageRecord, pixels: Pixels, flag: str | None) -> Prepared:
        """See `Extractor.prepare`."""
        views = make_views(
            pixels,
            record.bbox,
            imsize=self._options.imsize,
            scales=self._backbone.preprocessing.scales,
            patch=self._backbone.preprocessing.patch,
            min_side=self._options.min_side,
        )
        height, width = pixels.shape[:2]
        return Prepared(record, tuple(view.pixels.shape for view in views), views, width, height, flag)

    @torch.inference_mode()
    def extract(self, batch: Sequence[Prepared]) -> list[ImageFeatures]:
        """See `Extractor.extract`."""
        maps, pooled = self._maps([item.inputs for item in batch])
        cells = join_scales(maps)
        chosen = strongest(cells.weights, self._options.topk)
        weights = cells.weights.gather(1, chosen).cpu().numpy()
        wide = chosen[:, :, None].expand(-1, -1, cells.descriptors.shape[2])
        descriptors = cells.descriptors.gather(1, wide).cpu().numpy()
        vectors = {name: vector.cpu().numpy() for name, vector in pooled.items()}
        order = chosen.cpu().numpy()
        scale, grid = cells.scale.numpy(), cells.grid.numpy()
        features = []
        for i, item in enumerate(batch):
            xy = _in_whole_picture(grid[order[i]], scale[order[i]], item.inputs, self._backbone.preprocessing)
            # Copies, so that no row keeps the whole batch in memory.
            local = LocalFeatures(
                xy, scale[order[i]].astype(np.int8), weights[i].copy(), descriptors[i].copy()
            )
            features.append(outcome(item, local, {name: v[i].copy() for name, v in vectors.items()}))
        return features

    def normalise(self, views: Sequence[View]) -> torch.Tensor:
        """Pixels of views of equal shape as the network's input: (B, 3, H, W) float32 on the device."""
        pixels = torch.from_numpy(np.stack([view.pixels for view in views])).to(self._device)
        planes = pixels.flip(3) if self._backbone.preprocessing.channels == "rgb" else pixels
        # Uploaded as uint8: a quarter of the bytes.
        return (planes.permute(0, 3, 1, 2).float() / self._full - self._mean) / self._deviation

    def _maps(
        self, pictures: Sequence[Sequence[View]]
    ) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], dict[str, torch.Tensor]]:
        """Descriptors and weights by scale, and the global descriptors over all scales."""
        maps = []
        vectors: dict[str, list[torch.Tensor]] = {name: [] for name in self._backbone.info.pooled}
        for views in zip(*pictures, strict=True):
            with self._precision():
                seen = self._network(self.normalise(views))
                descriptors, weights = self._weigh(seen.local)
            maps.append((descriptors, weights))
            for name, found in vectors.items():
                vector = seen.vectors.get(name)
                found.append(weighted_mean(descriptors, weights) if vector is None else vector)
        return maps, {name: over_scales(found) for name, found in vectors.items()}

    def _precision(self) -> torch.autocast:
        # Switched off, not left alone: a caller's autocast must not reach in.
        wanted = self._options.precision
        if wanted == "float32":
            return torch.autocast(self._device.type, enabled=False)
        return torch.autocast(self._device.type, dtype=getattr(torch, wanted))


def _exact_arithmetic() -> None:
    """Float32 that is float32, and the same bytes for the same input."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def _plane_statistics(
    preprocessing: Preprocessing, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation, (3, 1, 1), in the network's order of planes."""
    step = 1 if preprocessing.channels == "rgb" else -1
    mean, deviation = (
        torch.tensor(values[::step], dtype=torch.float32, device=device).view(3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return mean, deviation


def _in_whole_picture(
    grid: AnyArray, scale: AnyArray, views: Sequence[View], preprocessing: Preprocessing
) -> FloatArray:
    """Column and row in the map of a scale (N, 2) to x and y in the whole picture (N, 2)."""
    factor = np.array([view.factor for view in views])[scale]
    xy = (preprocessing.stride * grid + preprocessing.centre) / factor + np.array(views[0].origin)
    moved: FloatArray = xy.astype(np.float32)
    return moved
