"""Which of the descriptors of a batch are real: from masks or from lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from ames_ray.errors import StoreError

LOWEST_LOGIT = -65504.0
"""Logit of a pair in which an image has no descriptor: the lowest finite float16, so any storage keeps it."""


def visible_from(padding: Tensor | None, descriptors: Tensor, side: str) -> Tensor | None:
    """Mask of the real descriptors.

    Args:
        padding: (B, N) bool, True = padding, as the authors' masks; or (B,) integers, the number of real
            descriptors at the front of each row; or none where all are real.
        descriptors: (B, N, D) batch that it belongs to.
        side: What the batch is, for messages.

    Returns:
        (B, N) bool, True = real, or none where `padding` is none.

    Raises:
        StoreError: Shape or type fits neither form, or it is no tensor.
    """
    if padding is None:
        return None
    require_tensor(padding, f"{side} mask")
    padding = padding.to(descriptors.device)
    batch, count = descriptors.shape[:2]
    if padding.dtype == torch.bool and padding.shape == (batch, count):
        return ~padding
    if not (padding.is_floating_point() or padding.dtype == torch.bool) and padding.shape == (batch,):
        return torch.arange(count, device=descriptors.device) < padding.unsqueeze(1)
    raise StoreError(
        f"{side} mask is {padding.dtype} of shape {tuple(padding.shape)}",
        f"allowed: bool ({batch}, {count}), True = padding; or integers ({batch},), how many are real",
    )


def require_tensor(value: object, what: str) -> None:
    """Refuse lists and arrays by name.

    Raises:
        StoreError: It is no tensor.
    """
    if not isinstance(value, Tensor):
        raise StoreError(
            f"{what}: the network takes tensors, this is a {type(value).__name__}", "pass torch.as_tensor(…)"
        )


def blank(descriptors: Tensor, visible: Tensor | None) -> Tensor:
    """Set padded descriptors to zero: whatever stood there, NaN included, must not reach a real one."""
    if visible is None:
        return descriptors
    return descriptors.masked_fill(~visible.unsqueeze(-1), 0)


def empty_images(visible: Tensor | None, descriptors: Tensor) -> Tensor:
    """(B,) bool, True for images without any real descriptor."""
    if visible is None:
        nothing = descriptors.shape[1] == 0
        return torch.full(descriptors.shape[:1], nothing, dtype=torch.bool, device=descriptors.device)
    return ~visible.any(1)
