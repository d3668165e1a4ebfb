"""Sources of triplets that tests name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray

from ames_ray.errors import ConfigError
from ames_ray.training.sampler import neighbors

if TYPE_CHECKING:
    from ames_ray.training.plan import TripletSource
    from ames_ray.training.sources import SourceInput


def not_on_workers(given: SourceInput) -> TripletSource:
    """The published one, where the driver asks; workers are on a node without its files."""
    if ray.get_runtime_context().get_actor_id() is not None:
        raise ConfigError("this node lacks what the driver's has")
    return neighbors(given)
