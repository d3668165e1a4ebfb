"""Names for weights: equal weights have equal digests, whatever file they came from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ames_ray.model.ames import Ames


def weights_digest(model: Ames) -> str:
    """SHA-256 of all weights, as lower-case hex."""
    return _digest(model.state_dict())


def projection_digest(model: Ames) -> str:
    """SHA-256 of the weights that payloads depend on: in a binary network the rotation alone."""
    prefix = "remap_local.0.W" if model.options.binary else "remap_local."
    return _digest({name: value for name, value in model.state_dict().items() if name.startswith(prefix)})


def _digest(state: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().float().cpu().contiguous()
        total.update(f"{name} {tuple(value.shape)}\n".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()
