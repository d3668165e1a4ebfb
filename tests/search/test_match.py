from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ames_ray.model.mutual_reranker import MutualReranker
from ames_ray.search.match import RATIO, mutual_matches
from ames_ray.types import FeatureBatch, FloatArray


def by_hand(query: FloatArray, image: FloatArray, ratio: float) -> set[tuple[int, int]]:
    """The definition, pair by pair, in float64."""
    unit = [x.astype(np.float64) / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, image)]
    distance = np.linalg.norm(unit[0][:, None] - unit[1][None], axis=2)
    found = set()
    for i, row in enumerate(distance):
        order = np.argsort(row)
        j = int(order[0])
        if len(row) > 1 and np.argmin(distance[:, j]) == i and row[j] < ratio * row[order[1]]:
            found.add((i, j))
    return found


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.7, 0.9, 1.0]))
def test_matches_are_those_of_the_definition(seed: int, queries: int, images: int, ratio: float) -> None:
    generator = np.random.default_rng(seed)
    query, image = (generator.standard_normal((n, 4)).astype(np.float32) for n in (queries, images))
    found = mutual_matches(query, image, ratio)
    assert set(zip(found.query.tolist(), found.image.tolist(), strict=True)) == by_hand(query, image, ratio)
    assert len(set(found.image.tolist())) == len(found)
    assert (np.diff(found.strength) <= 0).all()


def test_they_are_as_many_as_the_reranker_counts() -> None:
    generator = np.random.default_rng(0)
    image = generator.standard_normal((20, 128)).astype(np.float32)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    near = image + 0.05 * generator.standard_normal(image.shape).astype(np.float32)
    query = near / np.linalg.norm(near, axis=1, keepdims=True)
    lengths = np.array([20, 7, 2, 1, 0])
    valid = np.arange(20) < lengths[:, None]
    gallery = FeatureBatch(np.arange(5), np.stack([image] * 5), valid)
    counts = MutualReranker(RATIO)(FeatureBatch(np.arange(1), query[None], np.ones((1, 20), bool)), gallery)
    found = [len(mutual_matches(query, image[:length])) for length in lengths]
    assert found == np.maximum(counts, 0).tolist()
    assert found[0] > found[2] > found[3] == 0


def test_a_picture_matches_itself_everywhere_and_nothing_matches_nothing() -> None:
    descriptors = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float16)
    found = mutual_matches(descriptors, descriptors)
    np.testing.assert_array_equal(found.query, found.image)
    assert len(found) == 20
    assert (
        len(mutual_matches(descriptors[:0], descriptors))
        == len(mutual_matches(descriptors, descriptors[:0]))
        == 0
    )


def test_a_place_that_looks_like_two_others_is_no_match() -> None:
    image = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    query = np.eye(3, dtype=np.float32) + 0.1
    assert len(mutual_matches(query, image)) == 0
