"""The strongest features of a picture over all its scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells of the feature maps of B pictures, all scales in a row; M cells a picture.

    Attributes:
        descriptors: (B, M, D).
        weights: (B, M).
        scale: (M,) index of the scale.
        grid: (M, 2) column and row in the map of that scale.
    """

    descriptors: torch.Tensor
    weights: torch.Tensor
    scale: torch.Tensor
    grid: torch.Tensor


def join_scales(maps: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Cells:
    """Lay out the maps of all scales one after the other, each row by row.

    Args:
        maps: For each scale descriptors (B, D, h, w) and weights (B, h, w).
    """
    return Cells(
        descriptors=torch.cat([d.flatten(2).transpose(1, 2) for d, _ in maps], dim=1),
        weights=torch.cat([w.flatten(1) for _, w in maps], dim=1),
        scale=torch.cat([torch.full((w[0].numel(),), i) for i, (_, w) in enumerate(maps)]),
        grid=torch.cat([_grid(*w.shape[1:]) for _, w in maps]),
    )


def strongest(weights: torch.Tensor, topk: int) -> torch.Tensor:
    """Indices (B, min(topk, M)) of the largest weights (B, M), descending; of equal ones the first wins."""
    order = weights.sort(dim=1, descending=True, stable=True).indices
    return order[:, :topk]


def _grid(rows: int, columns: int) -> torch.Tensor:
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([column.flatten(), row.flatten()], dim=1)
