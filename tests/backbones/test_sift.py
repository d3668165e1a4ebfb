from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.backbones.sift import codebook, describe, find_features, root, vlad
from ames_ray.types import Pixels
from tests.descriptors.photos import read


@pytest.fixture(scope="module")
def coffee() -> Pixels:
    return read("coffee")


def test_features_are_opencvs(coffee: Pixels) -> None:
    local = find_features(coffee)
    keypoints, sift = cv2.SIFT.create().detectAndCompute(cv2.cvtColor(coffee, cv2.COLOR_BGR2GRAY), None)
    assert len(local) == len(keypoints) > 100
    assert (np.diff(local.weight) <= 0).all()
    keys = np.array([(k.angle, k.size, k.pt[1], k.pt[0], -k.response) for k in keypoints])
    order = np.lexsort(keys.T)
    np.testing.assert_array_equal(local.xy, np.array([keypoints[i].pt for i in order], np.float32))
    theirs = sift[order].astype(np.float64)
    expected = np.sqrt(theirs / theirs.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(local.descriptors, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(local.descriptors, axis=1), 1, atol=1e-5)


def test_equal_pictures_give_equal_bytes(coffee: Pixels) -> None:
    (one, pooled), (two, again) = describe(coffee), describe(coffee.copy())
    for a, b in ((one.xy, two.xy), (one.weight, two.weight), (one.descriptors, two.descriptors)):
        assert a.tobytes() == b.tobytes()
    assert pooled["global"].tobytes() == again["global"].tobytes()


def test_threads_do_not_matter(coffee: Pixels) -> None:
    before = cv2.getNumThreads()
    found = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        found.append(find_features(coffee))
    cv2.setNumThreads(before)
    assert found[0].xy.tobytes() == found[1].xy.tobytes()
    assert found[0].descriptors.tobytes() == found[1].descriptors.tobytes()


@pytest.mark.parametrize("shape", [(64, 64), (1, 1), (3, 2000), (2000, 3), (2, 2)])
def test_nothing_to_find(shape: tuple[int, int]) -> None:
    local, pooled = describe(np.zeros((*shape, 3), dtype=np.uint8))
    assert len(local) == 0
    assert local.xy.shape == (0, 2)
    assert local.descriptors.shape == (0, 128)
    assert pooled["global"].shape == (2048,)


def test_global_tells_pictures_apart(coffee: Pixels) -> None:
    rotated = np.ascontiguousarray(cv2.rotate(coffee, cv2.ROTATE_180))
    same = describe(coffee)[1]["global"] @ describe(np.asarray(rotated, np.uint8))[1]["global"]
    others = [describe(coffee)[1]["global"] @ describe(read(o))[1]["global"] for o in ("rocket", "astronaut")]
    assert same > 0.8
    assert max(others) < 0.3


def test_root_of_a_zero_descriptor_is_finite() -> None:
    assert (root(np.zeros((1, 128), dtype=np.float32)) == 0).all()


@settings(deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(0, 40))
def test_vlad_is_the_textbook_sum(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    points = random.standard_normal((count, 6)).astype(np.float32)
    centres = random.standard_normal((3, 6)).astype(np.float32)
    blocks = np.zeros((3, 6))
    for point in points:
        nearest = min(range(3), key=lambda k: float(np.linalg.norm(point - centres[k])))
        blocks[nearest] += point - centres[nearest]
    normalised = np.concatenate([block / (np.linalg.norm(block) or 1) for block in blocks])
    expected = normalised / (np.linalg.norm(normalised) or 1)
    np.testing.assert_allclose(vlad(points, centres), expected, atol=1e-4)


def test_codebook_can_be_made_again() -> None:
    pytest.importorskip("skimage")
    from benchmarks.make_sift_codebook import make_centres

    np.testing.assert_allclose(make_centres(), codebook(), atol=1e-3)
