from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ames_ray.descriptors.reading import describe_picture
from ames_ray.errors import ConfigError, StoreError, WeightsError
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.options import AmesOptions
from ames_ray.model.reranker import load_reranker
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.search.comparison import MutualComparison, NetworkComparison
from ames_ray.search.match import mutual_matches
from ames_ray.search.queries import build_query_extractor, find_queries, read_options
from ames_ray.search.searcher import Searcher, SearchOptions
from ames_ray.store.reader import Store
from ames_ray.types import ImageFeatures
from tests.model.networks import random_model
from tests.retrieval.small import dense_logit
from tests.search.small import make_store, turned


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(str(make_store(tmp_path_factory.mktemp("search"))))


def described(store: Store, query: str) -> list[ImageFeatures]:
    extractor = build_query_extractor(store, "cpu")
    return [describe_picture(record, extractor, read_options(store)) for record in find_queries(query)]


def test_a_turned_photo_finds_its_original_first(store: Store, tmp_path: Path) -> None:
    turned(Path(store.manifest.root) / "coffee_280x210.png", tmp_path / "mine.png")
    (found,) = Searcher(store, MutualComparison(), SearchOptions())(
        described(store, str(tmp_path / "mine.png"))
    )
    best = found.hits[0]
    assert best.record.image_id == "coffee_280x210.png"
    assert best.agreement is not None
    assert best.agreement.image_size == (280, 210)
    # Where the turn takes a place of the query is where the store says that it agrees.
    matrix = cv2.getRotationMatrix2D((140, 105), -20, 1.0)
    expected = best.agreement.query_xy @ matrix[:, :2].T + matrix[:, 2]
    off = np.linalg.norm(expected - best.agreement.image_xy, axis=1)
    assert np.median(off) < 2


def test_it_ranks_as_neighbors_and_brute_force_do(store: Store) -> None:
    options = SearchOptions(num_results=4, num_rerank=6)
    queries = described(store, store.manifest.root)
    results = Searcher(store, MutualComparison(), options)(queries)
    shortlist = find_neighbors(store, Gallery((store,)), "global", 6)
    held = store.read(range(store.meta.rows))
    real = [held.descriptors[row][held.valid[row]] for row in range(store.meta.rows)]
    for result, rows, row in zip(results, shortlist.rows, range(store.meta.rows), strict=True):
        assert [h.record.row for h in sorted(result.hits, key=lambda h: h.before)][:4] == rows[:4].tolist()
        counts = [len(mutual_matches(real[row], real[other])) for other in rows]
        order = sorted(range(6), key=lambda p: (-counts[p], p))
        assert [h.record.row for h in result.top] == rows[order][:4].tolist()
        assert [h.score for h in result.top] == [counts[p] for p in order][:4]
        assert all(min(h.rank, h.before) <= 4 for h in result.hits)


def test_with_a_network_it_gives_what_the_textbook_form_and_the_ensemble_give(store: Store) -> None:
    model = random_model(AmesOptions(128, dim=8, blocks=2, feedforward=16), 0)
    lamb, temp = 0.3, 2.0
    comparison = NetworkComparison(AmesReranker(model), Ensemble(lamb, temp, 8))
    queries = described(store, store.manifest.root)
    results = Searcher(store, comparison, SearchOptions(num_results=11, num_rerank=8))(queries)
    shortlist = find_neighbors(store, Gallery((store,)), "global", 11)
    held = store.read(range(store.meta.rows))
    real = [held.descriptors[row][held.valid[row]].astype(np.float32) for row in range(store.meta.rows)]
    for row, result in enumerate(results):
        rows, similarities = shortlist.rows[row], shortlist.similarities[row]
        logits = np.array([dense_logit(model, real[row], real[other]) for other in rows[:8]])
        scores = lamb * similarities[:8] + (1 - lamb) / (1 + np.exp(-temp * logits))
        order = np.argsort(-scores, kind="stable")
        found = [hit.score for hit in result.top if hit.score is not None]
        np.testing.assert_allclose(found, scores[order], rtol=2e-5)
        gaps = np.diff(scores[order])
        if (np.abs(gaps) > 1e-5).all():
            assert [hit.record.row for hit in result.top] == [*rows[order].tolist(), *rows[8:].tolist()]
        assert all(hit.score is None for hit in result.top[8:])
        assert any(hit.agreement is not None and hit.agreement.count > 0 for hit in result.top)


