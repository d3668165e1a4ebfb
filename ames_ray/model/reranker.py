"""What ames-ray asks of a re-ranker, and the list of those that it has.

A successor of AMES is one file with a `load` function, and one line in `RERANKERS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

from ames_ray.errors import ConfigError

if TYPE_CHECKING:
    from ames_ray.types import FeatureBatch, FloatArray

Precision = Literal["float32", "bfloat16"]

RERANKERS = {
    "ames": "ames_ray.model.ames_reranker:load",
    "mutual": "ames_ray.model.mutual_reranker:load",
}
"""Name to "module:function"; the function takes (weights, device, precision) and returns a `Reranker`."""


@dataclass(frozen=True, slots=True)
class RerankerSpec:
    """What decides whether a store fits a re-ranker, and what its scores depend on.

    Attributes:
        name: Key of `RERANKERS`.
        backbone: Backbone whose descriptors it was trained on, or none where the weights do not say.
        descriptor_dim: Width of raw descriptors.
        payload: How a projected store keeps a descriptor, "float16" or "bits".
        payload_dim: Numbers or bits of a payload.
        weights_digest: SHA-256 of all weights.
        projection_digest: SHA-256 of the weights that payloads depend on.
        weights: How many weights it has; 0 where it was not trained.
    """

    name: str
    backbone: str | None
    descriptor_dim: int
    payload: Literal["float16", "bits"]
    payload_dim: int
    weights_digest: str
    projection_digest: str
    weights: int = 0


class Reranker(Protocol):
    """Compares images by their local descriptors."""

    @property
    def spec(self) -> RerankerSpec:
        """What it takes and what it is made of."""

    def __call__(self, query: FeatureBatch, gallery: FeatureBatch) -> FloatArray:
        """Logits of pairs, larger = more alike.

        Args:
            query: G images. G divides B: query i belongs to the B / G gallery images from i · B / G on.
            gallery: B images, raw or projected; packed bits are told from numbers by their type.

        Returns:
            (B,) float32, never NaN; the lowest value where an image has no descriptor.

        Raises:
            StoreError: Descriptors of another width or kind, or with NaN.
        """

    def project(self, batch: FeatureBatch) -> FeatureBatch:
        """The batch with payloads in place of raw descriptors.

        Raises:
            StoreError: Descriptors of another width or kind, or with NaN.
        """


def load_reranker(
    name: str, weights: str, *, device: str = "cpu", precision: Precision = "float32"
) -> Reranker:
    """A re-ranker ready to score.

    Args:
        name: Key of `RERANKERS`.
        weights: File, or name of published weights.
        device: Torch device.
        precision: Arithmetic of the network; projections are always float32.

    Raises:
        ConfigError: There is no such re-ranker.
        WeightsError: The weights are missing or do not fit.
    """
    if name not in RERANKERS:
        raise ConfigError(f"reranker={name}: there is no such re-ranker", f"known: {', '.join(RERANKERS)}")
    module, _, function = RERANKERS[name].partition(":")
    return cast("Reranker", getattr(import_module(module), function)(weights, device, precision))
