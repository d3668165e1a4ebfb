"""Global similarity and the network's logit in one score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ames_ray.types import AnyArray


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Settings of the global-local ensemble (AMES, section 4; the authors' option names).

    Attributes:
        lamb: λ, weight of the global similarity; 0 to 1.
        temp: γ, factor of the logit inside the sigmoid; 0 or more.
        num_rerank: K, how many images at the head of the ranking get a new order; 0 or more.

    Raises:
        ConfigError: A value is outside its range.
    """

    lamb: float
    temp: float
    num_rerank: int

    def __post_init__(self) -> None:
        if not 0 <= self.lamb <= 1:
            raise ConfigError(f"lamb={self.lamb}: allowed are numbers from 0 to 1")
        if not (math.isfinite(self.temp) and self.temp >= 0):
            raise ConfigError(f"temp={self.temp}: allowed are finite numbers from 0 on")
        if self.num_rerank < 0 or self.num_rerank != int(self.num_rerank):
            raise ConfigError(f"num_rerank={self.num_rerank}: allowed are whole numbers from 0 on")


def match_probability(logits: AnyArray, temp: float) -> NDArray[np.float64]:
    """sigmoid(γ · logit), in float64; same shape as `logits`. NaN stays NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(1 / (1 + np.exp(-temp * np.asarray(logits, np.float64))))


def ensemble_scores(
    similarities: AnyArray, probabilities: NDArray[np.float64], lamb: float
) -> NDArray[np.float64]:
    """λ · similarity + (1 − λ) · probability, in float64; -inf, the lowest score, where that is not finite.

    Args:
        similarities: Global similarities; any shape.
        probabilities: `match_probability` of the logits; the same shape.
        lamb: λ.
    """
    scores = lamb * similarities.astype(np.float64, copy=False) + (1 - lamb) * probabilities
    scores[~np.isfinite(scores)] = -np.inf
    return scores
