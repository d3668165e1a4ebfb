"""The demo's searches: fixed query photos, what is known to show the same, and a page for each re-ranking."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.files import Storage
from ames_ray.model.reranker import load_reranker
from ames_ray.report.page import PageText, search_page
from ames_ray.samples.mini_photos import read_table
from ames_ray.search.comparison import NetworkComparison, default_comparison
from ames_ray.search.photos import PhotoSearch
from ames_ray.search.queries import build_query_extractor
from ames_ray.search.searcher import Searcher, SearchOptions
from ames_ray.store.reader import Store
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ames_ray.search.comparison import Comparison
    from ames_ray.search.results import Hit, SearchResult, Verdict
    from ames_ray.types import Box


@dataclass(frozen=True, slots=True)
class DemoQuery:
    """A sample photo to search with.

    Attributes:
        photo: Its path in the folder of sample photos.
        box: The part of it to search with [pixels]. Without one the photo itself is left out of the results,
            and another photo of the same thing is to be found.
    """

    photo: str
    box: Box | None = None


QUERIES = (
    DemoQuery("details/TourEiffel.webp"),
    DemoQuery("explore_monuments/germany/neuschwansteinCastle.webp"),
    DemoQuery("details/TajMahal.webp"),
    DemoQuery("explore_monuments/india/qutubMinar.webp"),
    DemoQuery("explore_monuments/usa/mountRushmore.webp"),
    DemoQuery("scikit-image/motorcycle_left.png"),
    DemoQuery("scikit-image/coffee.png", (150, 60, 450, 340)),
    DemoQuery("scikit-learn/china.jpg", (200, 40, 520, 300)),
)
"""Examples of both sources, picked by eye; Mount Rushmore is one that RootSIFT ranks badly."""
_RESULTS = 12
_NETWORK = "sift_ames"
_NETWORK_SEES = 100
"""Descriptors of an image, as in its training."""
_PAIR = ("scikit-image/motorcycle_left.png", "scikit-image/motorcycle_right.png")


def present_queries(photos: Path) -> list[DemoQuery]:
    """The queries whose photo is in the folder."""
    return [query for query in QUERIES if (photos / query.photo).is_file()]


@dataclass(frozen=True, slots=True, eq=False)
class Reranking:
    """A way to re-rank.

    Attributes:
        name: For the table.
        folder: Of its page.
        comparison: What compares a query with an image.
        options: What it looks at.
    """

    name: str
    folder: str
    comparison: Comparison
    options: SearchOptions


def rerankings() -> list[Reranking]:
    """What the demo shows: counting matches, the default of `search`, and the network of the package."""
    options = SearchOptions(num_results=_RESULTS)
    as_trained = replace(options, query_desc_num=_NETWORK_SEES, db_desc_num=_NETWORK_SEES)
    network = NetworkComparison(load_reranker("ames", _NETWORK), Ensemble(0.5, 0.5, options.num_rerank))
    return [
        Reranking("matches", "page", default_comparison(), options),
        Reranking(_NETWORK, f"page_{_NETWORK}", network, as_trained),
    ]


def search_samples(photos: Path, store_uri: str, page: Path, reranking: Reranking) -> list[SearchResult]:
    """Search a store of the sample photos with the fixed queries, and write the page.

    Args:
        photos: Folder of the sample photos.
        store_uri: Store that was extracted from it.
        page: File to write.
        reranking: How to re-rank.

    Returns:
        One result a query, each hit with what is known of it.

    Raises:
        StoreError: The store is incomplete, or of another backbone than this version makes.
    """
    store = Store.open(store_uri)
    queries = present_queries(photos)
    records = [ImageRecord(0, q.photo, str(photos / q.photo), "query", q.box) for q in queries]
    whole = {query.photo for query in queries if query.box is None}
    hidden = [record.row for record in store.manifest if record.image_id in whole]
    searcher = Searcher(store, reranking.comparison, reranking.options, hidden)
    search = PhotoSearch(store, searcher, build_query_extractor(store, "cpu"))
    landmarks = _landmarks()
    results = [_judged(result, landmarks) for result in search(records)]
    text = _text(reranking, store.searchable - len(hidden))
    Storage.at(page.parent).publish(page.name, search_page(results, text))
    return results


def best_positives(results: Sequence[SearchResult]) -> dict[str, str]:
    """By query: the rank of the best photo that shows the same, before and after re-ranking, and its name."""
    return {PurePosixPath(result.query.record.image_id).stem: _told(result) for result in results}


def _landmarks() -> Mapping[str, str]:
    """What each sample photo shows; photos that are not listed show what no other one does."""
    return {**{photo.name: photo.landmark for photo in read_table()}, **dict.fromkeys(_PAIR, "motorcycle")}


def _judged(result: SearchResult, landmarks: Mapping[str, str]) -> SearchResult:
    def verdict(hit: Hit) -> Verdict:
        names = (result.query.record.image_id, hit.record.image_id)
        mine, other = (landmarks.get(name, name) for name in names)
        return "positive" if mine == other else "negative"

    return replace(result, hits=tuple(replace(hit, verdict=verdict(hit)) for hit in result.hits))


def _told(result: SearchResult) -> str:
    right = [hit for hit in result.hits if hit.verdict == "positive"]
    if not right:
        return f"nothing right among the first {result.num_results}"
    best = min(right, key=lambda hit: hit.rank)
    return f"{best.before:2} → {best.rank:2}  {best.record.image_id}"


def _text(reranking: Reranking, images: int) -> PageText:
    comparison, options = reranking.comparison, reranking.options
    facts = {
        "queries": "examples that were picked by eye; `ames-ray evaluate` measures",
        "images searched": f"{images:,}; a query that is a whole photo is not among them",
        "first ranking": f"inner product of the {options.pooled} descriptors, exact",
        "re-ranked": f"the first {options.num_rerank:,} by {comparison.name}",
        "frames": "green: another photo of the same thing, or the photo that a part was cut from",
    }
    return PageText("Sample photos, searched", comparison.name, comparison.unit, comparison.reason, facts)
