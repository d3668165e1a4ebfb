from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ames_ray.backbones.sift import find_features
from ames_ray.descriptors.extractor import ExtractorOptions, build_extractor
from ames_ray.descriptors.reading import ReadOptions
from ames_ray.errors import ConfigError, DatasetError, StoreError
from ames_ray.images.read import decode
from ames_ray.model.ames import Ames
from ames_ray.model.checkpoints import load_ames, save_ames
from ames_ray.model.options import PUBLISHED, AmesOptions
from ames_ray.model.padding import LOWEST_LOGIT
from ames_ray.model.reranker import Reranker, load_reranker
from ames_ray.retrieval.rerank import rerank
from ames_ray.types import FloatArray
from tests.model.networks import random_model
from tests.photos import make_photos
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
    likely = [1.0, *[0.1] * 5]
    found = rerank(QUERY, [HITS[0][:0], *HITS], small_reranker(), similarities=likely, lamb=0.9)
    assert (found.order[-1], found.scores[-1]) == (0, -np.inf)
    assert np.isfinite(found.scores[:-1]).all()
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
    with pytest.raises(DatasetError, match=r"candidates=hits/photo1\.jpg is one picture"):
        rerank(QUERY, "hits/photo1.jpg", small_reranker())  # a str is a sequence of paths, a letter each


def sift_model(path: Path) -> Reranker:
    save_ames(random_model(AmesOptions(128, dim=32, blocks=2, feedforward=16)), path / "model.pt")
    return load_reranker("ames", str(path / "model.pt"))


def test_pictures_are_scored_as_their_descriptors_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_photos(tmp_path, 4)
    photos = [tmp_path / f"photo{n}.jpg" for n in range(4)]
    model, extractor = sift_model(tmp_path), build_extractor(ExtractorOptions("sift", topk=40), "cpu")
    pixels = [decode(photo.read_bytes(), max_pixels=10**6, truncated="fail").pixels for photo in photos]
    arrays = [find_features(picture).descriptors[:40] for picture in pixels]
    for query, hits in ((photos[0], photos[1:]), (str(photos[0]), list(map(str, photos[1:])))):
        found = rerank(query, hits, model, extractor=extractor)
        np.testing.assert_array_equal(found.logits, rerank(arrays[0], arrays[1:], model).logits)
    mixed = rerank(arrays[0], photos[1:], model, extractor=extractor)
    np.testing.assert_array_equal(mixed.order, found.order)

    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    some = [tmp_path / "broken.jpg", *photos[1:]]
    assert rerank(photos[0], some, model, extractor=extractor).order[-1] == 0
    likely = [1.0, 0.1, 0.1, 0.1]
    found = rerank(photos[0], some, model, extractor=extractor, similarities=likely, lamb=1)
    assert found.order[-1] == 0
    assert "broken.jpg cannot be used, it comes last: not_an_image" in caplog.text
    whole = photos[1].read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    some = [tmp_path / "cut.jpg", photos[2]]
    assert rerank(photos[0], some, model, extractor=extractor).scores[-1] == -np.inf
    kept = rerank(photos[0], some, model, extractor=extractor, reading=ReadOptions(truncated="keep"))
    assert np.isfinite(kept.scores).all()
    with pytest.raises(DatasetError, match=r"the query .*gone\.jpg cannot be used: missing"):
        rerank(tmp_path / "gone.jpg", photos, model, extractor=extractor)
    with pytest.raises(DatasetError, match=r"photo1\.jpg is a picture, and nothing was given"):
        rerank(photos[0], photos[1:], model)
    with pytest.raises(StoreError, match="backbone=sift holds descriptors 128 wide, the model takes 16"):
        rerank(photos[0], photos[1:], small_reranker(), extractor=extractor)


def test_the_snippet_of_the_readme(tmp_path: Path) -> None:
    model = load_ames(published_like(tmp_path))
    logits = model(torch.rand(1, 600, 768), torch.rand(10, 100, 768))
    assert logits.shape == (10,)

    query, hits = RANDOM.random((600, 768)), RANDOM.random((10, 100, 768))
    found = rerank(query, hits, load_reranker("ames", published_like(tmp_path)))
    assert found.order.shape == found.scores.shape == (10,)


def published_like(folder: Path) -> str:
    """A file of untrained weights under a published name."""
    path = folder / "dinov2_ames.pt"
    if not path.is_file():
        save_ames(Ames(PUBLISHED["dinov2_ames"]), path)
    return str(path)
