"""The workers of a run: one, or as many as torch's process group has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class Group:
    """Where this process stands among the workers, and what they exchange.

    Attributes:
        rank: From 0.
        world: Number of workers.
        device: Where this worker computes.
    """

    rank: int
    world: int
    device: torch.device

    @classmethod
    def current(cls, device: torch.device) -> Group:
        """The process group that is there, or this process alone."""
        if not dist.is_initialized():
            return cls(0, 1, device)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The values summed over all workers; in float64, so that counts stay exact."""
        total = values.detach().double()
        if self.world > 1:
            dist.all_reduce(total)
        return total

    def from_first(self, value: Any) -> Any:
        """What the first worker holds, on every worker."""
        if self.world == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, device=self.device if self.device.type == "cuda" else None)
        return held[0]

    def wait(self) -> None:
        """Return when all workers are here."""
        if self.world > 1:
            dist.barrier()
