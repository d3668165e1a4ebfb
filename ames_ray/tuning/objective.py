"""The answer to a point: all figures of the benchmark, and what the setting costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ames_ray.errors import ConfigError, DatasetError
from ames_ray.evaluation.ensemble import Ensemble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.evaluation.protocol import Protocol
    from ames_ray.evaluation.reranked import RerankedEvaluation
    from ames_ray.tuning.space import Value


@dataclass(frozen=True, slots=True, order=True)
class Budget:
    """What one set of pair scores is made with.

    Attributes:
        model: Weights of the network.
        query_desc_num: Local descriptors of a query.
        db_desc_num: Local descriptors of a gallery image.
    """

    model: str
    query_desc_num: int
    db_desc_num: int

    @classmethod
    def of(cls, point: Mapping[str, Value]) -> Budget:
        """The budget that a point names."""
        return cls(str(point["model"]), int(point["query_desc_num"]), int(point["db_desc_num"]))


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A budget's scores, ready to be asked, with its costs.

    Attributes:
        evaluation: Benchmark, ranking and scores.
        bytes_an_image: What the local descriptors of a gallery image take, after the network's projection;
            NaN where it is not known.
        pairs_per_second: How fast the network scored; NaN where it was not measured.
    """

    evaluation: RerankedEvaluation
    bytes_an_image: float = math.nan
    pairs_per_second: float = math.nan


class Objective:
    """Answers points out of scores that are there already.

    Args:
        scored: By budget.
    """

    def __init__(self, scored: Mapping[Budget, Scored]) -> None:
        self._scored = dict(scored)

    def __call__(self, point: Mapping[str, Value]) -> dict[str, float]:
        """All figures, and the costs `bytes_an_image` and `seconds_a_query`.

        Raises:
            ConfigError: A value is out of range, or there are no scores of the budget.
        """
        budget = Budget.of(point)
        if budget not in self._scored:
            raise ConfigError(f"there are no scores of {budget}")
        scored = self._scored[budget]
        setting = Ensemble(float(point["lamb"]), float(point["temp"]), int(point["num_rerank"]))
        result = scored.evaluation(setting)
        seconds = result.settings["num_rerank_used"] / scored.pairs_per_second
        return {
            **{name: float(value) for name, value in result.figures.items()},
            "bytes_an_image": scored.bytes_an_image,
            "seconds_a_query": seconds,
        }


def check_any_figure(protocol: Protocol, figure: str) -> None:
    """Refuse a figure that the protocol lacks, or that is undefined.

    Raises:
        ConfigError: There is no such figure.
        DatasetError: None of its queries has positives.
    """
    groups = {name: group for group in protocol.groups for name in protocol.figure_names(group)}
    if figure not in groups:
        raise ConfigError(f"figure={figure}: allowed are {', '.join(groups)}")
    if protocol.counts()[f"{groups[figure].name}_queries"] == 0:
        raise DatasetError(
            f"{figure} is undefined: no query of {groups[figure].name} has positives", "choose another figure"
        )


def is_mean_precision(protocol: Protocol, figure: str) -> bool:
    """Whether the figure is a mean average precision, whose best λ is known exactly."""
    return any(figure == protocol.figure_names(group)[0] for group in protocol.groups)
