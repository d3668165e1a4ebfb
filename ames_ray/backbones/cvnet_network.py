"""The modules of CVNet's ResNet-101."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel

from ames_ray.backbones.base import Maps

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLAMP = 1e-6


class CVNet(nn.Module):
    """Stage 3 before its last ReLU as local map; `global` from stage 4."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = ResNetModel(ResNetConfig(depths=[3, 4, 23, 3]))
        self.power = nn.Parameter(torch.full((1,), 3.0))
        self.fc = nn.Linear(2048, 2048)

    def forward(self, images: torch.Tensor) -> Maps:
        """Inputs (B, 3, H, W) to a local map (B, 1024, H / 16, W / 16) and `global` (B, 2048)."""
        with _input_of(self.trunk.encoder.stages[2].layers[-1].activation) as seen:
            last = self.trunk(images).last_hidden_state.float()
        return Maps(seen[0].float(), {"global": self.fc(gem(last, self.power)).float()})


def gem(maps: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """Generalised mean over the picture: (B, C, h, w) to (B, C)."""
    mean: torch.Tensor = maps.clamp(min=_CLAMP).pow(power).mean(dim=(2, 3))
    return mean.pow(1 / power)


@contextmanager
def _input_of(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What goes into a module while the block runs; cloned, as the module may write over it."""
    seen: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].clone())

    handle = module.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()
