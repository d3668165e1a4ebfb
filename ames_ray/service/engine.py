"""One open store that answers searches: the bytes of a photo in, ranked images out; and small pictures."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ames_ray.config.photo_search import open_search
from ames_ray.descriptors.reading import describe
from ames_ray.errors import AmesError, ImageError
from ames_ray.images import reasons
from ames_ray.images.read import decode
from ames_ray.report.pictures import small_webp
from ames_ray.store.content import read_content
from ames_ray.store.reader import Store
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from ames_ray.config.serve import ServeConfig
    from ames_ray.search.comparison import Comparison
    from ames_ray.search.photos import PhotoSearch
    from ames_ray.search.results import SearchResult
    from ames_ray.types import Box, ImageFeatures

logger = logging.getLogger(__name__)

_EDGE = 360
_QUALITY = 72
_KEPT_THUMBNAILS = 2_000
"""At about 15 KB each."""


class SearchEngine:
    """Searches one store. Searches must come one at a time; everything else may be called beside them.

    Args:
        config: What to search, and how.
        device: Torch name of the device.
        clock: Seconds since any moment; what tells when to look at the store again.

    Raises:
        StoreError: The store is damaged, or does not fit the model.
        WeightsError: Weights are missing or do not fit.
    """

    def __init__(self, config: ServeConfig, device: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = config
        self._device = device
        self._thumbnails: OrderedDict[int, bytes] = OrderedDict()
        self._lock, self._opening = Lock(), Lock()
        self._clock, self._looked = clock, clock()
        # Looked at before the store is opened: what changes in between is seen next time.
        self._content = read_content(config.store)
        self._photos = self._open()
        self._warm_up()

    @property
    def store(self) -> Store:
        """The store as it was opened last."""
        return self._photos.store

    @property
    def comparison(self) -> Comparison:
        """What re-ranks."""
        return self._photos.searcher.comparison

    @property
    def max_pixels(self) -> int:
        """Largest photo that is taken."""
        return self._max_pixels(self._photos)

    def refresh(self) -> None:
        """Look at the store, `refresh_every` seconds after the last look, and open it again if it changed.

        One that is being written, or that cannot be searched with these settings any more, stays as it was.
        """
        with self._opening:
            if self._clock() - self._looked < self.config.refresh_every:
                return
            self._looked = self._clock()
            content = read_content(self.config.store)
            if content in {None, self._content}:
                return
            self._content = content
            try:
                self._photos = self._open()
            except AmesError as error:
                logger.warning("%s changed, and is served as it was: %s", self.config.store, error)
                return
        with self._lock:
            self._thumbnails.clear()

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
        self.refresh()
        # One for the whole search: another request may find a changed store meanwhile.
        photos = self._photos
        usual = photos.searcher.options
        options = replace(
            usual,
            num_results=usual.num_results if num_results is None else num_results,
            num_rerank=usual.num_rerank if num_rerank is None else num_rerank,
        )
        return photos.searcher([self._describe(photos, data, bbox)], options)[0]

    def thumbnail(self, row: int) -> bytes:
        """A small WebP of the image of a row.

        Raises:
            ImageError: There is no such row, or its file cannot be read any more.
        """
        photos = self._photos
        store = photos.store
        if not 0 <= row < store.meta.rows or row in store.removed:
            raise ImageError(reasons.MISSING, f"row {row} of {store.meta.rows:,}")
        with self._lock:
            kept = self._thumbnails.get(row)
        if kept is None:
            kept = small_webp(store.manifest.record(row).uri, _EDGE, _QUALITY, photos.reading.max_pixels)
            with self._lock:
                if photos is self._photos:
                    self._thumbnails[row] = kept
                if len(self._thumbnails) > _KEPT_THUMBNAILS:
                    self._thumbnails.popitem(last=False)
        return kept

    def _open(self) -> PhotoSearch:
        store = Store.open(self.config.store)
        photos = open_search(self.config, store, self._device)
        # A request may ask for re-ranking where the settings do not.
        photos.searcher.comparison.check(store)
        return photos

    def _max_pixels(self, photos: PhotoSearch) -> int:
        return min(self.config.max_pixels, photos.reading.max_pixels)

    def _describe(self, photos: PhotoSearch, data: bytes, bbox: Box | None) -> ImageFeatures:
        record = ImageRecord(0, "upload", "", "query", bbox)
        image = decode(data, max_pixels=self._max_pixels(photos), truncated=photos.reading.truncated)
        ready = photos.extractor.prepare(record, image.pixels, image.flag)
        features = describe([ready], photos.extractor)[0]
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
