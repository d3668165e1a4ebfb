"""The detector: which places of a feature map count, and how they are described ("spatial attention").

Authors' code: a 1×1 convolution and a batch normalisation; the L2-normalised result describes a place, and
softplus of another 1×1 convolution of its ReLU weighs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ames_ray.backbones.weights import load_exactly, read_state, require_file

if TYPE_CHECKING:
    from pathlib import Path

_EPSILON = 1e-15


class Detector(nn.Module):
    """Feature maps (B, C, h, w) to descriptors (B, C, h, w) and weights (B, h, w)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 1)
        self.bn = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, 1, 1)

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Descriptors of norm 1 and positive weights, both float32."""
        described = self.bn(self.conv1(maps)).float()
        weights = F.softplus(self.conv2(described.relu()).float())
        return F.normalize(described, dim=1, eps=_EPSILON), weights[:, 0]


class NormWeights(nn.Module):
    """What stands in where there is no detector: the feature itself, weighted by its L2 norm."""

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Descriptors (B, C, h, w), not normalised, and weights (B, h, w)."""
        return maps, torch.linalg.vector_norm(maps, dim=1)


def load_detector(path: str, dim: int, backbone: str) -> tuple[Detector, Path]:
    """The detector of a weights file, in evaluation mode, and the file.

    Args:
        path: The file; its state dict lies under `state`.
        dim: Width of the backbone's feature maps.
        backbone: Name of the backbone, for messages.

    Raises:
        WeightsError: The file is missing, or does not fit the backbone.
    """
    hint = f"give the detector that was trained on {backbone}, or detector=none"
    purpose = f"detector of {backbone}"
    file = require_file(path, purpose, hint)
    state = read_state(file, under="state", purpose=purpose, hint=hint)
    with torch.device("meta"):
        detector = Detector(dim)
    load_exactly(detector, state, file, hint)
    return detector.eval(), file
