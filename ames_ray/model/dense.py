"""AMES as the textbook reads: one sequence, (Q + T + 1)² masks, every token through every block.

Slow, and only here to be compared with (`ames_ray.model.ames` is what everything uses).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ames_ray.model.ames import AmesOutput
from ames_ray.model.attention import by_head
from ames_ray.model.padding import LOWEST_LOGIT, blank, empty_images, visible_from

if TYPE_CHECKING:
    from ames_ray.model.ames import Ames
    from ames_ray.model.layers import Attention


def dense_forward(
    model: Ames,
    src_local: Tensor,
    tgt_local: Tensor,
    src_mask: Tensor | None = None,
    tgt_mask: Tensor | None = None,
) -> AmesOutput:
    """The same as `Ames.forward` with `return_tokens=True`, for as many queries as gallery images."""
    (batch, queries), galleries = src_local.shape[:2], tgt_local.shape[1]
    visible, empty = [], []
    for padding, descriptors, side in ((src_mask, src_local, "query"), (tgt_mask, tgt_local, "gallery")):
        mask = visible_from(padding, descriptors, side)
        visible.append(torch.ones_like(descriptors[..., 0], dtype=torch.bool) if mask is None else mask)
        empty.append(empty_images(mask, descriptors))

    query = _project(model, blank(src_local, visible[0]))
    gallery = _project(model, blank(tgt_local, visible[1]))
    if not model.training and not model.options.binary:
        gallery = gallery.half().to(gallery.dtype)
    tokens = torch.cat((model.mtc_token.expand(batch, 1, -1), query, gallery), 1)

    real = F.pad(torch.cat(visible, 1), (1, 0), value=True).unsqueeze(1)
    own, other = (mask.to(tokens.device) for mask in _masks(queries, galleries))
    for block in model.blocks:
        tokens = block.norm1(tokens + _attention(block.self_attn, tokens, own & real))
        tokens = block.norm2(tokens + _attention(block.cross_attn, tokens, other & real))
        tokens = block.norm3(tokens + block.linear2(F.relu(block.linear1(tokens))))

    matching, query, gallery = tokens[:, 0], tokens[:, 1 : 1 + queries], tokens[:, 1 + queries :]
    similarity = model.classifier(matching).squeeze(-1)
    if not model.training:
        similarity = similarity.masked_fill(empty[0] | empty[1], LOWEST_LOGIT)
    return AmesOutput(similarity, matching, query, gallery)


def _project(model: Ames, descriptors: Tensor) -> Tensor:
    descriptors = descriptors / descriptors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    tokens: Tensor = model.remap_local(descriptors)
    return tokens


def _masks(queries: int, galleries: int) -> tuple[Tensor, Tensor]:
    """Who sees whom in self- and cross-attention: two (Q + T + 1, Q + T + 1) masks, True = sees."""
    side = torch.tensor([0] + [1] * queries + [2] * galleries)
    same = side[:, None] == side[None, :]
    either_matching = (side[:, None] == 0) | (side[None, :] == 0)
    return same | either_matching, ~same | either_matching


def _attention(attention: Attention, tokens: Tensor, mask: Tensor) -> Tensor:
    query, keys, values = (by_head(x, attention.heads).transpose(1, 2) for x in attention.project(tokens))
    scores = query @ keys.transpose(-1, -2) / query.shape[-1] ** 0.5
    weights = scores.masked_fill(~mask.unsqueeze(1), -torch.inf).softmax(-1)
    out: Tensor = attention.out_proj((weights @ values).transpose(1, 2).flatten(2))
    return out
