"""The list of those who choose triplets.

Another one is one file with such a function, and one line in `SOURCES`; or a function on the PYTHONPATH.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ames_ray.errors import ConfigError

if TYPE_CHECKING:
    from ames_ray.evaluation.scores import Shortlist
    from ames_ray.retrieval.gallery import Gallery
    from ames_ray.training.plan import DescriptorCounts, TripletSource
    from ames_ray.types import IntArray

SOURCES = {
    "neighbors": "ames_ray.training.sampler:neighbors",
    "views": "ames_ray.training.view_triplets:views",
}
"""Name to "module:function"; the function takes a `SourceInput` and returns a `TripletSource`."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceInput:
    """What triplets can be chosen from.

    Attributes:
        gallery: The training images.
        labels: (rows,) int64, equal for images of one landmark; `ames_ray.training.sampler.UNKNOWN` for none.
        neighbors: The nearest other images of each.
        descriptor_counts: How many descriptors each step sees.
        batch_size: Triplets of a step.
        num_neighbors: Neighbours that count.
        negatives: Negatives of each anchor, of which a step takes one.
        seed: Decides every draw.
    """

    gallery: Gallery
    labels: IntArray
    neighbors: Shortlist
    descriptor_counts: DescriptorCounts
    batch_size: int
    num_neighbors: int
    negatives: int
    seed: int


def make_source(name: str, given: SourceInput) -> TripletSource:
    """The source of a name of `SOURCES`, or of a `<module>:<function>` like theirs.

    Raises:
        ConfigError: There is no such source.
        DatasetError: The images do not give such triplets.
    """
    if name not in SOURCES and ":" not in name:
        known = f"known: {', '.join(SOURCES)}, <module>:<function>"
        raise ConfigError(f"source={name}: there is no such source", known)
    module, _, function = SOURCES.get(name, name).partition(":")
    try:
        make = getattr(import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(f"source={name} cannot be imported: {error}", "is it on the PYTHONPATH?") from None
    return cast("TripletSource", make(given))
