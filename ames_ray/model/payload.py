"""What a database keeps of a descriptor: 128 float16 numbers, or 128 bits, after the network's projection.

Scores of payloads equal those of raw gallery descriptors, because nothing more of these goes on: the signs in
a binary network, in full precision numbers that the network rounds through float16 anyway. What moves them:
- a descriptor of zeros that is marked as real: to the network its signs are 0, as bits they are -1;
- in full precision a query from payloads, which the network would not have rounded: logits move by less than
  a thousandth of their spread in the network of the golden numbers;
- in full precision bfloat16: raw descriptors are rounded to it before float16, payloads after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ames_ray.errors import StoreError

if TYPE_CHECKING:
    from ames_ray.model.ames import Ames

_HIGHEST_BIT_FIRST = (128, 64, 32, 16, 8, 4, 2, 1)


def pack_signs(values: Tensor) -> Tensor:
    """(…, D) numbers to (…, D / 8) uint8, most significant bit first; 1 = positive, 0 = negative or zero."""
    weights = torch.tensor(_HIGHEST_BIT_FIRST, dtype=torch.int32, device=values.device)
    bits = (values > 0).view(*values.shape[:-1], values.shape[-1] // 8, 8)
    return torch.sum(bits * weights, -1).to(torch.uint8)


def unpack_signs(bits: Tensor) -> Tensor:
    """(…, D / 8) uint8 to (…, D) float32 of +1 and -1; the inverse of `pack_signs`."""
    weights = torch.tensor(_HIGHEST_BIT_FIRST, dtype=torch.uint8, device=bits.device)
    return ((bits.unsqueeze(-1) & weights) > 0).flatten(-2).float() * 2 - 1


def payload(model: Ames, descriptors: Tensor) -> Tensor:
    """The payload of (B, N, D_in) descriptors: (B, N, D) float16, or (B, N, D / 8) uint8 in a binary network.

    Raises:
        StoreError: The descriptors do not fit the model.
    """
    if not model.options.binary:
        return model.project(descriptors).half()
    model.check_width(descriptors)
    signs: Tensor = model.remap_local[0](F.normalize(descriptors.to(model.projection_dtype), dim=-1))
    return pack_signs(signs)


def payload_tokens(model: Ames, stored: Tensor) -> Tensor:
    """Tokens (B, N, D) of payloads that `payload` made with the same projection.

    Raises:
        StoreError: Width or type is not that of this model's payloads.
    """
    options = model.options
    width, kind = options.payload_dim, torch.float16
    if options.binary:
        width, kind = width // 8, torch.uint8
    if stored.ndim != 3 or stored.shape[-1] != width or stored.dtype != kind:
        raise StoreError(
            f"payloads are {stored.dtype} of shape {tuple(stored.shape)}, "
            f"this {'binary' if options.binary else 'full-precision'} model takes {kind}, {width} wide",
            "project the store with the model that scores it",
        )
    if not options.binary:
        return stored.to(model.mtc_token.dtype)
    after_signs = model.remap_local[1:]
    tokens: Tensor = after_signs(unpack_signs(stored).to(model.projection_dtype))
    return tokens.to(model.mtc_token.dtype)
