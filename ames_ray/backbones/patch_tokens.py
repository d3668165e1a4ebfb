"""The feature map of a vision transformer: its last patch tokens on their grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from ames_ray.backbones.base import Maps
from ames_ray.errors import WeightsError

if TYPE_CHECKING:
    import torch


class PatchTokens(nn.Module):
    """Wraps a `transformers` model whose `last_hidden_state` is: class, registers, patches row by row.

    Args:
        model: The model.
        patch: Side of a patch in pixels.
        prefix: Tokens in front of the patches.
        has_class: Whether the first of them is the class token; it becomes the vector `cls`.
        interpolate: Whether the model must be told to fit its position embedding to the input's size.
    """

    def __init__(
        self, model: nn.Module, *, patch: int, prefix: int, has_class: bool, interpolate: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.patch = patch
        self.prefix = prefix
        self.has_class = has_class
        self.options: dict[str, Any] = {"interpolate_pos_encoding": True} if interpolate else {}

    def forward(self, images: torch.Tensor) -> Maps:
        """Inputs (B, 3, H, W), sides multiples of the patch, to maps (B, D, H / patch, W / patch)."""
        tokens = self.model(images, **self.options).last_hidden_state.float()
        rows, columns = images.shape[2] // self.patch, images.shape[3] // self.patch
        if tokens.shape[1] != self.prefix + rows * columns:
            raise WeightsError(
                f"the network gives {tokens.shape[1]} tokens for {rows}×{columns} patches, "
                f"where {self.prefix} more than patches are expected"
            )
        patches = tokens[:, self.prefix :].transpose(1, 2).unflatten(2, (rows, columns))
        return Maps(patches, {"cls": tokens[:, 0]} if self.has_class else {})
