from __future__ import annotations

import math

import numpy as np
import pytest

from ames_ray.errors import ConfigError, DatasetError, StoreError
from ames_ray.model.padding import LOWEST_LOGIT
from ames_ray.retrieval.rerank import rerank
from ames_ray.types import FloatArray
from tests.retrieval.small import dense_logit, small_model, small_reranker

RANDOM = np.random.default_rng(1)
QUERY: FloatArray = RANDOM.standard_normal((5, 16)).astype(np.float32)
HITS: list[FloatArray] = [RANDOM.standard_normal((n, 16)).astype(np.float32) for n in (4, 1, 7, 3, 5)]


def logits_one_by_one() -> list[float]:
    return [dense_logit(small_model(), QUERY, hit) for hit in HITS]


def test_hits_of_different_lengths_come_in_the_order_of_their_own_scores() -> None:
    found = rerank(QUERY, HITS, small_reranker())
    logits = logits_one_by_one()
    np.testing.assert_allclose(found.logits, logits, atol=2e-5)
    assert found.order.tolist() == sorted(range(5), key=lambda n: -logits[n])
    assert (np.diff(found.scores) <= 0).all()


def test_similarities_and_logits_make_the_ensemble() -> None:
    similarities = [0.3, 0.9, 0.5, 0.2, 0.4]
    found = rerank(QUERY, HITS, small_reranker(), similarities=similarities, lamb=0.7, temp=0.2)
    pairs = zip(similarities, logits_one_by_one(), strict=True)
    scores = [0.7 * s + 0.3 / (1 + math.exp(-0.2 * x)) for s, x in pairs]
    assert found.order.tolist() == sorted(range(5), key=lambda n: -scores[n])
    np.testing.assert_allclose(found.scores, sorted(scores, reverse=True), atol=1e-5)
    only_global = rerank(QUERY, HITS, small_reranker(), similarities=similarities, lamb=1)
    assert only_global.order.tolist() == [1, 2, 4, 0, 3]


def test_a_hit_without_descriptors_is_last_and_no_hits_are_no_hits() -> None:
    found = rerank(QUERY, [np.empty((0, 16), np.float32), *HITS], small_reranker())
    assert found.order[-1] == 0
    assert found.logits[0] == np.float32(LOWEST_LOGIT)
    nothing = rerank(QUERY, [], small_reranker())
    assert nothing.order.tolist() == []


def test_one_array_of_equally_long_hits() -> None:
    hits = RANDOM.standard_normal((3, 4, 16)).astype(np.float32)
    found, listed = rerank(QUERY, hits, small_reranker()), rerank(QUERY, list(hits), small_reranker())
    np.testing.assert_array_equal(found.order, listed.order)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"candidate 1 is float32 of shape \(4, 8\)"):
        rerank(QUERY, [HITS[0], np.ones((4, 8), np.float32)], small_reranker())
    with pytest.raises(DatasetError, match=r"query 0 is float32 of shape \(16,\)"):
        rerank(QUERY[0], HITS, small_reranker())
    with pytest.raises(DatasetError, match=r"shape \(2,\) for 5 candidates"):
        rerank(QUERY, HITS, small_reranker(), similarities=[0.1, 0.2])
    with pytest.raises(ConfigError, match="lamb=2"):
        rerank(QUERY, HITS, small_reranker(), similarities=[0.1] * 5, lamb=2)
    with pytest.raises(StoreError, match="not a number"):
        rerank(QUERY, [np.full((2, 16), np.nan, np.float32)], small_reranker())
    with pytest.raises(StoreError, match="the model takes"):
        rerank(QUERY[:, :10], [hit[:, :10] for hit in HITS], small_reranker())
