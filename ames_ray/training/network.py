"""The network as training runs it: a step's triplets in, the pairs of each out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ames_ray.model.ames import AmesOutput
from ames_ray.model.padding import blank

if TYPE_CHECKING:
    from ames_ray.model.ames import Ames


class TripletNetwork(nn.Module):
    """AMES on triplets; an anchor is prepared once for all of its pairs.

    A module of its own, because a wrapper for several workers or a compiler sees calls of `forward` alone.

    Args:
        network: The weights; they stay those of this object.
        keep_padding: Project what stands in padding, as the released trainer does, instead of zeros; no other
            token sees it either way.
    """

    def __init__(self, network: Ames, *, keep_padding: bool = False) -> None:
        super().__init__()
        self.network = network
        self._keep_padding = keep_padding

    def forward(
        self,
        anchor: Tensor,
        anchor_valid: Tensor,
        others: Tensor,
        others_valid: Tensor,
        tokens: bool = False,
    ) -> AmesOutput:
        """Compare anchors with their positives and negatives, or with N negatives alone.

        Args:
            anchor: Fields of a `TripletBatch`, as are the next three.
            anchor_valid: See there.
            others: See there.
            others_valid: See there.
            tokens: Also give the tokens after the last block, which costs a fifth more.

        Returns:
            Of 2B pairs in the order positive 0, negative 0, positive 1 …; without `tokens` all tokens are
            empty.
        """
        network = self.network
        query, gallery = self._project(anchor, anchor_valid), self._project(others, others_valid)
        left = network.image(query, anchor_valid)
        anchors = len(anchor)
        right = network.image(by_anchor(network.stored(gallery), anchors), by_anchor(others_valid, anchors))
        if tokens:
            return network.compare_tokens(left, right)
        nothing = gallery.new_empty(0)
        return AmesOutput(network.compare(left, right), nothing, nothing, nothing)

    def _project(self, descriptors: Tensor, valid: Tensor) -> Tensor:
        """Tokens; always in float32, as in scoring: signs must not depend on the arithmetic of the blocks."""
        with torch.autocast(descriptors.device.type, enabled=False):
            if not self._keep_padding:
                descriptors = blank(descriptors, valid)
            return self.network.project(descriptors)


def by_anchor(others: Tensor, anchors: int) -> Tensor:
    """(2B, …) all positives, then all negatives, to positive 0, negative 0, positive 1 and so on."""
    return others.view(-1, anchors, *others.shape[1:]).transpose(0, 1).flatten(0, 1)
