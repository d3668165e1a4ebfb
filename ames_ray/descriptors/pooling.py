"""Global descriptors: over the places of one map, and over the scales of one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence


def weighted_mean(descriptors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean of weight × descriptor over a map.

    Args:
        descriptors: (B, D, h, w).
        weights: (B, h, w).

    Returns:
        (B, D), not normalised.
    """
    return (descriptors * weights[:, None]).mean(dim=(2, 3))


def over_scales(vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Each scale's (B, D) L2-normalised, their mean L2-normalised: (B, D)."""
    normalised = torch.stack([F.normalize(vector, dim=1) for vector in vectors])
    return F.normalize(normalised.mean(dim=0), dim=1)
