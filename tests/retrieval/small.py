"""A small network that takes the descriptors of `tests.store.builders`, and its scores pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ames_ray.model.ames import Ames
from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.dense import dense_forward
from ames_ray.model.options import AmesOptions
from ames_ray.types import FeatureBatch, FloatArray, ImageFeatures
from tests.model.networks import random_model

OPTIONS = AmesOptions(16, dim=8, blocks=2, feedforward=16)


def small_model(seed: int = 0) -> Ames:
    return random_model(OPTIONS, seed)


def small_reranker(seed: int = 0) -> AmesReranker:
    return AmesReranker(small_model(seed))


def descriptors_of(features: ImageFeatures, count: int) -> FloatArray:
    """(N, D), the strongest ones; none of a failed row."""
    return features.local.descriptors[:count] if features.local else np.empty((0, 16), np.float32)


def dense_logit(model: Ames, query: FloatArray, image: FloatArray) -> float:
    """One pair through the textbook form, without padding."""
    with torch.no_grad():
        output = dense_forward(model, torch.from_numpy(query)[None], torch.from_numpy(image)[None])
    return float(output.similarity[0])


class CountingReranker(AmesReranker):
    """Counts the pairs that it is asked for, and can be killed at one of them."""

    def __init__(self, model: Ames, **options: Any) -> None:
        super().__init__(model, **options)
        self.pairs = 0
        self.last: int | None = None

    def __call__(self, query: FeatureBatch, gallery: FeatureBatch) -> FloatArray:
        if self.last is not None and self.pairs >= self.last:
            raise KeyboardInterrupt
        self.pairs += len(gallery.rows)
        return super().__call__(query, gallery)
