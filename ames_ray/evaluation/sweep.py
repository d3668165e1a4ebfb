"""Every setting of a grid of λ, γ and K, and the best one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from ames_ray.errors import ConfigError, DatasetError
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.reranked import RerankedEvaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ames_ray.evaluation.protocol import Protocol
    from ames_ray.evaluation.result import EvaluationResult
    from ames_ray.evaluation.scores import PairScores, Shortlist


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """The table of a sweep.

    Attributes:
        results: One a setting; γ changes slowest, then λ, then K.
        figure: Name of the figure that decides.
    """

    results: tuple[EvaluationResult, ...]
    figure: str

    @property
    def best(self) -> EvaluationResult:
        """The result with the highest figure; the first one of equals."""
        return max(self.results, key=lambda result: result.figures[self.figure])

    def rows(self) -> list[dict[str, float | None]]:
        """The whole table: settings and figures of each row."""
        return [result.row() for result in self.results]


def sweep(
    protocol: Protocol,
    shortlist: Shortlist,
    scores: PairScores,
    lamb: Sequence[float],
    temp: Sequence[float],
    num_rerank: Sequence[int],
    figure: str,
) -> Sweep:
    """Evaluate every combination.

    Args:
        protocol: The benchmark, from `revisited` or `gldv2`.
        shortlist: The global ranking.
        scores: Logits of its candidates for the largest K.
        lamb: Values of λ.
        temp: Values of γ.
        num_rerank: Values of K.
        figure: Mean average precision that decides, such as "medium_mAP" or "val_mAP@100".

    Raises:
        ConfigError: A list is empty, a value is outside its range, or there is no such figure.
        DatasetError: No query has positives for that figure; or see `RerankedEvaluation`.
    """
    for name, values in (("lamb", lamb), ("temp", temp), ("num_rerank", num_rerank)):
        if not len(values):
            raise ConfigError(f"{name}=[]: a sweep needs one value at least")
    check_figure(protocol, figure)
    settings = [Ensemble(lam, gamma, K) for gamma, lam, K in product(temp, lamb, num_rerank)]
    evaluation = RerankedEvaluation(protocol, shortlist, scores, max(num_rerank))
    return Sweep(tuple(evaluation(setting) for setting in settings), figure)


def check_figure(protocol: Protocol, figure: str) -> None:
    """Refuse to search for the best value of a figure that is not there, or undefined.

    Raises:
        ConfigError: The protocol has no mean average precision of this name.
        DatasetError: None of its queries has positives.
    """
    group = protocol.group_of_mean(figure)
    if protocol.counts()[f"{group.name}_queries"] == 0:
        raise DatasetError(
            f"{figure} is undefined: no query of {group.name} has positives", "choose another figure"
        )
