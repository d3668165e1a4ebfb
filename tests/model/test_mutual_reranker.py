from __future__ import annotations

import cv2
import numpy as np
import pytest

from ames_ray.errors import ConfigError, StoreError
from ames_ray.model.mutual_reranker import MutualReranker, mutual_ratios
from ames_ray.model.reranker import load_reranker
from ames_ray.types import AnyArray, FeatureBatch, FloatArray


def unit(random: np.random.Generator, *shape: int) -> FloatArray:
    found = random.standard_normal(shape)
    normalised: FloatArray = (found / np.linalg.norm(found, axis=-1, keepdims=True)).astype(np.float32)
    return normalised


def matches_by_opencv(query: FloatArray, gallery: FloatArray, ratio: float) -> int:
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    there = matcher.knnMatch(query, gallery, k=2)
    back = matcher.knnMatch(gallery, query, k=1)
    return sum(
        first.distance < ratio * second.distance and back[first.trainIdx][0].trainIdx == first.queryIdx
        for first, second in there
    )


@pytest.mark.parametrize("ratio", [0.7, 0.9, 1.0])
def test_matches_are_those_that_opencv_finds(ratio: float) -> None:
    random = np.random.default_rng(0)
    query = unit(random, 40, 16)
    gallery = unit(random, 11, 30, 16)
    gallery[:, :12] = query[:12] + 0.15 * unit(random, 11, 12, 16)
    gallery /= np.linalg.norm(gallery, axis=2, keepdims=True)
    valid = np.arange(30) < random.integers(2, 31, 11)[:, None]
    counts = (mutual_ratios(query, gallery, valid) < ratio).sum(1)
    wanted = [matches_by_opencv(query, g[v], ratio) for g, v in zip(gallery, valid, strict=True)]
    assert counts.tolist() == wanted
    assert max(wanted) > 5


def test_padding_is_never_matched() -> None:
    random = np.random.default_rng(1)
    query, gallery = unit(random, 9, 8), unit(random, 2, 6, 8)
    valid = np.array([[True] * 3 + [False] * 3, [True] * 6])
    before = mutual_ratios(query, gallery, valid)
    gallery[0, 3:] = query[:3]
    assert np.array_equal(mutual_ratios(query, gallery, valid), before)


@pytest.mark.parametrize("descriptors", [0, 1])
def test_fewer_than_two_descriptors_match_nothing(descriptors: int) -> None:
    random = np.random.default_rng(2)
    valid = np.arange(5)[None] < descriptors
    assert np.isinf(mutual_ratios(unit(random, 4, 8), unit(random, 1, 5, 8), valid)).all()


def test_equal_descriptors_are_no_match_of_each_other() -> None:
    one = unit(np.random.default_rng(3), 1, 8)
    assert (mutual_ratios(one, np.stack([one[0], one[0]])[None], np.ones((1, 2), bool)) >= 1).all()


def batch(descriptors: AnyArray, lengths: list[int]) -> FeatureBatch:
    rows = np.arange(len(descriptors))
    return FeatureBatch(rows, descriptors, np.arange(descriptors.shape[1]) < np.array(lengths)[:, None])


def test_as_a_reranker_it_scores_shortlists_and_pairs_alike() -> None:
    random = np.random.default_rng(4)
    query, gallery = (
        batch(unit(random, 2, 20, 128), [20, 13]),
        batch(unit(random, 6, 25, 128), [25] * 5 + [7]),
    )
    reranker = load_reranker("mutual", "0.97")
    logits = reranker(query, gallery)
    assert logits.dtype == np.float32
    for number in range(6):
        own = number // 3
        alone = reranker(
            FeatureBatch(query.rows[[own]], query.descriptors[[own]], query.valid[[own]]),
            FeatureBatch(gallery.rows[[number]], gallery.descriptors[[number]], gallery.valid[[number]]),
        )
        assert alone[0] == logits[number]
        left = query.descriptors[own][query.valid[own]]
        assert logits[number] == matches_by_opencv(
            left, gallery.descriptors[number][gallery.valid[number]], 0.97
        )


def test_an_image_without_descriptors_comes_last() -> None:
    random = np.random.default_rng(5)
    query, gallery = batch(unit(random, 1, 4, 128), [4]), batch(unit(random, 2, 4, 128), [0, 4])
    logits = MutualReranker(0.8)(query, gallery)
    assert logits[0] == np.finfo(np.float32).min < 0 <= logits[1]


def test_the_ratio_decides_the_digest() -> None:
    assert MutualReranker(0.7).spec.weights_digest != MutualReranker(0.8).spec.weights_digest


@pytest.mark.parametrize("ratio", ["0", "1.2", "nan", "dinov2_ames"])
def test_what_is_no_ratio_is_refused(ratio: str) -> None:
    with pytest.raises(ConfigError, match="ratio"):
        load_reranker("mutual", ratio)


def test_a_precision_without_a_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="precision=bfloat16 is that of a network"):
        load_reranker("mutual", "0.7", precision="bfloat16")


def test_bad_input_is_refused() -> None:
    random = np.random.default_rng(6)
    query, gallery = batch(unit(random, 2, 4, 128), [4, 4]), batch(unit(random, 3, 4, 128), [4] * 3)
    with pytest.raises(StoreError, match="evenly"):
        MutualReranker(0.8)(query, gallery)
    gallery.descriptors[0, 0, 0] = np.nan
    with pytest.raises(StoreError, match="NaN"):
        MutualReranker(0.8)(batch(unit(random, 1, 4, 128), [4]), gallery)
    with pytest.raises(StoreError, match="no projection"):
        MutualReranker(0.8).project(query)
    query, bits = batch(unit(random, 1, 4, 128), [4]), batch(np.ones((3, 4, 16), np.uint8), [4] * 3)
    with pytest.raises(StoreError, match="uint8 of width 16, reranker=mutual takes 128 numbers"):
        MutualReranker(0.8)(query, bits)
    with pytest.raises(StoreError, match="float32 of width 64"):
        MutualReranker(0.8)(batch(unit(random, 1, 4, 64), [4]), batch(unit(random, 3, 4, 64), [4] * 3))
