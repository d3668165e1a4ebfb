"""A store of queries, a gallery of two stores, and who is near to whom."""

from __future__ import annotations

from pathlib import Path

from ames_ray.evaluation.scores import Shortlist
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.store.reader import Store
from tests.store.builders import make_manifest, make_store

Stores = tuple[Store, Gallery]


def make_stores(folder: Path) -> Stores:
    """Seven queries; twelve images, and nine with fewer descriptors."""
    gallery = (
        make_store(folder / "a", 12),
        make_store(folder / "b", manifest=make_manifest(9, first=100), topk=5),
    )
    return make_store(folder / "q", manifest=make_manifest(7, first=200)), Gallery(gallery)


def shortlist_of(stores: Stores, size: int | None = None) -> Shortlist:
    return find_neighbors(*stores, "global", size)
