"""The attention kernels against a loop that anyone can check."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from ames_ray.model.attention import Kernel, attend, choose_kernel


def _by_hand(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, visible: torch.Tensor, heads: int
) -> torch.Tensor:
    width = query.shape[-1] // heads
    out = torch.zeros_like(query)
    for b in range(len(query)):
        seen = visible[b].nonzero()[:, 0].tolist()
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            for i in range(query.shape[1]):
                scores = [float(query[b, i, part] @ keys[b, j, part]) / math.sqrt(width) for j in seen]
                top = max(scores)
                weights = [math.exp(s - top) for s in scores]
                for j, weight in zip(seen, weights, strict=True):
                    out[b, i, part] += weight / sum(weights) * values[b, j, part]
    return out


@pytest.mark.parametrize("kernel", get_args(Kernel))
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_kernels(kernel: Kernel, heads: int, masked: bool) -> None:
    torch.manual_seed(0)
    query = torch.randn(3, 5, 8, dtype=torch.float64)
    keys, values = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    visible = torch.rand(3, 7) < 0.5 if masked else torch.ones(3, 7, dtype=torch.bool)
    visible[:, 0] = True
    found = attend(query, keys, values, visible if masked else None, heads, kernel)
    torch.testing.assert_close(found, _by_hand(query, keys, values, visible, heads), atol=1e-12, rtol=1e-12)


def test_the_choice_of_the_kernel() -> None:
    tokens = torch.zeros(1, 100, 8)
    assert choose_kernel(tokens) == "fused"
    assert choose_kernel(tokens.bfloat16()) == "products"
    assert choose_kernel(tokens.bfloat16().requires_grad_()) == "fused"
    assert choose_kernel(tokens.bfloat16().to("meta")) == "fused"
