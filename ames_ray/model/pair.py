"""Two images on their way through the blocks.

An image is carried as [matching token | its tokens]. Both images of a pair carry a copy of the matching
token, because the tokens of both look at it; the token itself looks at everything, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn

    from ames_ray.model.layers import Attention, Block


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A batch of B pairs.

    Attributes:
        query: (B, 1 + Q, D); or (G, 1 + Q, D) where G divides B and neighbouring pairs share a query.
        gallery: (B, 1 + T, D).
        query_visible: (B or G, 1 + Q) bool, False for padding; or none.
        gallery_visible: (B, 1 + T) bool, False for padding; or none.
    """

    query: Tensor
    gallery: Tensor
    query_visible: Tensor | None
    gallery_visible: Tensor | None

    def carrying(self, matching: Tensor) -> Pair:
        """The pair with another matching token, (B, D)."""
        token = matching.unsqueeze(1).to(self.query.dtype)
        return Pair(
            torch.cat((token, self.query[:, 1:]), 1),
            torch.cat((token, self.gallery[:, 1:]), 1),
            self.query_visible,
            self.gallery_visible,
        )

    def unshared(self) -> Pair:
        """The pair with each query repeated for each of its gallery images."""
        repeats = len(self.gallery) // len(self.query)
        visible = None if self.query_visible is None else _repeat(self.query_visible, repeats)
        return Pair(_repeat(self.query, repeats), self.gallery, visible, self.gallery_visible)


def _repeat(tensor: Tensor, repeats: int) -> Tensor:
    """Each entry `repeats` times in a row, without a copy where there is one entry."""
    return tensor.unsqueeze(1).expand(-1, repeats, *tensor.shape[1:]).flatten(0, 1)


def look(attention: Attention, norm: nn.Module, matching: Tensor, pair: Pair) -> Tensor:
    """The matching token (B, D) after it looked at everything, itself included, through one attention."""
    hidden = pair.gallery_visible
    sides = [
        (pair.query, pair.query_visible),
        (pair.gallery[:, 1:], None if hidden is None else hidden[:, 1:]),
    ]
    token: Tensor = norm(matching + attention.at_token(matching, sides))
    return token


def attend_own(block: Block, tokens: Tensor, visible: Tensor | None) -> Tensor:
    """One image's tokens (B, 1 + N, D) after looking at themselves; position 0 means nothing."""
    seen: Tensor = block.norm1(tokens + block.self_attn.between(*block.self_attn.project(tokens), visible))
    return seen


def self_attend(block: Block, pair: Pair) -> Pair:
    """First third of a block."""
    matching = look(block.self_attn, block.norm1, pair.query[:, 0], pair)
    return Pair(
        attend_own(block, pair.query, pair.query_visible),
        attend_own(block, pair.gallery, pair.gallery_visible),
        pair.query_visible,
        pair.gallery_visible,
    ).carrying(matching)


def cross_attend(block: Block, pair: Pair) -> Pair:
    """Second third of a block."""
    cross = block.cross_attn
    matching = look(cross, block.norm2, pair.query[:, 0], pair)
    asked, keys, values = cross.project(pair.query)
    gallery_asked, gallery_keys, gallery_values = cross.project(pair.gallery)
    query = pair.query + cross.between(asked, gallery_keys, gallery_values, pair.gallery_visible)
    gallery = pair.gallery + cross.between(gallery_asked, keys, values, pair.query_visible)
    return Pair(block.norm2(query), block.norm2(gallery), pair.query_visible, pair.gallery_visible).carrying(
        matching
    )


def feed_forward(block: Block, pair: Pair) -> Pair:
    """Last third of a block."""
    return Pair(
        block.feed_forward(pair.query),
        block.feed_forward(pair.gallery),
        pair.query_visible,
        pair.gallery_visible,
    )


def matching_only(block: Block, pair: Pair) -> Tensor:
    """What the last two thirds of a block make of the matching token, (B, D), and of nothing else."""
    return block.feed_forward(look(block.cross_attn, block.norm2, pair.query[:, 0], pair))
