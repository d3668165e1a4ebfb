"""AMES in the form that everything uses: equal to `ames_ray.model.dense`, at a fraction of its cost.

What the textbook form computes in vain, and this one does not:
- a query token sees the matching token and its own image, or the other image, but never both at once: so
  attention runs on Q², T² and Q·T blocks, never on (Q + T + 1)²;
- the answer is read at the matching token, so the last block's cross-attention and feed-forward part run
  there alone;
- the first self-attention of an image does not depend on the other image: it is done once for a query and
  its whole shortlist.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ames_ray.errors import StoreError
from ames_ray.model.attention import weights
from ames_ray.model.layers import Binarize, Blocks, initialise
from ames_ray.model.padding import LOWEST_LOGIT, blank, empty_images, require_tensor, visible_from
from ames_ray.model.pair import Pair, attend_own, cross_attend, feed_forward, look, matching_only, self_attend

if TYPE_CHECKING:
    from ames_ray.model.layers import Block
    from ames_ray.model.options import AmesOptions


class AmesOutput(NamedTuple):
    """The network's answer with the tokens after its last block, which distillation compares.

    Attributes:
        similarity: (B,) logits.
        matching: (B, D) the matching token.
        query: (B, Q, D) query tokens; rows of padding mean nothing.
        gallery: (B, T, D) gallery tokens; rows of padding mean nothing.
    """

    similarity: Tensor
    matching: Tensor
    query: Tensor
    gallery: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ImageTokens:
    """An image as far as it does not depend on the other one of a pair.

    Attributes:
        start: (B, 1 + N, D) the learned matching token and the projected descriptors.
        attended: (B, 1 + N, D) the same after the first self-attention; position 0 means nothing.
        visible: (B, 1 + N) bool, False for padding; or none.
        empty: (B,) bool, True where there is no descriptor at all.
    """

    start: Tensor
    attended: Tensor
    visible: Tensor | None
    empty: Tensor

    def __len__(self) -> int:
        return len(self.start)


class Ames(nn.Module):
    """Asymmetric and memory-efficient similarity of two images from their local descriptors.

    Source: Suma et al., ECCV 2024, arXiv 2408.03282.

    Args:
        options: Sizes.
    """

    def __init__(self, options: AmesOptions) -> None:
        super().__init__()
        self.options = options
        dim = options.dim
        self.mtc_token = nn.Parameter(torch.empty(dim))
        if options.binary:
            bits = options.payload_dim
            binarize = Binarize(options.descriptor_dim, bits)
            self.remap_local = nn.Sequential(binarize, nn.Linear(bits, dim), nn.LayerNorm(dim))
        else:
            self.remap_local = nn.Sequential(nn.Linear(options.descriptor_dim, dim), nn.LayerNorm(dim))
        self.decoder = Blocks(dim, options.heads, options.feedforward, options.blocks)
        self.classifier = nn.Linear(dim, 1)
        self.apply(initialise)
        nn.init.trunc_normal_(self.mtc_token, std=0.02)

    def forward(
        self,
        src_local: Tensor,
        tgt_local: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        *,
        return_tokens: bool = False,
    ) -> Tensor | AmesOutput:
        """Similarity logits of pairs.

        Args:
            src_local: (G, Q, D_in) query descriptors. G divides B: query i belongs to the B / G gallery
                images from i · B / G on; G = B are plain pairs, G = 1 is one query with its shortlist.
            tgt_local: (B, T, D_in) gallery descriptors.
            src_mask: (G, Q) bool, True = padding, or (G,) integer lengths, or none.
            tgt_mask: (B, T) bool, True = padding, or (B,) integer lengths, or none.
            return_tokens: Also give the tokens after the last block, which costs a fifth more.

        Returns:
            (B,) logits; no sigmoid. In evaluation mode a pair with an image without any descriptor gets
            `LOWEST_LOGIT`.

        Raises:
            StoreError: A shape does not fit, or something is no tensor.
        """
        for descriptors in (src_local, tgt_local):
            self.check_width(descriptors)
        query_visible = visible_from(src_mask, src_local, "query")
        gallery_visible = visible_from(tgt_mask, tgt_local, "gallery")
        query = self.image(self.project(blank(src_local, query_visible)), query_visible)
        tokens = self.stored(self.project(blank(tgt_local, gallery_visible)))
        gallery = self.image(tokens, gallery_visible)
        return self.compare_tokens(query, gallery) if return_tokens else self.compare(query, gallery)

    def project(self, descriptors: Tensor) -> Tensor:
        """Tokens (B, N, D) of (B, N, D_in) descriptors, in the type of the blocks.

        Raises:
            StoreError: The descriptors have another width than the model's.
        """
        self.check_width(descriptors)
        descriptors = F.normalize(descriptors.to(self.projection_dtype), dim=-1)
        tokens: Tensor = self.remap_local(descriptors)
        return tokens.to(self.mtc_token.dtype)

    @property
    def projection_dtype(self) -> torch.dtype:
        """Type that descriptors are projected in; the blocks may compute in a shorter one."""
        return next(self.remap_local.parameters()).dtype

    def check_width(self, descriptors: Tensor) -> None:
        """Refuse descriptors that are not (B, N, D_in).

        Raises:
            StoreError: They have another shape, or are no tensor.
        """
        require_tensor(descriptors, "descriptors")
        if descriptors.ndim != 3 or descriptors.shape[-1] != self.options.descriptor_dim:
            of_backbone = f" of {self.options.backbone}" if self.options.backbone else ""
            raise StoreError(
                f"descriptors have shape {tuple(descriptors.shape)}, "
                f"the model takes (images, descriptors, {self.options.descriptor_dim}){of_backbone}",
                "descriptors and model must come from the same backbone",
            )

    def stored(self, tokens: Tensor) -> Tensor:
        """Gallery tokens as a database holds them: in full precision rounded through float16."""
        if self.training or self.options.binary:
            return tokens
        return tokens.half().to(tokens.dtype)

    @property
    def blocks(self) -> list[Block]:
        """The transformer blocks in order."""
        return cast("list[Block]", list(self.decoder.layers))

    def image(self, tokens: Tensor, visible: Tensor | None = None) -> ImageTokens:
        """Do what depends on one image alone.

        Args:
            tokens: (B, N, D) from `project`, `stored` or `ames_ray.model.payload`.
            visible: (B, N) bool, True = real; or none.
        """
        empty = empty_images(visible, tokens)
        start = torch.cat((self.mtc_token.to(tokens.dtype).expand(len(tokens), 1, -1), tokens), 1)
        if visible is not None:
            visible = F.pad(visible, (1, 0), value=True)
        return ImageTokens(start, attend_own(self.blocks[0], start, visible), visible, empty)

    def compare(self, query: ImageTokens, gallery: ImageTokens) -> Tensor:
        """Similarity logits (B,) of prepared images; who belongs to whom is said in `forward`.

        Raises:
            StoreError: The number of queries does not divide the number of gallery images.
        """
        pair = self._through_blocks(query, gallery)
        return self._logits(matching_only(self.blocks[-1], pair), query, gallery)

    def compare_tokens(self, query: ImageTokens, gallery: ImageTokens) -> AmesOutput:
        """The same with the tokens after the last block.

        Raises:
            StoreError: The number of queries does not divide the number of gallery images.
        """
        last = self.blocks[-1]
        pair = feed_forward(last, cross_attend(last, self._through_blocks(query, gallery)))
        matching = pair.query[:, 0]
        similarity = self._logits(matching, query, gallery)
        return AmesOutput(similarity, matching, pair.query[:, 1:], pair.gallery[:, 1:])

    def attention(self, query: ImageTokens, gallery: ImageTokens) -> Tensor:
        """How much each query token looks at each gallery token in the last cross-attention.

        Returns:
            (B, Q, T) weights, mean of the heads; a row sums up to what is not spent on the matching token.
            Columns of padding are 0, rows of padding mean nothing.

        Raises:
            StoreError: The number of queries does not divide the number of gallery images.
        """
        pair = self._through_blocks(query, gallery)
        cross = self.blocks[-1].cross_attn
        asked, keys = cross.project(pair.query)[0], cross.project(pair.gallery)[1]
        return weights(asked, keys, pair.gallery_visible, cross.heads)[:, 1:, 1:]

    def _through_blocks(self, query: ImageTokens, gallery: ImageTokens) -> Pair:
        """The pairs after the first third of the last block."""
        if len(query) == 0 or len(gallery) % len(query):
            raise StoreError(
                f"{len(query)} queries do not share {len(gallery)} gallery images evenly",
                "pass one query for a shortlist, or as many queries as gallery images",
            )
        pair = self._first_look(query, gallery)
        for block, following in pairwise(self.blocks):
            pair = self_attend(following, feed_forward(block, cross_attend(block, pair)))
        return pair

    def _first_look(self, query: ImageTokens, gallery: ImageTokens) -> Pair:
        """The first third of the first block, of which only the matching token's part is left to do."""
        first = self.blocks[0]
        start = Pair(query.start, gallery.start, query.visible, gallery.visible)
        matching = self.mtc_token.to(query.start.dtype).expand(len(gallery), -1)
        matching = look(first.self_attn, first.norm1, matching, start)
        return (
            Pair(query.attended, gallery.attended, query.visible, gallery.visible)
            .unshared()
            .carrying(matching)
        )

    def _logits(self, matching: Tensor, query: ImageTokens, gallery: ImageTokens) -> Tensor:
        logits: Tensor = self.classifier(matching).squeeze(-1)
        if self.training:
            return logits
        empty = query.empty.repeat_interleave(len(gallery) // len(query)) | gallery.empty
        return logits.masked_fill(empty, LOWEST_LOGIT)
