"""A store and what it takes to search it with photos: one extractor, one comparison, one ranking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.descriptors.reading import describe_picture
from ames_ray.search.queries import read_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.descriptors.extractor import Extractor
    from ames_ray.search.results import SearchResult
    from ames_ray.search.searcher import Searcher, SearchOptions
    from ames_ray.store.reader import Store
    from ames_ray.types import ImageRecord


class PhotoSearch:
    """Searches one store with photos.

    Args:
        store: The gallery.
        searcher: What ranks its images.
        extractor: What describes a photo as the images were.

    Attributes:
        store: The gallery.
        searcher: What ranks its images.
        extractor: What describes a photo.
        reading: How files become pixels.
    """

    def __init__(self, store: Store, searcher: Searcher, extractor: Extractor) -> None:
        self.store = store
        self.searcher = searcher
        self.extractor = extractor
        self.reading = read_options(store)

    def __call__(
        self, photos: Sequence[ImageRecord], options: SearchOptions | None = None
    ) -> list[SearchResult]:
        """Results of each photo, in order; of one that cannot be used, the reason."""
        described = [describe_picture(photo, self.extractor, self.reading) for photo in photos]
        return self.searcher(described, options)
