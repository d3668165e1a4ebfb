"""The networks in the package find hard views of real photos that the global ranking does not find."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ames_ray.descriptors.extractor import ExtractorOptions, build_extractor
from ames_ray.model.checkpoints import load_ames
from ames_ray.model.options import BUNDLED
from ames_ray.model.reranker import load_reranker
from ames_ray.retrieval.rerank import rerank
from ames_ray.samples.sources import from_wheels
from ames_ray.samples.views import HARD, MODERATE, make_view, paste
from ames_ray.types import FloatArray, ImageFeatures, ImageRecord, IntArray, Pixels

EXTRACTOR = build_extractor(ExtractorOptions("sift", topk=100), "cpu")


def described(picture: Pixels) -> ImageFeatures:
    record = ImageRecord(0, "view", "")
    return EXTRACTOR.extract([EXTRACTOR.prepare(record, picture, None)])[0]


@pytest.fixture(scope="module")
def queries() -> list[tuple[ImageFeatures, int]]:
    """Hard views of some photos, pasted on others, and which photo each shows."""
    random = np.random.default_rng(3)
    scenes, backgrounds = photos()
    return [
        (described(paste(make_view(scene, HARD, random), backgrounds[turn], random)), number)
        for number, scene in enumerate(scenes)
        for turn in range(len(backgrounds))
    ]


@pytest.fixture(scope="module")
def gallery() -> list[ImageFeatures]:
    """A moderate view of each photo that queries are made of."""
    random = np.random.default_rng(4)
    return [described(make_view(scene, MODERATE, random)) for scene in photos()[0]]


def descriptors(features: ImageFeatures) -> FloatArray:
    assert features.local is not None
    return features.local.descriptors


def photos() -> tuple[list[Pixels], list[Pixels]]:
    """Those that come with scikit-image and scikit-learn: scenes, and backgrounds for them."""
    found = [cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in from_wheels().photos.values()]
    pixels = [np.asarray(picture, np.uint8) for picture in found if picture is not None]
    return pixels[4:], pixels[:4]


def reciprocal_rank(order: IntArray, wanted: int) -> float:
    return 1 / (1 + int(np.flatnonzero(order == wanted)[0]))


@pytest.mark.parametrize("name", BUNDLED)
def test_reranking_finds_hard_views(
    name: str, queries: list[tuple[ImageFeatures, int]], gallery: list[ImageFeatures]
) -> None:
    reranker = load_reranker("ames", name)
    hits = [descriptors(image) for image in gallery]
    first, second = [], []
    for query, wanted in queries:
        similarities = np.array([query.pooled["global"] @ image.pooled["global"] for image in gallery])
        first.append(reciprocal_rank(np.argsort(-similarities), wanted))
        second.append(reciprocal_rank(rerank(descriptors(query), hits, reranker).order, wanted))
    assert np.mean(second) > np.mean(first) + 0.1


def test_they_are_made_for_rootsift() -> None:
    for name in BUNDLED:
        assert load_ames(name).options == BUNDLED[name]
        assert (BUNDLED[name].backbone, BUNDLED[name].descriptor_dim) == ("sift", EXTRACTOR.spec.dim)
        assert BUNDLED[name].binary == name.endswith("_dist")
