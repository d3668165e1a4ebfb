"""Who looks at whom: the weights against torch's own attention."""

from __future__ import annotations

import numpy as np
import torch

from ames_ray.model.ames_reranker import AmesReranker
from ames_ray.model.attention import attend, weights
from ames_ray.model.options import AmesOptions
from ames_ray.types import FeatureBatch
from tests.model.networks import random_model


def test_weights_are_those_that_attend_uses() -> None:
    torch.manual_seed(0)
    query, keys = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    visible = torch.ones(2, 7, dtype=torch.bool)
    visible[1, 4:] = False
    found = weights(query, keys, visible, heads=2)
    _, expected = torch.nn.functional.multi_head_attention_forward(
        query.transpose(0, 1),
        keys.transpose(0, 1),
        keys.transpose(0, 1),
        8,
        2,
        torch.cat([torch.eye(8)] * 3),
        torch.zeros(24),
        None,
        None,
        False,
        0.0,
        torch.eye(8),
        torch.zeros(8),
        key_padding_mask=~visible,
    )
    torch.testing.assert_close(found, expected)
    # Equal values in both heads: the mean of the weights gives the mean of what is seen.
    half = torch.randn(2, 7, 4)
    seen = attend(query, keys, torch.cat([half, half], -1), visible, 2)
    torch.testing.assert_close((seen[..., :4] + seen[..., 4:]) / 2, found @ half)


def test_padding_is_not_looked_at_and_changes_nothing() -> None:
    model = AmesReranker(random_model(AmesOptions(16, dim=8, blocks=3, feedforward=16), 0))
    g = np.random.default_rng(0)
    descriptors = g.standard_normal((1, 5, 16)).astype(np.float32)
    query = FeatureBatch(np.zeros(1, np.int64), descriptors, np.ones((1, 5), bool))
    raw = g.standard_normal((2, 6, 16)).astype(np.float32)
    valid = np.arange(6) < np.array([[6], [3]])
    found = model.attention(query, FeatureBatch(np.arange(2), raw, valid))
    assert found.shape == (2, 5, 6)
    assert (found[1, :, 3:] == 0).all()
    assert ((found.sum(2) > 0) & (found.sum(2) < 1)).all()
    short = model.attention(query, FeatureBatch(np.arange(1), raw[1:, :3], valid[1:, :3]))
    np.testing.assert_allclose(found[1:, :, :3], short, rtol=1e-5)
