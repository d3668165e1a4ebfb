"""The descriptors of one step, as the loader hands them to the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class TripletBatch:
    """B triplets: anchors on the query side; positives and negatives on the gallery side.

    Attributes:
        anchor: (B, Q, D) raw descriptors in the type of the store, strongest first.
        anchor_valid: (B, Q) bool, True for a real descriptor, False for padding.
        others: (2B, T, D) likewise; the B positives first, then the B negatives.
        others_valid: (2B, T) bool.
    """

    anchor: Tensor
    anchor_valid: Tensor
    others: Tensor
    others_valid: Tensor

    def __len__(self) -> int:
        return len(self.anchor)

    def to(self, device: torch.device) -> TripletBatch:
        """The batch on a device."""
        return TripletBatch(
            *(t.to(device, non_blocking=True) for t in (self.anchor, self.anchor_valid)),
            *(t.to(device, non_blocking=True) for t in (self.others, self.others_valid)),
        )

    def prefix(self, query_count: int, gallery_count: int) -> TripletBatch:
        """The strongest descriptors of each image, without a copy."""
        return TripletBatch(
            self.anchor[:, :query_count],
            self.anchor_valid[:, :query_count],
            self.others[:, :gallery_count],
            self.others_valid[:, :gallery_count],
        )

    def part(self, start: int, stop: int) -> TripletBatch:
        """Triplets `start` to `stop`."""
        size = len(self)

        def both(others: Tensor) -> Tensor:
            return torch.cat((others[start:stop], others[size + start : size + stop]))

        if (start, stop) == (0, size):
            return self
        return TripletBatch(
            self.anchor[start:stop],
            self.anchor_valid[start:stop],
            both(self.others),
            both(self.others_valid),
        )
