"""Attention between two sets of tokens, and the one place where its kernel is chosen.

There are two kernels with equal results. "fused" is torch's `scaled_dot_product_attention`, which never
writes the scores to memory. "products" is two batched products with a softmax between; it is the faster one
in bfloat16 on a CPU, where the fused kernel is no faster than in float32
(`python -m benchmarks.scoring --kernels` measures both).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Kernel = Literal["fused", "products"]


def choose_kernel(query: Tensor) -> Kernel:
    """The faster kernel for these tokens, as measured: sizes from 50 to 600 tokens made no difference."""
    # "products" would keep all scores for the backward pass.
    slow_fused = query.device.type == "cpu" and query.dtype == torch.bfloat16
    return "products" if slow_fused and not query.requires_grad else "fused"


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    visible: Tensor | None,
    heads: int,
    kernel: Kernel | None = None,
) -> Tensor:
    """Multi-head attention on projected tokens.

    Args:
        query: (B, L, D) projected tokens that look; heads are consecutive runs of D / heads columns.
        keys: (B, S, D).
        values: (B, S, D).
        visible: (B, S) bool, False for keys that nobody sees; or none. Each row has at least one True.
        heads: Number of heads.
        kernel: Which kernel; the measured choice by default.

    Returns:
        (B, L, D).
    """
    kernel = kernel or choose_kernel(query)
    return (_fused if kernel == "fused" else _products)(query, keys, values, visible, heads)


def weights(query: Tensor, keys: Tensor, visible: Tensor | None, heads: int) -> Tensor:
    """What `attend` weighs the values with: (B, L, S), mean of the heads; shapes as there."""
    query, keys = (by_head(x, heads).transpose(1, 2) for x in (query, keys))
    scores = query @ keys.transpose(2, 3) * query.shape[-1] ** -0.5
    if visible is not None:
        scores = scores.masked_fill(~visible[:, None, None, :], -torch.inf)
    averaged: Tensor = scores.softmax(-1).mean(1)
    return averaged


def by_head(tokens: Tensor, heads: int) -> Tensor:
    """(…, D) as (…, heads, D / heads), without a copy."""
    return tokens.view(*tokens.shape[:-1], heads, tokens.shape[-1] // heads)


def _fused(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, heads: int) -> Tensor:
    query, keys, values = (by_head(x, heads).transpose(1, 2) for x in (query, keys, values))
    mask = None if visible is None else visible[:, None, None, :].expand(-1, 1, query.shape[2], -1)
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask).transpose(1, 2).flatten(2)


def _products(query: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None, heads: int) -> Tensor:
    # Head by head the operands are plain strided matrices, which BLAS takes without a copy.
    width = query.shape[-1] // heads
    query = query * width**-0.5
    hidden = None if visible is None else ~visible.unsqueeze(1)
    results = []
    for start in range(0, width * heads, width):
        part = slice(start, start + width)
        scores = query[..., part] @ keys[..., part].transpose(1, 2)
        if hidden is not None:
            scores = scores.masked_fill_(hidden, -torch.inf)
        results.append(scores.softmax(-1) @ values[..., part])
    return torch.cat(results, -1)
