"""The parts of the network, named as in the published checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ames_ray.model.attention import attend, by_head

if TYPE_CHECKING:
    from collections.abc import Sequence

_BINARIZE_SIGMA = 1e-6


class Binarize(nn.Module):
    """Rotate a normalised descriptor and keep the signs; a steep erf stands in for them while training.

    Source: authors' code.
    """

    def __init__(self, descriptor_dim: int, dim: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(descriptor_dim, dim))

    def forward(self, descriptors: Tensor) -> Tensor:
        """(…, D_in) normalised descriptors to (…, D) signs; sign(0) = 0."""
        rotated = descriptors @ self.W
        if self.training:
            return torch.erf(rotated / (2 * _BINARIZE_SIGMA) ** 0.5)
        # sign(NaN) is 0, which would hide a broken descriptor.
        return torch.where(rotated.isnan(), rotated, rotated.sign())


class Attention(nn.Module):
    """Multi-head attention; parameters as `torch.nn.MultiheadAttention` names and stacks them."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * dim))
        self.out_proj = nn.Linear(dim, dim)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of (B, N, D) tokens, each (B, N, D)."""
        query, keys, values = F.linear(tokens, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        return query, keys, values

    def between(self, query: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
        """What projected tokens see in others, projected out; shapes as in `attend`."""
        seen: Tensor = self.out_proj(attend(query, keys, values, visible, self.heads))
        return seen

    def at_token(self, token: Tensor, sides: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
        """What one token per pair sees in several sets of tokens together.

        Keys and values are never computed: with a single query it is cheaper to carry the query back through
        the key weights, and the weighted mean of the tokens forward through the value weights.

        Args:
            token: (B, D).
            sides: Tokens (G, N, D) with their visibility (G, N) or none. G divides B: pair i looks at
                entry i // (B / G).

        Returns:
            (B, D).
        """
        batch, dim = token.shape
        to_query, to_keys, to_values = self.in_proj_weight.chunk(3)
        bias_query, _, bias_values = self.in_proj_bias.chunk(3)  # the keys' bias cancels in the softmax
        query = by_head(F.linear(token, to_query, bias_query), self.heads)
        query = query * query.shape[-1] ** -0.5
        carried = torch.einsum("bhc,hcd->bhd", query, to_keys.view(self.heads, -1, dim))
        scores = torch.cat([_scores(carried, *side) for side in sides], -1)
        weights = torch.split(scores.softmax(-1), [tokens.shape[1] for tokens, _ in sides], -1)
        mean = torch.stack([_spread(w, t) for w, (t, _) in zip(weights, sides, strict=True)]).sum(0)
        values = torch.einsum("bhd,hcd->bhc", mean, to_values.view(self.heads, -1, dim))
        seen: Tensor = self.out_proj(values.reshape(batch, dim) + bias_values)
        return seen


def _scores(carried: Tensor, tokens: Tensor, visible: Tensor | None) -> Tensor:
    """(B, H, N) scores of (B, H, D) carried queries against (G, N, D) tokens."""
    (batch, heads, dim), groups = carried.shape, max(1, len(tokens))
    scores = carried.reshape(groups, batch // groups * heads, dim) @ tokens.transpose(1, 2)
    if visible is not None:
        scores = scores.masked_fill(~visible.unsqueeze(1), -torch.inf)
    return scores.reshape(batch, heads, tokens.shape[1])


def _spread(weights: Tensor, tokens: Tensor) -> Tensor:
    """(B, H, D) sums of (G, N, D) tokens under (B, H, N) weights."""
    (batch, heads, count), groups = weights.shape, max(1, len(tokens))
    grouped = weights.reshape(groups, batch // groups * heads, count) @ tokens
    return grouped.reshape(batch, heads, tokens.shape[-1])


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward, each added and normalised afterwards."""

    def __init__(self, dim: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.cross_attn = Attention(dim, heads)
        self.linear1 = nn.Linear(dim, feedforward)
        self.linear2 = nn.Linear(feedforward, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """The last third of the block on (…, D) tokens."""
        hidden = self.linear1(tokens)
        # In place saves a copy, but the backward pass would pay for it with three.
        hidden = hidden.relu() if torch.is_grad_enabled() else hidden.relu_()
        out: Tensor = self.norm3(tokens + self.linear2(hidden))
        return out


class Blocks(nn.Module):
    """The stack; a level of its own because the published names have it (`decoder.layers.0…`)."""

    def __init__(self, dim: int, heads: int, feedforward: int, blocks: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(dim, heads, feedforward) for _ in range(blocks))


def initialise(module: nn.Module) -> None:
    """Draw fresh parameters for one module, as the authors do; blocks are drawn independently.

    W starts as a random rotation: sensible codes without an ITQ file (`ames_ray.model.itq` reads one).
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, Attention):
        nn.init.xavier_uniform_(module.in_proj_weight)
        nn.init.zeros_(module.in_proj_bias)
    elif isinstance(module, Binarize):
        nn.init.orthogonal_(module.W)
