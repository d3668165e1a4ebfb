"""From the settings of a search to the open search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ames_ray.model.reranker import load_reranker
from ames_ray.search.comparison import MutualComparison, NetworkComparison
from ames_ray.search.photos import PhotoSearch
from ames_ray.search.queries import build_query_extractor
from ames_ray.search.searcher import Searcher, SearchOptions

if TYPE_CHECKING:
    from ames_ray.config.search import SearchSettings
    from ames_ray.store.reader import Store


def open_search(config: SearchSettings, store: Store, device: str) -> PhotoSearch:
    """The search that settings ask for, its weights read.

    Args:
        config: How to search.
        store: What to search in.
        device: Torch name of the device.

    Raises:
        StoreError: The store does not fit the model, or does not say how it was made.
        UnsafeFileError: It was made by code that `backbone=` does not name.
        WeightsError: Weights are missing or do not fit.
    """
    reranker = None
    if config.model is not None:
        reranker = load_reranker(config.reranker, config.model, device=device, precision=config.precision)
    comparison = (
        MutualComparison() if reranker is None else NetworkComparison(reranker, config.ensemble_settings)
    )
    # First what refuses a store without reading the weights of its backbone.
    searcher = Searcher(store, comparison, SearchOptions(**config.budgets))
    extractor = build_query_extractor(
        store, device, config.weights, config.detector, reranker, config.backbone
    )
    return PhotoSearch(store, searcher, extractor)
