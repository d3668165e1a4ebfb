"""The descriptors of one step, as the loader hands them to the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
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
        others: (2B, T, D) likewise; the B positives first, then the B negatives. Where N negatives are there
            to choose from ((1 + N)B, T, D): the first negatives of all anchors, then the second ones …
        others_valid: (2B, T) bool, or ((1 + N)B, T).
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

    @property
    def negatives(self) -> int:
        """Negatives of each anchor."""
        return len(self.others) // len(self) - 1

    def with_negative(self, which: Tensor) -> TripletBatch:
        """The same with one negative each.

        Args:
            which: (B,) int64 number of the negative to keep.
        """
        rows = torch.arange(len(self), device=which.device)
        kept = torch.cat((rows, (1 + which) * len(self) + rows))
        return replace(self, others=self.others[kept], others_valid=self.others_valid[kept])

    def parts(self, count: int) -> list[TripletBatch]:
        """Up to `count` batches, together this one."""
        size = len(self)
        bounds = sorted({size * n // count for n in range(count + 1)})
        return [self._part(start, stop) for start, stop in pairwise(bounds)]

    def _part(self, start: int, stop: int) -> TripletBatch:
        def each(others: Tensor) -> Tensor:
            return others.view(-1, len(self), *others.shape[1:])[:, start:stop].flatten(0, 1)

        if (start, stop) == (0, len(self)):
            return self
        return TripletBatch(
            self.anchor[start:stop],
            self.anchor_valid[start:stop],
            each(self.others),
            each(self.others_valid),
        )
