"""A backbone of one's own, as a user would write it: one fixed convolution over patches of 8 pixels."""

from __future__ import annotations

import torch
from torch import nn

from ames_ray.backbones.base import BackboneInfo, LoadedNetwork, Maps, NetworkBackbone, Preprocessing

DIM, PATCH = 24, 8


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, DIM, PATCH, PATCH)
        weights = torch.randn(self.look.weight.shape, generator=torch.Generator().manual_seed(0))
        # Three channels see the colour alone, the others see patterns.
        weights[:3] = torch.eye(3)[:, :, None, None]
        self.look.weight = nn.Parameter(weights / PATCH)
        nn.init.zeros_(self.look.bias)  # type: ignore[arg-type] # this convolution has one

    def forward(self, images: torch.Tensor) -> Maps:
        return Maps(self.look(images), {})


def patches(weights: str | None = None) -> NetworkBackbone:
    info = BackboneInfo("patches", DIM, {"global": DIM}, "fraction", "optional")
    grey = (0.5, 0.5, 0.5)
    seen = Preprocessing("rgb", grey, grey, (1.0,), PATCH, PATCH, PATCH / 2)
    return NetworkBackbone(info, seen, lambda: LoadedNetwork(Patches().eval(), "0" * 64))
