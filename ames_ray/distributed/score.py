"""A worker of a cluster loads its re-ranker itself, on the device that Ray assigned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import ray

from ames_ray.extraction.device import choose_device
from ames_ray.model.reranker import load_reranker

if TYPE_CHECKING:
    from ames_ray.model.reranker import Precision, Reranker


@dataclass(frozen=True, slots=True)
class AssignedReranker:
    """Loads a re-ranker when called, in the process that calls.

    Attributes:
        name: Kind of re-ranker.
        weights: File, or name of published weights.
        device: What the user asked for; what Ray reserved for the worker decides.
        precision: Arithmetic of the network.
    """

    name: str
    weights: str
    device: Literal["auto", "cpu", "cuda"]
    precision: Precision

    def __call__(self) -> Reranker:
        """The re-ranker, ready to score.

        Raises:
            ResourceError: A GPU is wanted, and none was reserved for the worker.
            WeightsError: The weights are missing on this node, or do not fit.
        """
        device = choose_device(self.device, ray.get_gpu_ids())
        return load_reranker(self.name, self.weights, device=device, precision=self.precision)
