"""One open store that answers searches: the bytes of a photo in, ranked images out; and small pictures."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ames_ray.errors import ImageError
from ames_ray.images import reasons
from ames_ray.images.read import decode, read_bytes
from ames_ray.report.pictures import shrunk
from ames_ray.search.comparison import choose_comparison
from ames_ray.search.queries import build_query_extractor, read_options
from ames_ray.search.searcher import Searcher, SearchOptions
from ames_ray.store.reader import Store
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from ames_ray.config.serve import ServeConfig
    from ames_ray.descriptors.extractor import Extractor
    from ames_ray.search.results import SearchResult
    from ames_ray.types import Box, ImageFeatures

_EDGE = 360
_QUALITY = 72
_KEPT_THUMBNAILS = 2_000
"""At about 15 KB each."""


class SearchEngine:
    """Searches one store. Searches must come one at a time; `thumbnail` may be called beside them.

    Args:
        config: What to search, and how.
        device: Torch name of the device.

    Raises:
        StoreError: The store is damaged, or does not fit the model.
        WeightsError: Weights are missing or do not fit.
    """

    def __init__(self, config: ServeConfig, device: str) -> None:
        store = Store.open(config.store)
        self.config = config
        self.store = store
        self.comparison = choose_comparison(
            config.model, config.reranker, device, config.precision, config.ensemble_settings
        )
        self.comparison.check(store)
        self._options = SearchOptions(**config.budgets)
        self._searcher = Searcher(store, self.comparison, self._options)
        self._extractor: Extractor = build_query_extractor(store, device, config.weights, config.detector)
        reading = read_options(store)
        self._reading = replace(reading, max_pixels=min(config.max_pixels, reading.max_pixels))
        self._thumbnails: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()
        self._warm_up()

    @property
    def max_pixels(self) -> int:
        """Largest photo that is taken."""
        return self._reading.max_pixels

    def search(
        self,
        data: bytes,
        bbox: Box | None = None,
        num_results: int | None = None,
        num_rerank: int | None = None,
    ) -> SearchResult:
        """The images that look like a photo.

        Args:
            data: An encoded picture.
            bbox: Part of it to search with [pixels], or none for all of it.
            num_results: Images to return; none for the config's.
            num_rerank: Images to re-rank; none likewise.

        Raises:
            ImageError: The photo cannot be used.
        """
        usual = self._options
        options = replace(
            usual,
            num_results=usual.num_results if num_results is None else num_results,
            num_rerank=usual.num_rerank if num_rerank is None else num_rerank,
        )
        return self._searcher([self._describe(data, bbox)], options)[0]

    def thumbnail(self, row: int) -> bytes:
        """A small WebP of the image of a row.

        Raises:
            ImageError: There is no such row, or its file cannot be read any more.
        """
        if not 0 <= row < self.store.meta.rows or row in self.store.removed:
            raise ImageError(reasons.MISSING, f"row {row} of {self.store.meta.rows:,}")
        with self._lock:
            kept = self._thumbnails.get(row)
        if kept is None:
            kept = _small(self.store.manifest.record(row).uri, read_options(self.store).max_pixels)
            with self._lock:
                self._thumbnails[row] = kept
                if len(self._thumbnails) > _KEPT_THUMBNAILS:
                    self._thumbnails.popitem(last=False)
        return kept

    def _describe(self, data: bytes, bbox: Box | None) -> ImageFeatures:
        record = ImageRecord(0, "upload", "", "query", bbox)
        image = decode(data, max_pixels=self._reading.max_pixels, truncated=self._reading.truncated)
        features = self._extractor.extract([self._extractor.prepare(record, image.pixels, image.flag)])[0]
        if features.reason is not None:
            raise ImageError(features.reason)
        return features

    def _warm_up(self) -> None:
        """Search once: it reads what later searches keep, and a damaged store shows now."""
        noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        pixels = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
        try:
            self.search(cv2.imencode(".png", pixels)[1].tobytes())
        except ImageError:
            # A store may ask for more than this picture has; the first photo pays then.
            return


def _small(uri: str, max_pixels: int) -> bytes:
    pixels = decode(read_bytes(uri), max_pixels=max_pixels, truncated="keep").pixels
    _, data = cv2.imencode(".webp", shrunk(pixels, _EDGE), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return data.tobytes()