def test_a_reranker_without_attention_shows_nearest_neighbours(store: Store) -> None:
    comparison = NetworkComparison(load_reranker("mutual", "0.7"), Ensemble(0.5, 0.1, 8))
    query = str(Path(store.manifest.root) / "coffee_280x210.png")
    (found,) = Searcher(store, comparison, SearchOptions())(described(store, query))
    assert comparison.reason == "mutual nearest neighbours of the local descriptors"
    best = found.hits[0]
    assert best.record.image_id == "coffee_280x210.png"
    assert best.agreement is not None
    assert best.agreement.count > 20
    np.testing.assert_array_equal(best.agreement.query_xy, best.agreement.image_xy)


def test_the_places_of_matches_are_those_that_were_counted(store: Store) -> None:
    reranker = load_reranker("mutual", "0.9")
    query = str(Path(store.manifest.root) / "coffee_280x210.png")
    searcher = Searcher(store, NetworkComparison(reranker, Ensemble(0.0, 0.01, 8)), SearchOptions())
    (found,) = searcher(described(store, query))
    own = next(hit.record.row for hit in found.hits if hit.record.image_id == "coffee_280x210.png")
    counts = {
        hit.record.row: reranker(store.read([own]), store.read([hit.record.row]))[0] for hit in found.hits
    }
    told = {hit.record.row: hit.agreement.count for hit in found.hits if hit.agreement is not None}
    assert told == counts
    held = store.read(range(store.meta.rows))
    real = [held.descriptors[row][held.valid[row]] for row in range(store.meta.rows)]
    assert told != {row: len(mutual_matches(real[own], real[row])) for row in told}


def test_a_bad_photo_is_a_result_with_its_reason(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<html>404</html>")
    (tmp_path / "b.png").write_bytes((Path(store.manifest.root) / "photo1.jpg").read_bytes())
    bad, good = Searcher(store, MutualComparison(), SearchOptions())(described(store, str(tmp_path)))
    assert bad.lines() == [{"query": "a.jpg", "reason": "not_an_image"}]
    assert good.top[0].record.image_id == "photo1.jpg"


def test_a_box_cuts_the_query(store: Store) -> None:
    query = str(Path(store.manifest.root) / "coffee_280x210.png")
    extractor = build_query_extractor(store, "cpu")
    (record,) = find_queries(query, (20, 30, 200, 190))
    features = describe_picture(record, extractor, read_options(store))
    assert features.local is not None
    assert features.local.xy.min(axis=0)[0] >= 19
    assert features.local.xy.max(axis=0)[1] <= 191
    with pytest.raises(ConfigError, match="is a folder"):
        find_queries(store.manifest.root, (0, 0, 1, 1))


def test_a_query_is_never_described_in_another_way(store: Store, tmp_path: Path) -> None:
    other = Store(
        store.storage, replace(store.meta, settings={**store.meta.settings, "weights": "0" * 64}), {}
    )
    with pytest.raises(StoreError, match="weights is 0000"):
        build_query_extractor(other, "cpu")
    imported = Store(store.storage, replace(store.meta, settings={"source": "hdf5"}), {})
    with pytest.raises(StoreError, match="does not say how it was made"):
        build_query_extractor(imported, "cpu")
    with_detector = {**store.meta.settings, "backbone": "dinov2", "detector": "0" * 64}
    with pytest.raises(WeightsError, match="published with a detector, and none was named"):
        build_query_extractor(Store(store.storage, replace(store.meta, settings=with_detector), {}), "cpu")
    without = {**with_detector, "detector": "none"}
    with pytest.raises(WeightsError, match=r"weights of dinov2_vitb14_reg: .*gone\.pth does not exist"):
        build_query_extractor(
            Store(store.storage, replace(store.meta, settings=without), {}), "cpu", str(tmp_path / "gone.pth")
        )


def test_what_cannot_be_compared_is_said_before_anything_is_read(store: Store) -> None:
    projected = Store(store.storage, replace(store.meta, settings={"projection": "abc"}), store.summaries)
    with pytest.raises(StoreError, match="only their model can compare"):
        Searcher(projected, MutualComparison(), SearchOptions())
    with pytest.raises(StoreError, match="has no global descriptor 'cls'; it has global"):
        Searcher(store, MutualComparison(), SearchOptions(pooled="cls"))
    with pytest.raises(ConfigError, match="num_results=0"):
        SearchOptions(num_results=0)


def test_the_order_of_the_shortlist_stays_without_reranking(store: Store) -> None:
    query = str(Path(store.manifest.root) / "photo2.jpg")
    (found,) = Searcher(store, MutualComparison(), SearchOptions(num_rerank=0))(described(store, query))
    assert all(hit.rank == hit.before and hit.score is None for hit in found.hits)
